"""Wall-clock time of the stages of a frame."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

HISTORY = 100
"""Frames a mean is taken over."""


class StageTimes:
    """Seconds per named stage: of the last frame, and averaged over the last frames."""

    def __init__(self) -> None:
        self._frames: deque[dict[str, float]] = deque(maxlen=HISTORY)
        self._current: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block; blocks of the same name add up within a frame."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            elapsed_s = time.perf_counter() - start_s
            self._current[name] = self._current.get(name, 0.0) + elapsed_s

    def end_frame(self) -> None:
        """Close the current frame."""
        self._frames.append(self._current)
        self._current = {}

    def last(self) -> dict[str, float]:
        """Seconds per stage of the last frame, in the order they ran; empty before the first."""
        return dict(self._frames[-1]) if self._frames else {}

    def mean(self) -> dict[str, float]:
        """Mean seconds per stage over the last frames in which it ran."""
        frames = list(self._frames)
        names = dict.fromkeys(name for frame in frames for name in frame)
        result = {}
        for name in names:
            values = [frame[name] for frame in frames if name in frame]
            result[name] = sum(values) / len(values)
        return result
