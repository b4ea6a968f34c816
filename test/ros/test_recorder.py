"""What is published is in the bag: bytes, times, QoS, late topics and latched ones."""

import pytest

pytest.importorskip("rclpy")

import rclpy
from nav_msgs.msg import OccupancyGrid
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from distillnerf_ros.data.bag_reader import bag_info, read_bag
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.ros.recorder import Recorder, Selection, main

pytestmark = pytest.mark.ros

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def nodes():
    """A talker and a listener, spun together by the test."""
    context = rclpy.Context()
    rclpy.init(context=context)
    talker = rclpy.create_node("talker", context=context)
    listener = rclpy.create_node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    yield talker, listener, executor
    executor.shutdown()
    rclpy.shutdown(context=context)


def spin_until(executor, condition):
    for _ in range(1000):
        if condition():
            return
        executor.spin_once(timeout_sec=0.02)
    raise AssertionError("not within 20 s")


def test_a_bag_of_everything_under_a_prefix(nodes, tmp_path):
    talker, listener, executor = nodes
    grid = talker.create_publisher(OccupancyGrid, "/mine/grid", LATCHED)
    grid.publish(OccupancyGrid(data=[1, 2, 3]))
    other = talker.create_publisher(String, "/other", 10)
    extra = talker.create_publisher(String, "/extra", 10)
    recorder = Recorder(listener, tmp_path / "bag", Selection(("/mine",), ("/extra",)))
    spin_until(executor, lambda: recorder.counts.get("/mine/grid") == 1)
    words = talker.create_publisher(String, "/mine/words", BEST_EFFORT)
    spin_until(executor, words.get_subscription_count)
    spin_until(executor, extra.get_subscription_count)
    for index in range(3):
        words.publish(String(data=f"word {index}"))
        extra.publish(String(data="extra"))
        other.publish(String(data="not for us"))
        spin_until(executor, lambda n=index: recorder.counts["/mine/words"] > n)
    spin_until(executor, lambda: recorder.counts["/extra"] == 3)
    recorder.close()

    info = bag_info(tmp_path / "bag")
    assert {name: topic.count for name, topic in info.topics.items()} == {
        "/mine/grid": 1,
        "/mine/words": 3,
        "/extra": 3,
    }
    assert info.topics["/mine/grid"].qos.transient_local
    assert not info.topics["/mine/words"].qos.reliable
    texts = [m for m in read_bag(tmp_path / "bag") if m.topic == "/mine/words"]
    assert [deserialize_message(m.data, String).data for m in texts] == [
        "word 0",
        "word 1",
        "word 2",
    ]
    assert sorted(m.stamp_ns for m in texts) == [m.stamp_ns for m in texts]


def test_a_folder_in_the_way_is_not_touched(nodes, tmp_path, capfd):
    with pytest.raises(DatasetError, match="exists already"):
        Recorder(nodes[1], tmp_path, Selection(("/mine",)))
    assert main(["recorder", str(tmp_path)]) == 1
    assert "exists already" in capfd.readouterr().err


def test_selection():
    assert "/a/b" in Selection(("/a",))
    assert "/b" not in Selection(("/a",), ("/c",))
    assert "/c" in Selection((), ("/c",))
    assert "/a" not in Selection()
