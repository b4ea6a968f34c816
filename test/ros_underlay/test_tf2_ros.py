"""The tree of frames over time; for the stand-in and for the real package."""

import math
import time as wall_clock
from threading import Thread

import numpy as np
import pytest
import rclpy
import tf2_ros
import tf_transformations
from geometry_msgs.msg import TransformStamped
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.time import Time
from tf2_ros import Buffer


def at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * 1e9))


def transform(
    parent: str,
    child: str,
    seconds: float = 0.0,
    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0),
    yaw: float = 0.0,
) -> TransformStamped:
    """parent_from_child."""
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = at(seconds).to_msg()
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = xyz
    q.z, q.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def matrix(message: TransformStamped) -> np.ndarray:
    t, q = message.transform.translation, message.transform.rotation
    return tf_transformations.translation_matrix(
        [t.x, t.y, t.z]
    ) @ tf_transformations.quaternion_matrix([q.x, q.y, q.z, q.w])


@pytest.fixture
def driving() -> Buffer:
    """A car on the map from second 10 to 12: 4 m ahead and a quarter turn; a camera on it."""
    buffer = Buffer()
    buffer.set_transform(transform("map", "base_link", 10.0), "test")
    buffer.set_transform(transform("map", "base_link", 12.0, (4.0, 0.0, 0.0), math.pi / 2), "test")
    buffer.set_transform_static(transform("base_link", "camera", xyz=(1.0, 0.5, 2.0)), "test")
    return buffer


def test_lookup_composes_and_interpolates(driving: Buffer):
    found = driving.lookup_transform("map", "camera", at(11.0))
    assert (found.header.frame_id, found.child_frame_id) == ("map", "camera")
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (11, 0)
    expected = matrix(transform("map", "base_link", xyz=(2.0, 0.0, 0.0), yaw=math.pi / 4))
    expected = expected @ tf_transformations.translation_matrix([1.0, 0.5, 2.0])
    np.testing.assert_allclose(matrix(found), expected, atol=1e-9)


def test_the_other_way_is_the_inverse(driving: Buffer):
    there = matrix(driving.lookup_transform("map", "camera", at(10.7)))
    back = matrix(driving.lookup_transform("camera", "map", at(10.7)))
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-9)


def test_siblings_meet_at_their_parent(driving: Buffer):
    driving.set_transform_static(transform("base_link", "lidar", xyz=(0.0, 0.0, 2.0)), "test")
    found = driving.lookup_transform("lidar", "camera", at(99.0))
    np.testing.assert_allclose(
        matrix(found), tf_transformations.translation_matrix([1.0, 0.5, 0.0]), atol=1e-9
    )


def test_time_zero_is_the_newest_common_time(driving: Buffer):
    driving.set_transform(transform("base_link", "arm", 11.5), "test")
    found = driving.lookup_transform("map", "arm", Time())
    assert found.header.stamp.sec + found.header.stamp.nanosec * 1e-9 == pytest.approx(11.5)
    assert found.transform.translation.x == pytest.approx(3.0)


def test_a_frame_is_itself(driving: Buffer):
    found = driving.lookup_transform("camera", "camera", at(11.0))
    np.testing.assert_allclose(matrix(found), np.eye(4), atol=1e-12)


def test_order_of_arrival_does_not_matter(driving: Buffer):
    driving.set_transform(transform("map", "base_link", 11.0, (1.0, 0.0, 0.0)), "test")
    found = driving.lookup_transform("map", "base_link", at(10.5))
    assert found.transform.translation.x == pytest.approx(0.5)


@pytest.mark.parametrize("seconds", [9.99, 12.01])
def test_nothing_is_extrapolated(driving: Buffer, seconds: float):
    with pytest.raises(tf2_ros.ExtrapolationException):
        driving.lookup_transform("map", "camera", at(seconds))
    assert not driving.can_transform("map", "camera", at(seconds))


def test_one_sample_holds_at_its_own_time_only():
    buffer = Buffer()
    buffer.set_transform(transform("map", "base_link", 5.0), "test")
    assert buffer.can_transform("map", "base_link", at(5.0))
    with pytest.raises(tf2_ros.ExtrapolationException):
        buffer.lookup_transform("map", "base_link", at(5.1))


def test_unknown_frame(driving: Buffer):
    with pytest.raises(tf2_ros.LookupException, match="radar"):
        driving.lookup_transform("base_link", "radar", at(11.0))
    can, why = driving.can_transform("base_link", "radar", at(11.0), return_debug_tuple=True)
    assert not can
    assert "radar" in why


@pytest.mark.parametrize("time", [Time(), at(11.0)])
def test_unconnected_trees(driving: Buffer, time: Time):
    driving.set_transform_static(transform("moon", "crater"), "test")
    with pytest.raises(tf2_ros.ConnectivityException):
        driving.lookup_transform("base_link", "crater", time)


def test_errors_have_one_base():
    for name in ("Lookup", "Connectivity", "Extrapolation", "InvalidArgument", "Timeout"):
        assert issubclass(getattr(tf2_ros, f"{name}Exception"), tf2_ros.TransformException)


def test_old_samples_are_forgotten():
    buffer = Buffer(cache_time=Duration(seconds=2))
    for seconds in range(10):
        buffer.set_transform(transform("map", "base_link", float(seconds) + 1.0), "test")
    assert buffer.can_transform("map", "base_link", at(8.5))
    assert not buffer.can_transform("map", "base_link", at(5.0))


def test_full_lookup_crosses_times(driving: Buffer):
    found = driving.lookup_transform_full("base_link", at(12.0), "base_link", at(10.0), "map")
    # Where the car was at 10 s, seen from where it is at 12 s: 4 m back, which is to its right.
    expected = np.linalg.inv(
        matrix(transform("map", "base_link", xyz=(4.0, 0.0, 0.0), yaw=math.pi / 2))
    )
    np.testing.assert_allclose(matrix(found), expected, atol=1e-9)


def test_clear_forgets_what_moves(driving: Buffer):
    driving.clear()
    assert not driving.can_transform("map", "base_link", at(11.0))


def test_timeout_waits_for_the_transform(driving: Buffer):
    def late() -> None:
        wall_clock.sleep(0.1)
        driving.set_transform(transform("map", "base_link", 13.0, (4.0, 0.0, 0.0)), "test")

    Thread(target=late).start()
    assert driving.can_transform("map", "base_link", at(12.5), timeout=Duration(seconds=5))


def test_timeout_ends(driving: Buffer):
    start = wall_clock.monotonic()
    assert not driving.can_transform("map", "base_link", at(99.0), Duration(seconds=0.1))
    assert 0.05 < wall_clock.monotonic() - start < 2.0


@pytest.fixture
def nodes():
    context = Context()
    rclpy.init(context=context)
    made = [rclpy.create_node(name, context=context) for name in ("sender", "receiver")]
    yield made
    for node in made:
        node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.ros
def test_broadcast_reaches_a_listener_over_dds(nodes):
    sender, receiver = nodes
    static = tf2_ros.StaticTransformBroadcaster(sender)
    static.sendTransform(transform("base_link", "camera", xyz=(1.0, 0.0, 0.0)))
    static.sendTransform([transform("base_link", "lidar", xyz=(0.0, 0.0, 2.0))])
    moving = tf2_ros.TransformBroadcaster(sender)

    buffer = Buffer()
    listener = tf2_ros.TransformListener(buffer, receiver)
    executor = SingleThreadedExecutor(context=sender.context)
    executor.add_node(receiver)
    deadline = wall_clock.monotonic() + 20.0
    while wall_clock.monotonic() < deadline and not buffer.can_transform("map", "lidar", Time()):
        moving.sendTransform(transform("map", "base_link", 3.0, (5.0, 0.0, 0.0)))
        executor.spin_once(timeout_sec=0.05)
    for frame, x in (("camera", 6.0), ("lidar", 5.0)):
        found = buffer.lookup_transform("map", frame, at(3.0))
        assert found.transform.translation.x == pytest.approx(x)
    listener.unregister()
    executor.shutdown()
