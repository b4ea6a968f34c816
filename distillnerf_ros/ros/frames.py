"""Camera poses from TF, each at its own stamp; never an invented one."""

import dataclasses
import time

import numpy as np
from geometry_msgs.msg import Transform, TransformStamped
from jaxtyping import Float64
from rclpy.duration import Duration
from rclpy.time import Time
from tf2_ros import Buffer, TransformException

from distillnerf_ros.cameras.transforms import matrix_from_quaternion
from distillnerf_ros.errors import StaleTransformError
from distillnerf_ros.ros.messages import stamp_ns as stamp_of

RETRY_S = 0.005
"""Pause between two looks for what is not there yet."""

JUMP_BACK_NS = 500_000_000
"""A transform this far behind its frame's last one means that time started over."""


class LoopingBuffer(Buffer):
    """A buffer that forgets the future when time starts over (a bag in a loop, a restarted clock).

    Otherwise everything that comes after the jump is older than the buffer remembers, and dropped.
    """

    def __init__(self, cache_time: Duration) -> None:
        super().__init__(cache_time=cache_time)
        self._newest_ns: dict[str, int] = {}

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Take in one moving transform."""
        child, at_ns = transform.child_frame_id, stamp_of(transform.header)
        if at_ns < self._newest_ns.get(child, at_ns) - JUMP_BACK_NS:
            self.clear()
            self._newest_ns.clear()
        self._newest_ns[child] = at_ns
        super().set_transform(transform, authority)


def matrix_from_transform(transform: Transform) -> Float64[np.ndarray, "4 4"]:
    """The 4x4 matrix of a geometry_msgs/Transform.

    Raises:
        CalibrationError: its quaternion has no direction.
    """
    q, t = transform.rotation, transform.translation
    return matrix_from_quaternion((q.w, q.x, q.y, q.z), (t.x, t.y, t.z))


@dataclasses.dataclass(frozen=True)
class EgoFrames:
    """Where cameras are, in the vehicle frame at the glance's reference stamp.

    Attributes:
        buffer: transforms heard so far.
        base_frame: the vehicle frame.
        fixed_frame: a world-fixed frame through which stamps are tied together; empty: the
            vehicle's motion between a camera's stamp and the reference stamp is ignored.
        timeout_s: how long to wait for a transform that is not there yet, wall clock.
    """

    buffer: Buffer
    base_frame: str
    fixed_frame: str
    timeout_s: float

    def ego_from(
        self, frame: str, stamp_ns: int, reference_ns: int, deadline_s: float
    ) -> Float64[np.ndarray, "4 4"]:
        """Pose of a frame at its own stamp, in the vehicle frame at the reference stamp.

        Args:
            frame: the camera's optical frame.
            stamp_ns: the camera's stamp in nanoseconds.
            reference_ns: stamp of the glance in nanoseconds.
            deadline_s: when to give up waiting, on ``time.monotonic``.

        Raises:
            StaleTransformError: a transform is missing at the deadline; names both frames.
            CalibrationError: the transform's quaternion has no direction.
        """
        if not frame:
            raise StaleTransformError(
                "the image's header.frame_id is empty; expected the camera's optical frame"
            )
        while True:
            try:
                return self._look_up(frame, stamp_ns, reference_ns)
            except TransformException as error:
                if time.monotonic() >= deadline_s:
                    raise self._stale(frame, stamp_ns, str(error)) from error
            time.sleep(RETRY_S)

    def deadline_s(self) -> float:
        """Deadline on ``time.monotonic`` for a glance that is looked at now."""
        return time.monotonic() + self.timeout_s

    def _look_up(self, frame: str, stamp_ns: int, reference_ns: int) -> np.ndarray:
        stamp = Time(nanoseconds=stamp_ns)
        if not self.fixed_frame:
            found = self.buffer.lookup_transform(self.base_frame, frame, stamp)
        else:
            found = self.buffer.lookup_transform_full(
                self.base_frame, Time(nanoseconds=reference_ns), frame, stamp, self.fixed_frame
            )
        return matrix_from_transform(found.transform)

    def _stale(self, frame: str, stamp_ns: int, reason: str) -> StaleTransformError:
        via = f" through '{self.fixed_frame}'" if self.fixed_frame else ""
        return StaleTransformError(
            f"no transform from '{frame}' to '{self.base_frame}'{via} at {stamp_ns * 1e-9:.3f} s "
            f"after waiting {self.timeout_s} s: {reason.rstrip('.')}. Publish it on /tf or "
            "/tf_static, or set base_frame, fixed_frame ('' ignores the vehicle's motion) or "
            "tf_timeout_s"
        )
