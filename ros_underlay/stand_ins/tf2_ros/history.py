"""What is known of one frame's place on its parent over time."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np
from tf2_ros.exceptions import ExtrapolationException
from tf_transformations import quaternion_matrix, quaternion_slerp


@dataclass(frozen=True, order=True)
class Sample:
    """One transform parent_from_child.

    Attributes:
        stamp_ns: Time since the epoch of the clock in use.
        parent: Name of the parent frame.
        translation: (3,) metres.
        rotation: (4,) quaternion x, y, z, w.
    """

    stamp_ns: int
    parent: str = field(compare=False)
    translation: np.ndarray = field(compare=False)
    rotation: np.ndarray = field(compare=False)

    def matrix(self) -> np.ndarray:
        """parent_from_child (4, 4)."""
        matrix = quaternion_matrix(self.rotation)
        matrix[:3, 3] = self.translation
        return matrix


class History:
    """Samples of one frame, oldest first. A static frame has one sample, good at any time."""

    def __init__(self, is_static: bool, cache_ns: int) -> None:
        self.is_static = is_static
        self._cache_ns = cache_ns
        self._samples: list[Sample] = []

    def add(self, sample: Sample) -> bool:
        """Keep a sample; False where it is older than the cache reaches or repeats a stamp."""
        if self.is_static:
            self._samples = [sample]
            return True
        if self._samples and sample.stamp_ns < self._samples[-1].stamp_ns - self._cache_ns:
            return False
        index = bisect_left(self._samples, sample)
        if index < len(self._samples) and self._samples[index].stamp_ns == sample.stamp_ns:
            return False
        insort(self._samples, sample)
        oldest_ns = self._samples[-1].stamp_ns - self._cache_ns
        while self._samples[0].stamp_ns < oldest_ns:
            self._samples.pop(0)
        return True

    @property
    def latest(self) -> Sample:
        """The newest sample."""
        return self._samples[-1]

    def at(self, stamp_ns: int, child: str) -> Sample:
        """The sample at a time, interpolated between its neighbours: lerp and slerp.

        Args:
            stamp_ns: The time; 0 = the newest sample.
            child: Name of the frame, for the error.

        Raises:
            ExtrapolationException: The time lies before the oldest or after the newest sample.
        """
        if self.is_static or stamp_ns == 0:
            return self.latest
        oldest_ns, newest_ns = self._samples[0].stamp_ns, self._samples[-1].stamp_ns
        if not oldest_ns <= stamp_ns <= newest_ns:
            side = "past" if stamp_ns < oldest_ns else "future"
            raise ExtrapolationException(
                f"Lookup would require extrapolation into the {side}. Requested time "
                f"{stamp_ns * 1e-9:.6f} but the transform to frame [{child}] is known from "
                f"{oldest_ns * 1e-9:.6f} to {newest_ns * 1e-9:.6f}"
            )
        index = bisect_left(self._samples, stamp_ns, key=lambda sample: sample.stamp_ns)
        after = self._samples[index]
        if after.stamp_ns == stamp_ns:
            return after
        return _between(self._samples[index - 1], after, stamp_ns)


def _between(before: Sample, after: Sample, stamp_ns: int) -> Sample:
    # A frame that changes its parent has no path between the two: the older holds.
    if before.parent != after.parent:
        return before
    fraction = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    return Sample(
        stamp_ns=stamp_ns,
        parent=before.parent,
        translation=before.translation + fraction * (after.translation - before.translation),
        rotation=quaternion_slerp(before.rotation, after.rotation, fraction),
    )
