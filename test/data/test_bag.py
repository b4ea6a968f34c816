"""A nuScenes scene as a rosbag2: stamps, transforms, contents, and what it never overwrites."""

import shutil
from collections import Counter

import numpy as np
import pytest

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.cameras.pixels import k_to_opencv
from distillnerf_ros.cameras.transforms import matrix_from_quaternion
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.bag import OfferedQos, bag_info, read_bag, write_bag
from distillnerf_ros.data.bag_messages import TopicLayout, typestore
from distillnerf_ros.errors import DatasetError, ImageError

pytest.importorskip("nuscenes")
pytest.importorskip("rosbags")


@pytest.fixture(scope="module")
def bag(tiny_nusc, tmp_path_factory):
    out = tmp_path_factory.mktemp("bag") / "ride"
    return write_bag(tiny_nusc, nuscenes.find_scene(tiny_nusc), out)


def decode(message):
    return typestore().deserialize_cdr(message.data, message.msgtype)


def header_ns(header) -> int:
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def matrix(transform) -> np.ndarray:
    q, t = transform.rotation, transform.translation
    return matrix_from_quaternion((q.w, q.x, q.y, q.z), (t.x, t.y, t.z))


def by_topic(bag, topic):
    return [(message, decode(message)) for message in read_bag(bag, [topic])]


def test_topics_and_counts(bag):
    counts = {name: topic.count for name, topic in bag_info(bag).topics.items()}
    cameras = {
        f"/{name}/{ending}": 3
        for name in CAMERA_NAMES
        for ending in ("image_rect_compressed", "camera_info")
    }
    assert counts == {**cameras, "/LIDAR_TOP": 3, "/tf": 21, "/tf_static": 1}


def test_messages_carry_the_sensors_own_stamps_in_order(bag, tiny_set):
    messages = list(read_bag(bag))
    stamps = [message.stamp_ns for message in messages]
    assert stamps == sorted(stamps)
    assert stamps[-1] == (tiny_set.start_us + 500_000) * 1000
    for message in messages:
        if not message.topic.startswith("/tf"):
            assert header_ns(decode(message).header) == message.stamp_ns


def test_pose_of_the_vehicle_comes_before_the_data_of_every_stamp(bag, tiny_set):
    known = {}
    for message in read_bag(bag):
        if message.topic == "/tf":
            (transform,) = decode(message).transforms
            assert (transform.header.frame_id, transform.child_frame_id) == ("map", "base_link")
            known[header_ns(transform.header)] = matrix(transform.transform)
        elif message.topic != "/tf_static":
            expected = tiny_set.map_from_ego(message.stamp_ns // 1000)
            np.testing.assert_allclose(known[message.stamp_ns], expected, atol=1e-9)


def test_static_transforms_come_first_and_are_kept_for_late_listeners(bag, tiny_set):
    first = next(read_bag(bag))
    assert first.topic == "/tf_static"
    assert first.qos == OfferedQos(reliable=True, transient_local=True, depth=1)
    mounted = {t.child_frame_id: t for t in decode(first).transforms}
    assert set(mounted) == {*CAMERA_NAMES, "LIDAR_TOP"}
    for name in CAMERA_NAMES:
        assert mounted[name].header.frame_id == "base_link"
        expected = tiny_set.ego_from_camera(name)
        np.testing.assert_allclose(matrix(mounted[name].transform), expected, atol=1e-9)


def test_image_bytes_are_those_of_the_file(bag, tiny_nusc, tiny_set):
    records = nuscenes.sensor_records(tiny_nusc, nuscenes.find_scene(tiny_nusc))
    files = {
        nuscenes.stamp_ns(record): tiny_set.root / record["filename"]
        for record in records
        if record["channel"] == "CAM_BACK"
    }
    for message, image in by_topic(bag, "/CAM_BACK/image_rect_compressed"):
        assert (image.format, image.header.frame_id) == ("jpeg", "CAM_BACK")
        assert image.data.tobytes() == files[message.stamp_ns].read_bytes()


def test_camera_info_of_a_rectified_camera(bag, tiny_set):
    _, info = by_topic(bag, "/CAM_FRONT/camera_info")[0]
    assert (info.height, info.width) == tiny_set.size
    np.testing.assert_array_equal(info.k.reshape(3, 3), k_to_opencv(tiny_set.k))
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], k_to_opencv(tiny_set.k))
    assert not info.d.any()


def test_point_cloud_holds_the_points(bag, tiny_set):
    _, cloud = by_topic(bag, "/LIDAR_TOP")[0]
    types = {7: "<f4", 4: "<u2"}
    layout = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [types[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    points = cloud.data.view(layout)
    assert (cloud.header.frame_id, cloud.height, cloud.width) == ("LIDAR_TOP", 1, 4)
    for column, name in enumerate(("x", "y", "z", "intensity", "ring")):
        np.testing.assert_array_equal(points[name], tiny_set.lidar_points[:, column])


def test_mcap_tools_read_the_bag(bag):
    reader = pytest.importorskip("mcap.reader")
    decoder = pytest.importorskip("mcap_ros2.decoder")
    with (bag / "ride.mcap").open("rb") as stream:
        mcap = reader.make_reader(stream, decoder_factories=[decoder.DecoderFactory()])
        topics = Counter(item.channel.topic for item in mcap.iter_decoded_messages())
    assert topics["/tf"] == 21


def test_names_follow_the_layout(tiny_nusc, tmp_path):
    layout = TopicLayout(image="/nuscenes/{camera}/jpeg", map_frame="odom", ego_frame="car")
    scene = nuscenes.find_scene(tiny_nusc)
    out = write_bag(tiny_nusc, scene, tmp_path / "ride", layout)
    assert "/nuscenes/CAM_FRONT/jpeg" in bag_info(out).topics
    _, tf = by_topic(out, "/tf")[0]
    assert (tf.transforms[0].header.frame_id, tf.transforms[0].child_frame_id) == ("odom", "car")


def test_bag_is_not_overwritten_without_force(tiny_nusc, bag, tmp_path):
    scene = nuscenes.find_scene(tiny_nusc)
    out = tmp_path / "ride"
    shutil.copytree(bag, out)
    with pytest.raises(DatasetError, match="--force"):
        write_bag(tiny_nusc, scene, out)
    (out / "ride.mcap").write_bytes(b"old")
    write_bag(tiny_nusc, scene, out, force=True)
    assert bag_info(out).count == bag_info(bag).count
    assert [path.name for path in tmp_path.iterdir()] == ["ride"]


def test_force_never_removes_what_is_no_bag(tiny_nusc, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="no rosbag2 folder"):
        write_bag(tiny_nusc, nuscenes.find_scene(tiny_nusc), out, force=True)
    assert (out / "thesis.tex").exists()


def test_truncated_image_leaves_no_half_bag(own_set, tmp_path):
    nusc = nuscenes.open_dataset(own_set.root)
    scene = nuscenes.find_scene(nusc)
    record = nuscenes.sensor_records(nusc, scene)[-3]
    path = own_set.root / record["filename"]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImageError, match=path.name):
        write_bag(nusc, scene, tmp_path / "ride")
    assert not list(tmp_path.glob("*ride*"))


def test_image_of_another_size_than_the_tables_say_is_refused(own_set, tmp_path):
    cv2 = pytest.importorskip("cv2")
    nusc = nuscenes.open_dataset(own_set.root)
    scene = nuscenes.find_scene(nusc)
    path = own_set.root / nuscenes.sensor_records(nusc, scene)[0]["filename"]
    cv2.imwrite(str(path), np.zeros((36, 64, 3), np.uint8))
    with pytest.raises(DatasetError, match="64x36 px, but the tables say 128x72"):
        write_bag(nusc, scene, tmp_path / "ride")
