"""Child processes with logs: started, watched, and ended cleanly."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from distillnerf_ros.errors import ProcessError

TAIL_LINES = 15
"""Lines of a log that an error quotes."""
POLL_S = 0.1
_PATIENCE_S = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""How a process is asked to end, and how long it may take each time."""


@contextlib.contextmanager
def _heeding_interrupts() -> Iterator[None]:
    """What is started here heeds SIGINT, though a script's ``&`` told this process to ignore it.

    Whether a signal is ignored is inherited; a recorder that ignored it would be cut off.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Child:
    """One Python module run as a process of its own; its output goes to a log."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Start it.

        Args:
            name: for messages.
            module: dotted name, run as ``python -m``.
            arguments: command line.
            log: file that takes stdout and stderr.
            environment: all environment variables.
        """
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream, _heeding_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C ends the demo, which ends its children in order
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def error(self, what: str) -> ProcessError:
        """An error about this process that quotes its log."""
        return ProcessError(f"{self.name} {what}; the end of {self.log}:\n{self.tail()}")

    def check(self) -> None:
        """Make sure that it has not failed.

        Raises:
            ProcessError: it ended with an error.
        """
        if not self.running and self._process.returncode != 0:
            raise self.error(f"ended with status {self._process.returncode}")

    def stop(self) -> None:
        """Ask it to end, ever less politely."""
        for sign, patience_s in _PATIENCE_S:
            if not self.running:
                return
            self._process.send_signal(sign)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue


class Children:
    """All processes of a run. Leaving the ``with`` block ends them, the last started first."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._children):
            child.stop()

    def add(self, child: Child) -> Child:
        """Watch a process from now on."""
        self._children.append(child)
        return child

    def wait_until(
        self, condition: Callable[[], bool], timeout_s: float, what: str, whose: Child
    ) -> None:
        """Wait for something while no process fails.

        Args:
            condition: asked ten times a second.
            timeout_s: how long to wait.
            what: what is waited for, for the message.
            whose: the process that it is up to.

        Raises:
            ProcessError: a process failed, or time is up.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            for child in self._children:
                child.check()
            if time.monotonic() > deadline_s:
                raise whose.error(
                    f"kept the demo waiting for {what} longer than {timeout_s:.0f} s"
                )
            time.sleep(POLL_S)
