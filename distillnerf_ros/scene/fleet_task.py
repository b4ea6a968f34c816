"""One scene's share of a verb that goes over a whole data set, as a worker does it.

A task has a folder: ``claim.lock`` is locked while somebody works on it, ``events.jsonl`` says who
began and ended when, ``log.txt`` holds what the verb printed, and ``done.json`` appears whole when
all of it is done.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import importlib
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from distillnerf_ros.errors import DistillNerfError, SceneError
from distillnerf_ros.files import json_lines, whole_file

CLAIM_WAIT_S = 180.0
"""How long another's claim is waited for: a file server forgets the lock of a machine that died
after its lease, usually 90 s."""
_POLL_S = 0.2
_WHERE = ("device",)
"""Arguments that say where something is computed, not what."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker is asked to do.

    Attributes:
        name: of the scene.
        folder: the task's own.
        module: dotted name of the verb's module, which offers ``run(arguments) -> int``; besides
            these its arguments say that the folder is ``claimed``.
        arguments: of the verb for this scene alone; paths are absolute. ``json``, where there is
            one, is the file that the verb writes its figures to.
        leaves: files outside the folder that are there when it is done.
    """

    name: str
    folder: Path
    module: str
    arguments: dict[str, Any]
    leaves: tuple[Path, ...] = ()

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments that shape the result, as JSON has them."""
        kept = {k: v for k, v in self.arguments.items() if k not in _WHERE}
        return {k: str(v) if isinstance(v, Path) else v for k, v in kept.items()}

    def figures(self) -> dict[str, Any] | None:
        """Figures of the task that was done before.

        None if it was not, if it was asked otherwise, if nobody can read it any more, or if
        something that it left was removed.
        """
        try:
            known = json.loads((self.folder / "done.json").read_text())
            figures = known["figures"] if known["asked"] == self.asked else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return figures if all(file.is_file() for file in self.leaves) else None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        name: of the scene.
        figures: what the verb measured; None if the task is not done.
        error: why it is not done.
        again: it was done before, and nothing was computed.
    """

    name: str
    figures: dict[str, Any] | None = None
    error: str | None = None
    again: bool = False


def work(task: Task, threads: int, wait_s: float = CLAIM_WAIT_S) -> Outcome:
    """Do a task in this process, unless it is done.

    Args:
        task: what.
        threads: of the CPU.
        wait_s: how long another's claim is waited for.

    Returns:
        What came out. An error that the package explains is an outcome: to try again would not
        help. Any other is raised.
    """
    _use_threads(threads)
    try:
        with claim(task.folder, wait_s):
            figures = task.figures()
            if figures is not None:
                return Outcome(task.name, figures, again=True)
            return _do(task, threads)
    except DistillNerfError as error:
        return Outcome(task.name, error=str(error))


def _do(task: Task, threads: int) -> Outcome:
    """Run the verb and note its begin and end; the task's claim is held."""
    note(task.folder, "start")
    try:
        with _log(task.folder):
            module = importlib.import_module(task.module)
            _use_threads(threads)
            status = module.run(argparse.Namespace(**task.arguments, claimed=True))
    except Exception as error:
        note(task.folder, "fail", error=f"{type(error).__name__}: {error}")
        raise
    if status != 0:
        note(task.folder, "fail", error=f"status {status}")
        raise SceneError(f"ended with status {status}; see {task.folder / 'log.txt'}")
    figures = _read_figures(task.arguments.get("json"))
    done = {"asked": task.asked, "figures": figures}
    write_whole(task.folder / "done.json", json.dumps(done, indent=1).encode())
    note(task.folder, "finish")
    return Outcome(task.name, figures)


def _use_threads(count: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(count)
    # Torch reads the variable once, and a worker that did another task before has it already.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def _read_figures(file: Path | None) -> dict[str, Any]:
    return {} if file is None else json.loads(file.read_text())


@contextlib.contextmanager
def claim(folder: Path, wait_s: float) -> Iterator[None]:
    """Be the only one to work in a folder, over all processes and machines that share it.

    The operating system (or the file server) lets go of the lock when its process dies.

    Raises:
        SceneError: somebody else holds it all that time, or the folder cannot be locked.
    """
    file = folder / "claim.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = file.open("a+")
    except OSError as error:
        raise SceneError(f"{file} cannot be written: {error}") from error
    with held:
        end = time.monotonic() + wait_s
        while not _lock(held.fileno(), file):
            if time.monotonic() >= end:
                held.seek(0)
                raise SceneError(
                    f"{folder} is being worked on by {held.read() or 'another process'}; "
                    "wait for it, or end it and run the same command again"
                )
            time.sleep(_POLL_S)
        held.truncate(0)
        held.write(_me())
        held.flush()
        yield


def is_claimed(folder: Path) -> bool:
    """Whether somebody works in a folder, on whatever machine."""
    try:
        with (folder / "claim.lock").open() as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # held, or not to be known
        return True
    return False


def _lock(descriptor: int, file: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise SceneError(
            f"{file} cannot be locked ({error}); give an --out on a file system with locks, "
            "such as a local disk, NFSv4, or Lustre mounted with -o flock"
        ) from error
    return True


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def note(folder: Path, event: str, **more: str) -> None:
    """Add a line to a folder's events. Only who holds its claim may.

    Raises:
        SceneError: it cannot be written.
    """
    line = {
        "event": event,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    } | more
    file = folder / "events.jsonl"
    try:
        with file.open("a") as opened:
            opened.write(json.dumps(line) + "\n")
    except OSError as error:
        raise SceneError(f"{file} cannot be written: {error}") from error


def events(folder: Path) -> list[dict[str, Any]]:
    """What happened in a folder, oldest first; a line that is not whole is left out."""
    try:
        return json_lines((folder / "events.jsonl").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return []


class _WithoutBars:
    """A file that bars leave no trace in; they would be most of it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write text, unless it begins at the begin of a line that is there."""
        return len(text) if text.startswith("\r") else self._file.write(text)

    def flush(self) -> None:
        """As files do."""
        self._file.flush()


@contextlib.contextmanager
def _log(folder: Path) -> Iterator[None]:
    """Send what is printed to ``log.txt``, and the traceback of what is raised."""
    with (folder / "log.txt").open("a", buffering=1) as log:
        kept: Any = _WithoutBars(log)
        with contextlib.redirect_stdout(kept), contextlib.redirect_stderr(kept):
            try:
                yield
            except Exception:
                traceback.print_exc(file=log)
                raise


def write_whole(file: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all, and its folder where there is none.

    Raises:
        SceneError: it cannot be written.
    """
    with whole_file(file, SceneError) as part:
        part.write_bytes(content)
