"""Camera poses by TF: closed forms, and no pose where a transform is missing."""

import math
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from tf2_ros import Buffer

from distillnerf_ros.errors import StaleTransformError
from distillnerf_ros.ros.frames import EgoFrames, LoopingBuffer, matrix_from_transform
from distillnerf_ros.ros.messages import header_at

T0_NS = 1_600_000_000_000_000_000


def transform(parent, child, xyz, yaw=0.0, stamp_ns=T0_NS):
    message = TransformStamped(header=header_at(stamp_ns, parent), child_frame_id=child)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, xyz)
    q.z, q.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


@pytest.fixture
def buffer():
    """A vehicle driving at 10 m/s along map x, from x = 0 at T0; a camera 1 m ahead of it."""
    buffer = Buffer()
    buffer.set_transform_static(transform("base_link", "CAM", (1, 0, 1.5)), "test")
    for step in range(11):
        stamp_ns = T0_NS + step * 10_000_000
        buffer.set_transform(transform("map", "base_link", (step * 0.1, 5, 0), 0, stamp_ns), "t")
    return buffer


def ego(buffer, fixed_frame="map", timeout_s=0.0):
    return EgoFrames(buffer, "base_link", fixed_frame, timeout_s)


def look(frames, camera="CAM", stamp_ns=T0_NS, reference_ns=T0_NS + 100_000_000):
    return frames.ego_from(camera, stamp_ns, reference_ns, frames.deadline_s())


def test_the_vehicle_moved_on_between_camera_and_reference(buffer):
    """The camera was 1 m ahead of a vehicle that is 1 m further now: x = 0."""
    pose = look(ego(buffer))
    np.testing.assert_allclose(pose[:3, 3], [0, 0, 1.5], atol=1e-9)


def test_at_the_reference_stamp_the_pose_is_the_mounting(buffer):
    pose = look(ego(buffer), stamp_ns=T0_NS + 100_000_000)
    np.testing.assert_allclose(pose[:3, 3], [1, 0, 1.5], atol=1e-9)


def test_between_two_poses_the_vehicle_is_interpolated(buffer):
    pose = look(ego(buffer), stamp_ns=T0_NS + 55_000_000)
    np.testing.assert_allclose(pose[:3, 3], [0.55, 0, 1.5], atol=1e-6)


def test_without_a_fixed_frame_motion_is_ignored_on_purpose(buffer):
    pose = look(ego(buffer, fixed_frame=""))
    np.testing.assert_allclose(pose[:3, 3], [1, 0, 1.5], atol=1e-9)


@pytest.mark.parametrize("camera", ["CAM_TYPO", ""])
def test_an_unknown_frame_gives_no_pose(buffer, camera):
    with pytest.raises(StaleTransformError) as caught:
        look(ego(buffer), camera=camera)
    if camera:
        for word in ("'CAM_TYPO'", "'base_link'", "'map'", "base_frame", "fixed_frame"):
            assert word in str(caught.value)
    else:
        assert "frame_id is empty" in str(caught.value)


def test_a_stamp_beyond_the_newest_transform_gives_no_pose(buffer):
    with pytest.raises(StaleTransformError, match="extrapolation"):
        look(ego(buffer), reference_ns=T0_NS + 200_000_000)


def test_a_late_transform_is_waited_for(buffer):
    import threading

    late = transform("map", "base_link", (2, 5, 0), 0, T0_NS + 200_000_000)
    threading.Timer(0.1, lambda: buffer.set_transform(late, "t")).start()
    pose = look(ego(buffer, timeout_s=2.0), reference_ns=T0_NS + 200_000_000)
    np.testing.assert_allclose(pose[:3, 3], [-1, 0, 1.5], atol=1e-6)


def test_waiting_ends_at_the_deadline(buffer):
    start_s = time.monotonic()
    with pytest.raises(StaleTransformError, match=r"after waiting 0.1 s"):
        look(ego(buffer, timeout_s=0.1), reference_ns=T0_NS + 200_000_000)
    assert 0.1 <= time.monotonic() - start_s < 0.5


def test_a_buffer_forgets_the_future_when_time_starts_over():
    """A late transform of the old time, after the jump, must not block the new time either."""
    buffer = LoopingBuffer(Duration(seconds=10))
    buffer.set_transform_static(transform("base_link", "CAM", (1, 0, 1.5)), "test")
    for at_s in (100, 0, 100, 0, 1):
        stamp_ns = T0_NS + at_s * 1_000_000_000
        buffer.set_transform(transform("map", "base_link", (at_s, 0, 0), 0, stamp_ns), "t")
    pose = look(ego(buffer), stamp_ns=T0_NS + 500_000_000, reference_ns=T0_NS + 1_000_000_000)
    np.testing.assert_allclose(pose[:3, 3], [0.5, 0, 1.5], atol=1e-6)


def test_matrix_of_a_quarter_turn():
    matrix = matrix_from_transform(transform("a", "b", (1, 2, 3), math.pi / 2).transform)
    np.testing.assert_allclose(
        matrix, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-12
    )
