"""A bag is played as recorded: bytes, order, pace, latched topics; a cut one as far as it goes."""

import dataclasses
import shutil
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage

from distillnerf_ros.data import bag, bag_messages
from distillnerf_ros.data.bag_reader import BagMessage, OfferedQos, bag_info
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.ros import replay
from distillnerf_ros.ros.replay import Replay, ReplayOptions, main

pytestmark = pytest.mark.ros

CLOCK = "rosgraph_msgs/msg/Clock"
IMAGE, TF_STATIC = "/CAM_FRONT/image_rect_compressed", "/tf_static"
T0_NS = 1_600_000_000_000_000_000
STEP_NS = 50_000_000
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def recorded():
    """Two latched transforms, then 21 images 50 ms apart; each image is its number as text,
    padded so that half a bag is half of the images.
    """
    latched = OfferedQos(reliable=True, transient_local=True, depth=1)
    for index, child in enumerate(("CAM_FRONT", "LIDAR_TOP")):
        data = bag_messages.transforms([(T0_NS, "base_link", child, np.eye(4))])
        yield BagMessage(T0_NS + index, TF_STATIC, bag_messages.TRANSFORMS, data, latched)
    for index in range(21):
        stamp_ns = T0_NS + index * STEP_NS
        data = bag_messages.compressed_image(stamp_ns, "CAM_FRONT", b"%-5000d" % index)
        yield BagMessage(stamp_ns + 2, IMAGE, bag_messages.COMPRESSED_IMAGE, data, OfferedQos())


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags") / "recording"
    bag._write(folder, recorded())
    return folder


@pytest.fixture
def player():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("player", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def numbers(images):
    return [int(bytes(image.data)) for image in images]


def test_what_cannot_or_must_not_be_played_is_left_out(player, tmp_path, monkeypatch):
    """A recorded clock beside the player's own makes time flip; others' types may be missing."""
    data = bag_messages.transforms([(T0_NS, "map", "base_link", np.eye(4))])
    clock = serialize_message(Clock())
    messages = (("/clock", CLOCK, clock), ("/tf", bag_messages.TRANSFORMS, data))
    messages += (("/mine", bag_messages.TRANSFORMS, data),)
    bag._write(
        tmp_path / "bag", (BagMessage(T0_NS, *message, OfferedQos()) for message in messages)
    )
    info = bag_info(tmp_path / "bag")
    info.topics["/mine"] = dataclasses.replace(info.topics["/mine"], msgtype="my_msgs/msg/Mine")
    monkeypatch.setattr(replay, "bag_info", lambda _: info)

    def played(**options):
        return set(Replay(player, tmp_path / "bag", ReplayOptions(**options))._publishers)

    assert played(clock_hz=0.0) == {"/tf", "/clock"}
    assert played() == {"/tf"}
    with pytest.raises(DatasetError, match=r"'my_msgs/msg/Mine' is not installed"):
        played(topics=("/mine",))


def test_without_subscribers_the_wait_ends_with_what_to_do(player, recording):
    replay = Replay(player, recording, ReplayOptions(wait_for=(IMAGE,), wait_timeout_s=0.2))
    with pytest.raises(DatasetError, match=r"nobody subscribed to .* ROS_DOMAIN_ID"):
        replay.wait_for_subscribers()


def test_all_messages_come_in_order_at_their_pace(vehicle, player, recording, wait_until):
    images = vehicle.listen(CompressedImage, IMAGE, 30, wait=False)
    clocks = vehicle.listen(Clock, "/clock", 1000, wait=False)
    replay = Replay(player, recording, ReplayOptions(rate=2.0, wait_for=(IMAGE,)))
    replay.wait_for_subscribers()
    start_s = time.monotonic()
    replay.play()
    seconds = time.monotonic() - start_s
    wait_until(lambda: len(images) == 21, 10.0)
    assert numbers(images) == list(range(21))
    assert images[3].header.stamp.nanosec == 3 * STEP_NS
    assert replay.counts.messages == 23
    assert seconds > 0.5
    stamps = [clock.clock.sec * 10**9 + clock.clock.nanosec for clock in clocks]
    assert stamps == sorted(stamps)
    assert len(stamps) > 21
    assert stamps[-1] >= T0_NS + 20 * STEP_NS


def test_latched_transforms_reach_late_listeners_and_skipped_starts(
    vehicle, player, recording, wait_until
):
    images = vehicle.listen(CompressedImage, IMAGE, 30, wait=False)
    options = ReplayOptions(rate=10.0, start_s=0.49, duration_s=0.2, wait_for=(IMAGE,))
    replay = Replay(player, recording, options)
    replay.wait_for_subscribers()
    replay.play()
    wait_until(lambda: len(images) == 4, 10.0)
    assert numbers(images) == [10, 11, 12, 13]
    transforms = vehicle.listen(TFMessage, TF_STATIC, LATCHED, wait=False)
    wait_until(lambda: len(transforms) >= 2, 10.0)
    children = {t.child_frame_id for message in transforms for t in message.transforms}
    assert {"CAM_FRONT", "LIDAR_TOP"} <= children


def test_a_cut_bag_is_played_as_far_as_it_goes(vehicle, recording, tmp_path, capfd, wait_until):
    cut = tmp_path / "cut"
    shutil.copytree(recording, cut)
    storage = next(cut.glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    images = vehicle.listen(CompressedImage, IMAGE, 30, wait=False)
    arguments = ["replay", str(cut), "--rate", "20", "--wait-for", IMAGE]
    assert main(arguments) == 1
    assert "cannot be read to its end" in capfd.readouterr().err
    wait_until(lambda: len(images) > 2, 10.0)
    assert numbers(images) == list(range(len(images)))
    assert len(images) < 21


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "0"], "rate 0.0; expected a number above 0"),
        (["--start", "-1"], "expected start and clock >= 0"),
        (["--topics", "/typo"], "has no topic /typo; it holds /CAM_FRONT/image_rect_compressed"),
    ],
)
def test_wrong_options_say_what_is_expected(recording, capfd, options, message):
    assert main(["replay", str(recording), *options]) == 1
    assert message in capfd.readouterr().err


def test_no_bag_says_so(tmp_path, capfd):
    assert main(["replay", str(tmp_path / "nothing")]) == 1
    assert "nothing" in capfd.readouterr().err


def test_options_are_checked():
    with pytest.raises(ConfigError, match="rate nan"):
        ReplayOptions(rate=float("nan"))
