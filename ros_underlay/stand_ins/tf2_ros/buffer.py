"""The tree of frames over time, and questions to it."""

import threading
import time as wall_clock
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from tf2_ros.history import History, Sample
from tf_transformations import quaternion_from_matrix

_DEFAULT_CACHE_S = 10.0
# A rotation this far from unit length was never a rotation; tf2 refuses at the same figure.
_QUATERNION_TOLERANCE = 1e-2


class Buffer:
    """Transforms heard so far, looked up and interpolated by name and time. Thread-safe."""

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        """Args:
        cache_time: How far moving frames are remembered behind their newest; None = 10 s.
        node: Taken for the sake of upstream's signature.
        """
        cache_s = _DEFAULT_CACHE_S
        self._cache_ns = int(cache_s * 1e9) if cache_time is None else cache_time.nanoseconds
        self._frames: dict[str, History] = {}
        self._roots: set[str] = set()
        self._changed = threading.Condition(threading.RLock())

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Take in one moving transform.

        Raises:
            InvalidArgumentException: An empty name, equal names, NaN or no unit rotation.
        """
        self._set(transform, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Take in one transform that holds at any time. Raises as `set_transform`."""
        self._set(transform, is_static=True)

    def _set(self, transform: TransformStamped, is_static: bool) -> None:
        child = _name(transform.child_frame_id)
        sample = _sample(transform, child)
        with self._changed:
            history = self._frames.get(child)
            if history is None or history.is_static != is_static:
                history = self._frames[child] = History(is_static, self._cache_ns)
            history.add(sample)
            self._roots.add(sample.parent)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget the moving frames."""
        with self._changed:
            self._frames = {name: h for name, h in self._frames.items() if h.is_static}
            self._roots = {h.latest.parent for h in self._frames.values()}

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration | None = None
    ) -> TransformStamped:
        """The transform that brings data of `source_frame` into `target_frame`.

        Args:
            target_frame: Frame wanted; header.frame_id of the answer.
            source_frame: Frame of the data; child_frame_id of the answer.
            time: When; zero = the newest time at which both are known.
            timeout: How long to wait for it on the wall clock; None = not at all.

        Raises:
            LookupException: A frame is unknown.
            ConnectivityException: The frames hang on different trees.
            ExtrapolationException: Not known at that time.
        """
        target, source = _name(target_frame), _name(source_frame)

        def look() -> TransformStamped:
            target_from_source, stamp_ns = self._lookup(target, source, time.nanoseconds)
            return _message(target_from_source, target, source, stamp_ns)

        return self._wait(look, timeout)

    def lookup_transform_full(
        self,
        target_frame: str,
        target_time: Time,
        source_frame: str,
        source_time: Time,
        fixed_frame: str,
        timeout: Duration | None = None,
    ) -> TransformStamped:
        """As `lookup_transform`, between two times, by way of a frame that stands still."""
        target, source, fixed = _name(target_frame), _name(source_frame), _name(fixed_frame)

        def look() -> TransformStamped:
            target_from_fixed, stamp_ns = self._lookup(target, fixed, target_time.nanoseconds)
            fixed_from_source, _ = self._lookup(fixed, source, source_time.nanoseconds)
            return _message(target_from_fixed @ fixed_from_source, target, source, stamp_ns)

        return self._wait(look, timeout)

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration | None = None,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Whether `lookup_transform` would answer; with `return_debug_tuple` also why not."""
        try:
            self.lookup_transform(target_frame, source_frame, time, timeout)
        except TransformException as error:
            return (False, str(error)) if return_debug_tuple else False
        return (True, "") if return_debug_tuple else True

    def all_frames_as_string(self) -> str:
        """One line per frame: its name and its newest parent."""
        with self._changed:
            return "\n".join(
                f"Frame {name} exists with parent {history.latest.parent}."
                for name, history in sorted(self._frames.items())
            )

    def _wait(
        self, look: Callable[[], TransformStamped], timeout: Duration | None
    ) -> TransformStamped:
        wait_s = 0.0 if timeout is None else timeout.nanoseconds * 1e-9
        deadline_s = wall_clock.monotonic() + wait_s
        with self._changed:
            while True:
                try:
                    return look()
                except InvalidArgumentException:
                    raise
                except TransformException:
                    left_s = deadline_s - wall_clock.monotonic()
                    if left_s <= 0.0:
                        raise
                self._changed.wait(left_s)

    def _lookup(self, target: str, source: str, stamp_ns: int) -> tuple[np.ndarray, int]:
        """target_from_source (4, 4), and the time it holds at in nanoseconds."""
        for role, name in (("target_frame", target), ("source_frame", source)):
            if name not in self._frames and name not in self._roots:
                raise LookupException(
                    f'"{name}" passed to lookupTransform argument {role} does not exist.'
                )
        if stamp_ns == 0:
            stamp_ns = self._newest_common_ns(target, source)
        above_source, source_error = self._climb(source, stamp_ns)
        above_target, target_error = self._climb(target, stamp_ns)
        shared = next((name for name in above_target if name in above_source), None)
        if shared is None:
            raise source_error or target_error or _unconnected(target, source)
        return np.linalg.inv(above_target[shared]) @ above_source[shared], stamp_ns

    def _climb(
        self, frame: str, stamp_ns: int
    ) -> tuple[dict[str, np.ndarray], ExtrapolationException | None]:
        """From a frame towards its root, as far as is known at that time.

        Returns:
            ancestor_from_frame (4, 4) by ancestor, nearest first, and what ended the climb short
            of the root.
        """
        above = {frame: np.eye(4)}
        name = frame
        while name in self._frames:
            try:
                sample = self._frames[name].at(stamp_ns, name)
            except ExtrapolationException as error:
                return above, error
            if sample.parent in above:
                raise ConnectivityException(f"frames form a loop: {[*above, sample.parent]}")
            above[sample.parent] = sample.matrix() @ above[name]
            name = sample.parent
        return above, None

    def _newest_common_ns(self, target: str, source: str) -> int:
        """Newest time at which all moving frames between two are known; 0 where none moves."""
        above_target, above_source = self._ancestors(target), self._ancestors(source)
        shared = next((name for name in above_target if name in above_source), None)
        if shared is None:
            raise _unconnected(target, source)
        between = [
            self._frames[name]
            for names in (above_target, above_source)
            for name in names[: names.index(shared)]
        ]
        return min((h.latest.stamp_ns for h in between if not h.is_static), default=0)

    def _ancestors(self, frame: str) -> list[str]:
        """A frame and the parents above it by their newest samples."""
        names = [frame]
        while names[-1] in self._frames:
            parent = self._frames[names[-1]].latest.parent
            if parent in names:
                raise ConnectivityException(f"frames form a loop: {[*names, parent]}")
            names.append(parent)
        return names


def _unconnected(target: str, source: str) -> ConnectivityException:
    return ConnectivityException(
        f"Could not find a connection between '{target}' and '{source}' because they are not part "
        "of the same tree. Tf has two or more unconnected trees."
    )


def _name(frame: str) -> str:
    """A frame's name without the leading slash of ROS 1."""
    name = frame.removeprefix("/")
    if not name:
        raise InvalidArgumentException("a frame name is empty")
    return name


def _sample(transform: TransformStamped, child: str) -> Sample:
    parent = _name(transform.header.frame_id)
    if parent == child:
        raise InvalidArgumentException(f"frame [{child}] is said to be its own parent")
    t, q = transform.transform.translation, transform.transform.rotation
    translation, rotation = np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w])
    length = float(np.linalg.norm(rotation))
    # Written so that NaN fails as well.
    if not (np.isfinite(translation).all() and abs(length - 1.0) < _QUATERNION_TOLERANCE):
        raise InvalidArgumentException(
            f"transform from [{parent}] to [{child}]: translation {translation.tolist()}, "
            f"rotation {rotation.tolist()} of length {length}; expected finite numbers, length 1"
        )
    stamp = transform.header.stamp
    stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
    return Sample(stamp_ns, parent, translation, rotation / length)


def _message(matrix: np.ndarray, target: str, source: str, stamp_ns: int) -> TransformStamped:
    message = TransformStamped()
    message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
    message.header.frame_id = target
    message.child_frame_id = source
    to, turn = message.transform.translation, message.transform.rotation
    to.x, to.y, to.z = (float(value) for value in matrix[:3, 3])
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in quaternion_from_matrix(matrix))
    return message
