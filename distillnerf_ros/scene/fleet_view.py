"""What can be watched of a whole data set: one bar over its scenes, a line for each at work."""

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from tqdm import tqdm

from distillnerf_ros.scene.fleet_task import Outcome, Task, events, is_claimed

Describe = Callable[[Task], str]
"""Says in some words how far a task that is being worked on has come."""

_MOST_LINES = 16
"""Scenes that a terminal shows at once."""
_TERMINAL_S, _FILE_S = 3.0, 60.0
"""Time between two looks at the scenes."""


class FleetView:
    """Shows how a fleet gets on: a bar and lines that change on a terminal, else plain lines."""

    def __init__(self, total: int, done: int, describe: Describe) -> None:
        """Open the view.

        Args:
            total: scenes.
            done: those that were done before.
            describe: of a task at work.
        """
        self._describe = describe
        self._terminal = sys.stderr.isatty()
        self._looked = time.monotonic()
        self._bar = tqdm(
            total=total, initial=done, unit="scene", smoothing=0, disable=not self._terminal
        )
        self._lines: list[Any] = []
        self._total, self._done = total, done

    def __enter__(self) -> "FleetView":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for line in reversed(self._lines):
            line.close()
        self._bar.close()

    def ended(self, outcome: Outcome) -> None:
        """Say how a task ended."""
        if outcome.error is None:
            self._done += 1
            self._bar.update()
            figures = (outcome.figures or {}).items()
            said = ", ".join(f"{k} {v:.3g}" for k, v in figures if isinstance(v, float))
        else:
            said = f"NOT DONE: {outcome.error}"
        self._say(f"{outcome.name}: {said or 'done'} ({self._done} of {self._total})")

    def look(self, waiting: Sequence[Task]) -> None:
        """Show the tasks that were begun among those that wait for their end, if it is time to."""
        every_s = _TERMINAL_S if self._terminal else _FILE_S
        if time.monotonic() - self._looked < every_s:
            return
        self._looked = time.monotonic()
        said = [f"{task.name}: {self._now(task)}" for task in waiting if is_begun(task)]
        if not self._terminal:
            for text in said:
                self._say(text)
            return
        while len(self._lines) < min(len(said), _MOST_LINES):
            self._lines.append(
                tqdm(bar_format="{desc}", position=len(self._lines) + 1, leave=False)
            )
        for number, line in enumerate(self._lines):
            line.set_description_str(said[number] if number < len(said) else "")
        self._bar.refresh()

    def _now(self, task: Task) -> str:
        lost = "its worker was lost; it waits for another"
        return self._describe(task) if is_claimed(task.folder) else lost

    def _say(self, text: str) -> None:
        if self._terminal:
            tqdm.write(text, file=sys.stderr)
        else:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def is_begun(task: Task) -> bool:
    """Whether somebody began a task and has not ended it."""
    past = events(task.folder)
    return bool(past) and past[-1]["event"] == "start"
