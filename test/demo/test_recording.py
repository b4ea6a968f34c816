"""Messages written to a bag come back as the glances they belong to."""

import cv2
import numpy as np
import pytest

from distillnerf_ros.data.bag_messages import compressed_image, typestore
from distillnerf_ros.demo import recording
from distillnerf_ros.errors import DatasetError

rosbags = pytest.importorskip("rosbags.rosbag2")

IMAGE = "sensor_msgs/msg/Image"
CLOUD = "sensor_msgs/msg/PointCloud2"
GRID = "nav_msgs/msg/OccupancyGrid"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
START_NS = 1_533_000_000_000_000_000
CAMERAS = ("CAM_FRONT", "CAM_BACK")


def new(kind, *values):
    """A message by type and values, without ROS."""
    return typestore().types[kind](*values)


def header(stamp_ns, frame="base_link"):
    time = new("builtin_interfaces/msg/Time", *divmod(stamp_ns, 1_000_000_000))
    return new("std_msgs/msg/Header", time, frame)


def image(stamp_ns, pixels, encoding):
    height, width = pixels.shape[:2]
    data = np.frombuffer(pixels.tobytes(), np.uint8)
    step = data.size // height
    return new(IMAGE, header(stamp_ns), height, width, encoding, 0, step, data)


def cloud(stamp_ns, columns):
    dtype = np.dtype([(name, values.dtype.str) for name, values in columns.items()])
    points = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        points[name] = values
    kinds = {"f": 7, "u": 6}
    fields = [
        new("sensor_msgs/msg/PointField", name, dtype.fields[name][1], kinds[v.dtype.kind], 1)
        for name, v in columns.items()
    ]
    data = np.frombuffer(points.tobytes(), np.uint8)
    size = dtype.itemsize
    return new(CLOUD, header(stamp_ns), 1, len(points), fields, False, size, data.size, data, True)


def occupancy(stamp_ns, count):
    ramp = np.arange(count, dtype=np.float32)
    return cloud(
        stamp_ns,
        {"x": ramp, "y": -ramp, "z": 0 * ramp, "probability": ramp / 8}
        | {"label": np.full(count, 4, np.uint32)},
    )


def grid(stamp_ns, values):
    pose = new(
        "geometry_msgs/msg/Pose",
        new("geometry_msgs/msg/Point", -40.0, -40.0, 0.2),
        new("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0),
    )
    columns, rows = values.shape  # [x, y]; the message is row by row along x
    meta = new("nav_msgs/msg/MapMetaData", header(stamp_ns).stamp, 0.4, columns, rows, pose)
    return new(GRID, header(stamp_ns), meta, values.T.ravel().astype(np.int8))


def diagnostics(values):
    pairs = [new("diagnostic_msgs/msg/KeyValue", k, v) for k, v in values.items()]
    status = new("diagnostic_msgs/msg/DiagnosticStatus", 0, "model", "active", "", pairs)
    return new(DIAGNOSTICS, header(START_NS), [status])


def write(path, messages):
    """A bag of (stamp, topic, type, message)."""
    connections = {}
    with rosbags.Writer(path, version=9, storage_plugin=rosbags.StoragePlugin.MCAP) as writer:
        for stamp_ns, topic, kind, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=typestore())
            is_raw = isinstance(message, bytes)
            data = message if is_raw else typestore().serialize_cdr(message, kind)
            writer.write(connections[topic], stamp_ns, data)
    return path


@pytest.fixture
def outputs(tmp_path):
    """Two glances half a second apart; the back camera has no depth in the second."""
    messages = []
    for step in (0, 1):
        stamp = START_NS + step * 500_000_000
        front, back = stamp - 20_000_000, stamp
        depth = np.full((2, 3), 7.0 + step, np.float32)
        depth[0, 0] = np.nan
        rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
        node = "/distillnerf"
        messages += [
            (stamp, f"{node}/CAM_FRONT/depth/image_rect", IMAGE, image(front, depth, "32FC1")),
            (stamp, f"{node}/CAM_FRONT/rgb/image_rect", IMAGE, image(front, rgb, "rgb8")),
            (stamp, f"{node}/occupancy", CLOUD, occupancy(stamp, 3 + step)),
            (stamp, "/diagnostics", DIAGNOSTICS, diagnostics({"peak_memory_mib": "900"})),
        ]
        if step == 0:
            seen = np.full((4, 2), -1, np.int8)
            seen[3, 0] = 80
            messages += [
                (stamp, f"{node}/CAM_BACK/depth/image_rect", IMAGE, image(back, depth, "32FC1")),
                (stamp, f"{node}/occupancy_grid", GRID, grid(stamp, seen)),
            ]
    timed = {
        "encode_ms": "120.5",
        "publish_ms": "3.0",
        "frame_ms": "123.5",
        "peak_memory_mib": "901",
    }
    messages.append((START_NS + 10**9, "/diagnostics", DIAGNOSTICS, diagnostics(timed)))
    return write(tmp_path / "outputs", messages)


def test_glances_come_back_whole(outputs):
    found = recording.read_recording(outputs, CAMERAS)
    first, second = found.snapshots
    assert [view.name for view in first.cameras] == ["CAM_FRONT", "CAM_BACK"]
    assert [view.name for view in second.cameras] == ["CAM_FRONT"]
    assert first.cameras[0].stamp_ns == START_NS - 20_000_000
    assert np.isnan(first.cameras[0].depth_m[0, 0])
    assert second.cameras[0].depth_m[1, 2] == 8.0
    np.testing.assert_array_equal(first.cameras[0].rgb.ravel(), np.arange(18))
    assert first.cameras[0].heat is None
    np.testing.assert_array_equal(second.voxels.points_m[3], [3, -3, 0])
    np.testing.assert_array_equal(second.voxels.labels, [4] * 4)
    assert first.grid[3, 0] == 80
    assert (first.grid == -1).sum() == 7
    assert second.grid is None


def test_timing_is_that_of_the_last_diagnostics(outputs):
    found = recording.read_recording(outputs, CAMERAS)
    assert found.stages_ms == {"encode": 120.5, "publish": 3.0}
    assert found.memory_mib == 901
    assert found.counts["/diagnostics"] == 3


def test_a_bag_without_occupancy_is_refused(tmp_path):
    bag = write(
        tmp_path / "bag", [(START_NS, "/diagnostics", DIAGNOSTICS, diagnostics({"a": "b"}))]
    )
    with pytest.raises(DatasetError, match=r"published nothing; recorded are /diagnostics"):
        recording.read_recording(bag, CAMERAS)


@pytest.mark.parametrize(
    ("encoding", "step", "message"),
    [("bgr8", 9, "encoding 'bgr8'"), ("rgb8", 8, "with step 8"), ("32FC1", 12, "18 bytes")],
)
def test_images_that_cannot_be_are_refused(encoding, step, message):
    picture = image(0, np.zeros((2, 3, 3), np.uint8), "rgb8")
    picture.encoding, picture.step = encoding, step
    with pytest.raises(DatasetError, match=message):
        recording.image_array(picture)


def test_rows_may_be_padded():
    padded = np.zeros((2, 10), np.uint8)
    padded[:, :9] = np.arange(18).reshape(2, 9)
    picture = image(0, np.zeros((2, 3, 3), np.uint8), "rgb8")
    picture.data, picture.step = padded.ravel(), 10
    np.testing.assert_array_equal(recording.image_array(picture).ravel(), np.arange(18))


def test_pictures_are_those_of_the_same_stamps(outputs, tmp_path):
    def jpeg(level):
        return cv2.imencode(".jpg", np.full((8, 16, 3), level, np.uint8))[1].tobytes()

    topic = "/CAM_FRONT/image_rect_compressed"
    kind = "sensor_msgs/msg/CompressedImage"
    stamps = {START_NS - 20_000_000: 200, START_NS + 63_000_000: 10}
    inputs = write(
        tmp_path / "inputs",
        [(s, topic, kind, compressed_image(s, "CAM_FRONT", jpeg(v))) for s, v in stamps.items()],
    )
    first = recording.read_recording(outputs, CAMERAS).snapshots[0]
    front, back = recording.with_pictures(first, inputs, (4, 8)).cameras
    assert front.picture.shape == (4, 8, 3)
    assert abs(int(front.picture.mean()) - 200) < 4
    assert back.picture is None
