"""Groups camera frames into glances, without losing good frames to a missing camera.

Knows stamps and arrival times only: no ROS, no images. Times are those of the node's clock.
"""

import dataclasses
from typing import Any

QUEUE_LENGTH = 8
"""Frames kept per camera; at 12 Hz that is 0.7 s, longer than any useful timeout."""

LOST_AFTER_GLANCES = 3
"""A camera that missed this many glances in a row is no longer waited for until it is back."""

JUMP_BACK_NS = 500_000_000
"""A stamp this far behind its camera's last one means that time started over (a looping bag)."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """One image of one camera, as it arrived.

    Attributes:
        camera: index of the camera.
        stamp_ns: acquisition time in nanoseconds.
        arrival_s: time of arrival on the node's clock, seconds.
        image: the image message (or anything else: it is only carried along).
    """

    camera: int
    stamp_ns: int
    arrival_s: float
    image: Any


@dataclasses.dataclass(frozen=True)
class Glance:
    """Frames that belong together: at most one per camera, None where a camera is missing."""

    frames: tuple[Frame | None, ...]

    @property
    def present(self) -> tuple[Frame, ...]:
        """The frames that are there."""
        return tuple(frame for frame in self.frames if frame is not None)

    @property
    def reference_ns(self) -> int:
        """Stamp of the glance: that of its newest frame, in nanoseconds."""
        return max(frame.stamp_ns for frame in self.present)

    @property
    def spread_s(self) -> float:
        """Time from the first to the last frame's stamp in seconds."""
        return (self.reference_ns - min(frame.stamp_ns for frame in self.present)) * 1e-9


@dataclasses.dataclass
class SyncCounts:
    """What became of the frames of one camera, or of all glances."""

    received: int = 0
    used: int = 0
    unmatched: int = 0
    late: int = 0
    overflow: int = 0

    @property
    def dropped(self) -> int:
        """Frames that reached no glance."""
        return self.unmatched + self.late + self.overflow


class GlanceSynchronizer:
    """Groups frames of N cameras whose stamps lie within a window.

    A glance is emitted as soon as every camera that can still come has come. Where a frame could
    belong to two groups, the fuller group wins; ties go to the earlier. A camera that failed is
    waited for during the timeout, and no longer once it missed some glances in a row.
    """

    def __init__(self, cameras: int, window_s: float, timeout_s: float, min_cameras: int) -> None:
        """Args are in seconds; ``min_cameras`` is the fewest frames of a glance."""
        self._window_ns = round(window_s * 1e9)
        self._timeout_s = timeout_s
        self._min_cameras = min_cameras
        self.counts = [SyncCounts() for _ in range(cameras)]
        self.glances = 0
        self.partial_glances = 0
        self.too_few = 0
        self.time_jumps = 0
        self._missed = [0] * cameras
        self._reset()

    def _reset(self) -> None:
        self._queues: list[list[Frame]] = [[] for _ in self.counts]
        self._newest_ns: list[int | None] = [None] * len(self.counts)
        self._done_ns: int | None = None

    def add(self, frame: Frame) -> list[Glance]:
        """Take a frame in; returns the glances it completes."""
        counts, newest = self.counts[frame.camera], self._newest_ns[frame.camera]
        counts.received += 1
        if newest is not None and frame.stamp_ns < newest - JUMP_BACK_NS:
            self.flush()
            newest = None
        if (newest is not None and frame.stamp_ns <= newest) or self._is_late(frame.stamp_ns):
            counts.late += 1
            return []
        self._newest_ns[frame.camera] = frame.stamp_ns
        self._missed[frame.camera] = 0
        queue = self._queues[frame.camera]
        queue.append(frame)
        if len(queue) > QUEUE_LENGTH:
            queue.pop(0)
            counts.overflow += 1
        return self._emit(frame.arrival_s)

    def _is_late(self, stamp_ns: int) -> bool:
        """Whether the glance this stamp belongs to is gone; a far older stamp is another clock."""
        done_ns = self._done_ns
        return done_ns is not None and done_ns - JUMP_BACK_NS < stamp_ns <= done_ns

    def poll(self, now_s: float) -> list[Glance]:
        """Glances whose wait for late cameras is over."""
        return self._emit(now_s)

    def flush(self) -> None:
        """Forget everything pending, because time jumped back."""
        for counts, queue in zip(self.counts, self._queues, strict=True):
            counts.unmatched += len(queue)
        self.time_jumps += 1
        self._reset()

    def _emit(self, now_s: float) -> list[Glance]:
        glances = []
        while (group := self._next_group(now_s)) is not None:
            glance = self._take(group)
            if glance is not None:
                glances.append(glance)
        return glances

    def _next_group(self, now_s: float) -> list[Frame] | None:
        """The group to emit now, or None to wait."""
        pending = sorted(
            (frame for queue in self._queues for frame in queue), key=lambda f: f.stamp_ns
        )
        if not pending:
            return None
        first_ns = pending[0].stamp_ns
        rivals = [frame for frame in pending if frame.stamp_ns <= first_ns + self._window_ns]
        groups = [self._group(rival.stamp_ns) for rival in rivals]
        coming = [self._may_come(rival.stamp_ns) for rival in rivals]
        expected = [len(group) + extra for group, extra in zip(groups, coming, strict=True)]
        best = expected.index(max(expected))
        if coming[best] == 0:
            return groups[best]
        if now_s - min(frame.arrival_s for frame in rivals) < self._timeout_s:
            return None
        return max(groups, key=len)

    def _group(self, anchor_ns: int) -> list[Frame]:
        """The first frame of each camera within the window that starts at an anchor."""
        end_ns = anchor_ns + self._window_ns
        group = []
        for queue in self._queues:
            inside = (frame for frame in queue if anchor_ns <= frame.stamp_ns <= end_ns)
            group += [frame for frame in [next(inside, None)] if frame is not None]
        return group

    def _may_come(self, anchor_ns: int) -> int:
        """How many cameras outside the group may still send a frame for it."""
        count = 0
        for camera, newest_ns in enumerate(self._newest_ns):
            waited_for = self._missed[camera] < LOST_AFTER_GLANCES
            count += waited_for and (newest_ns is None or newest_ns < anchor_ns)
        return count

    def _take(self, group: list[Frame]) -> Glance | None:
        """Remove a group and everything older; None where it has too few cameras."""
        glance = Glance(
            tuple(
                next((frame for frame in group if frame.camera == camera), None)
                for camera in range(len(self.counts))
            )
        )
        enough = len(group) >= self._min_cameras
        for camera, frame in enumerate(glance.frames):
            self._drop_through(camera, glance.reference_ns, frame if enough else None)
        if not enough:
            self.too_few += 1
            return None
        for camera, frame in enumerate(glance.frames):
            self._missed[camera] = 0 if frame else self._missed[camera] + 1
            self.counts[camera].used += frame is not None
        self._done_ns = glance.reference_ns
        self.glances += 1
        self.partial_glances += len(group) < len(self.counts)
        return glance

    def _drop_through(self, camera: int, stamp_ns: int, used: Frame | None) -> None:
        queue = self._queues[camera]
        gone = [frame for frame in queue if frame.stamp_ns <= stamp_ns]
        self.counts[camera].unmatched += sum(frame is not used for frame in gone)
        self._queues[camera] = queue[len(gone) :]
