"""The node over DDS, in a process of its own: what it publishes, answers and refuses."""

import math
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("distillnerf_msgs")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from distillnerf_msgs.srv import QueryImage, QueryText, RenderView
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import OccupancyGrid
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from sensor_msgs_py import point_cloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.ros.messages import header_at, stamp_ns

pytestmark = pytest.mark.ros

ME = "/distillnerf"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def wait_until(condition, timeout_s=30.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
        time.sleep(0.01)


def set_parameter(vehicle, name, value):
    kinds = {
        list: (ParameterType.PARAMETER_STRING_ARRAY, "string_array_value"),
        str: (ParameterType.PARAMETER_STRING, "string_value"),
        float: (ParameterType.PARAMETER_DOUBLE, "double_value"),
    }
    kind, field = kinds[type(value)]
    parameter = Parameter(name=name, value=ParameterValue(type=kind, **{field: value}))
    request = SetParameters.Request(parameters=[parameter])
    return vehicle.ask(SetParameters, f"{ME}/set_parameters", request).results[0]


def get_parameter(vehicle, name):
    request = GetParameters.Request(names=[name])
    return vehicle.ask(GetParameters, f"{ME}/get_parameters", request).values[0]


@pytest.fixture(scope="module")
def depths(vehicle, node):
    """Depth images by camera, as they come."""
    return {
        camera: vehicle.listen(Image, f"{ME}/{camera}/depth/image_rect") for camera in CAMERA_NAMES
    }


@pytest.fixture(scope="module")
def diagnostics(vehicle, node):
    return vehicle.listen(DiagnosticArray, "/diagnostics")


def status(diagnostics, name):
    found = [s for s in diagnostics[-1].status if s.name == f"distillnerf: {name}"]
    assert len(found) == 1
    return found[0], {entry.key: entry.value for entry in found[0].values}


def cameras_answered(vehicle, depths, change, expected):
    """Send a glance, wait for the expected cameras, and return which answered."""
    shots = vehicle.send(change)
    sent = {shot.camera: stamp_ns(shot.image.header) for shot in shots}

    def answered():
        return {
            c
            for c, images in depths.items()
            if any(stamp_ns(image.header) == sent.get(c) for image in images)
        }

    wait_until(lambda: answered() >= set(expected))
    time.sleep(0.1)
    return answered()


def test_a_question_before_the_first_frame_is_answered_by_what_to_do(vehicle, node):
    answer = vehicle.ask(QueryText, f"{ME}/query_text", QueryText.Request(prompts=["bus"]))
    assert not answer.success
    assert "no frame yet" in answer.message
    assert "topics" in answer.message


@pytest.mark.parametrize("prompts", [[], [""], ["bus", "  "]])
def test_an_empty_prompt_is_refused(vehicle, node, prompts):
    answer = vehicle.ask(QueryText, f"{ME}/query_text", QueryText.Request(prompts=prompts))
    assert not answer.success
    assert "expected at least one text and none empty" in answer.message


def test_the_node_started_itself(vehicle, node):
    assert vehicle.ask(GetState, f"{ME}/get_state", GetState.Request()).current_state.label == (
        "active"
    )


def test_a_glance_becomes_depth_with_the_stamps_of_its_cameras(vehicle, node, depths):
    infos = vehicle.listen(CameraInfo, f"{ME}/CAM_BACK/depth/camera_info")
    time.sleep(0.5)
    answered = cameras_answered(vehicle, depths, None, CAMERA_NAMES)
    assert answered == set(CAMERA_NAMES)
    image = depths["CAM_BACK"][-1]
    assert (image.encoding, image.header.frame_id) == ("32FC1", "CAM_BACK")
    depth = np.frombuffer(image.data, "<f4").reshape(image.height, image.width)
    assert depth.shape == (16, 32)
    assert (depth[np.isfinite(depth)] > 0).all()
    wait_until(lambda: infos)
    info = infos[-1]
    assert info.header == image.header
    assert (info.height, info.width) == (16, 32)
    assert info.k[0] == pytest.approx(120.0 * 32 / 160, rel=1e-5)
    # cy = 45 is half a pixel below the middle of 90 rows, whose centres are 0 to 89: an eleventh
    # of a pixel of 16 rows, whose middle is 7.5.
    assert info.k[5] == pytest.approx(7.5 + 0.5 * 16 / 90, rel=1e-5)


def test_occupancy_as_cloud_and_latched_grid(vehicle, node):
    clouds = vehicle.listen(PointCloud2, f"{ME}/occupancy")
    vehicle.listen(OccupancyGrid, f"{ME}/occupancy_grid", LATCHED)
    time.sleep(0.5)
    shots = vehicle.send()
    wait_until(lambda: clouds)
    cloud = clouds[-1]
    assert cloud.header.frame_id == "base_link"
    assert stamp_ns(cloud.header) == max(stamp_ns(shot.image.header) for shot in shots)
    points = point_cloud2.read_points(cloud)
    assert points.dtype.names == ("x", "y", "z", "rgb", "probability", "label")
    assert len(points) > 0
    assert (points["probability"] >= 0.5).all()
    assert (points["label"] <= 16).all()
    late = vehicle.listen(OccupancyGrid, f"{ME}/occupancy_grid", LATCHED)
    wait_until(lambda: late)
    cells = np.array(late[0].data)
    assert set(np.unique(cells)) <= {-1, *range(101)}
    assert (cells == -1).any()
    assert (cells >= 0).any()


def test_pictures_are_published_on_demand(vehicle, node):
    topics = ("input", "rgb", "features", "query")
    pictures = {key: vehicle.listen(Image, f"{ME}/CAM_FRONT/{key}/image_rect") for key in topics}
    time.sleep(0.5)
    shots = vehicle.send()
    wait_until(lambda: all(pictures.values()))
    for images in pictures.values():
        assert images[-1].encoding == "rgb8"
        assert images[-1].header == shots[0].image.header


def test_a_text_query_finds_places_and_scores(vehicle, node):
    vehicle.send()
    time.sleep(0.5)
    request = QueryText.Request(prompts=["bus", "tree"], threshold=0.01)
    answer = vehicle.ask(QueryText, f"{ME}/query_text", request)
    assert answer.success, answer.message
    assert answer.header.frame_id == "base_link"
    assert len(answer.scores) == 2
    assert all(0.0 <= score <= 1.0 for score in answer.scores)
    points = point_cloud2.read_points(answer.points)
    assert len(points) > 0
    assert points["score"].max() == pytest.approx(max(answer.scores), abs=1e-6)
    assert {cluster.prompt for cluster in answer.clusters} <= {"bus", "tree"}
    assert sum(cluster.count for cluster in answer.clusters) >= len(points)


def test_an_absent_thing_is_a_success_without_points(vehicle, node):
    request = QueryText.Request(prompts=["bus"], threshold=1.0)
    answer = vehicle.ask(QueryText, f"{ME}/query_text", request)
    assert answer.success, answer.message
    assert answer.points.width == 0
    assert answer.scores[0] < 1.0


def test_an_image_query_finds_its_own_patch(vehicle, node):
    request = QueryImage.Request(camera="CAM_FRONT", u=60, v=70, width=40, height=15)
    answer = vehicle.ask(QueryImage, f"{ME}/query_image", request)
    assert answer.success, answer.message
    assert 0.5 < answer.score <= 1.0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (QueryImage.Request(camera="CAM_TYPO"), "'CAM_TYPO' is unknown; cameras are CAM_FRONT"),
        (QueryImage.Request(camera="CAM_BACK", u=150, width=20), "outside the 160x90 image"),
    ],
)
def test_a_wrong_image_query_is_refused(vehicle, node, request_, message):
    answer = vehicle.ask(QueryImage, f"{ME}/query_image", request_)
    assert not answer.success
    assert message in answer.message


def view(frame="base_link", width=48, height=32, focal=30.0):
    request = RenderView.Request()
    request.camera_pose.header = header_at(0, frame)
    request.camera_pose.pose.position.z = 1.5
    q = request.camera_pose.pose.orientation
    q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
    request.camera_info = CameraInfo(width=width, height=height)
    request.camera_info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    return request


def test_any_view_can_be_rendered(vehicle, node):
    answer = vehicle.ask(RenderView, f"{ME}/render_view", view())
    assert answer.success, answer.message
    for image, encoding in (
        (answer.rgb, "rgb8"),
        (answer.depth, "32FC1"),
        (answer.features, "rgb8"),
    ):
        assert (image.encoding, image.width, image.height) == (encoding, 48, 32)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (view(width=0), "expected both > 0"),
        (view(focal=0.0), "positive focal lengths"),
        (view(frame="nowhere"), "no transform from 'nowhere' to 'base_link'"),
    ],
)
def test_a_wrong_view_is_refused(vehicle, node, request_, message):
    answer = vehicle.ask(RenderView, f"{ME}/render_view", request_)
    assert not answer.success
    assert message in answer.message


def test_standing_queries_by_topic(vehicle, node):
    points = vehicle.listen(PointCloud2, f"{ME}/query/points")
    markers = vehicle.listen(MarkerArray, f"{ME}/query/markers")
    assert set_parameter(vehicle, "query_threshold", 1e-6).successful
    publisher = vehicle.node.create_publisher(String, f"{ME}/query/text", 10)
    wait_until(lambda: publisher.get_subscription_count())
    publisher.publish(String(data="delivery van, somebody walking"))
    expected = ["delivery van", "somebody walking"]
    wait_until(lambda: get_parameter(vehicle, "queries").string_array_value == expected)
    vehicle.send()
    wait_until(lambda: points and markers)
    texts = [marker.text for marker in markers[-1].markers if marker.text]
    assert texts
    assert all(text.startswith(tuple(expected)) for text in texts)
    publisher.publish(String(data=""))
    wait_until(lambda: get_parameter(vehicle, "queries").string_array_value == [""])
    vehicle.send()
    wait_until(lambda: points[-1].width == 0 and len(markers[-1].markers) == 1)


# Bad input: the camera is left out and counted, the other five are served ----------------------


def cut_jpeg(shots):
    shots[1].image.data = shots[1].image.data[:300]


def no_jpeg(shots):
    shots[1].image.data = b"not an image"


def other_shape(shots):
    shots[1].info.width, shots[1].info.height = 90, 160


def zero_k(shots):
    shots[1].info.k = np.zeros(9)


def nan_k(shots):
    shots[1].info.k = np.full(9, math.nan)


def unknown_frame(shots):
    shots[1].image.header.frame_id = "CAM_TYPO"


def no_stamp(shots):
    shots[1].image.header = header_at(0, "CAM_FRONT_RIGHT")


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (cut_jpeg, "image", "CAM_FRONT_RIGHT is a truncated JPEG"),
        (no_jpeg, "image", "CAM_FRONT_RIGHT: 12 bytes of format 'jpeg' cannot be decoded"),
        (other_shape, "image", "the image is 160x90, its camera_info says 90x160"),
        (zero_k, "calibration", "finite with positive focal lengths"),
        (nan_k, "calibration", "camera_info has k = [nan"),
        (unknown_frame, "tf", "no transform from 'CAM_TYPO' to 'base_link' through 'map'"),
        (no_stamp, "zero_stamp", "images have no stamp in their header"),
    ],
)
def test_a_damaged_camera_is_left_out_and_said_so(
    vehicle, node, depths, diagnostics, damage, kind, message
):
    others = set(CAMERA_NAMES) - {"CAM_FRONT_RIGHT"}
    assert cameras_answered(vehicle, depths, damage, others) == others

    def problem():
        _, values = status(diagnostics, "camera CAM_FRONT_RIGHT")
        return f"problems_{kind}" in values and message in values.get("last_problem", "")

    wait_until(lambda: diagnostics and problem())
    assert cameras_answered(vehicle, depths, None, CAMERA_NAMES) == set(CAMERA_NAMES)


def test_a_missing_camera_is_a_hole(vehicle, node, depths):
    others = set(CAMERA_NAMES) - {"CAM_BACK"}
    assert cameras_answered(vehicle, depths, lambda shots: shots.pop(3), others) == others
    answer = vehicle.ask(
        QueryImage, f"{ME}/query_image", QueryImage.Request(camera="CAM_BACK", u=1, v=1)
    )
    assert "CAM_BACK is missing in the newest glance" in answer.message


def test_diagnostics_tell_rates_counts_and_stages(vehicle, node, depths, diagnostics):
    cameras_answered(vehicle, depths, None, CAMERA_NAMES)
    before = len(diagnostics)
    wait_until(lambda: len(diagnostics) > before + 1)
    _, camera = status(diagnostics, "camera CAM_FRONT")
    assert int(camera["used"]) > 5
    assert float(camera["rate_hz"]) > 0
    _, glances = status(diagnostics, "glances")
    assert float(glances["sync_spread_s"]) == pytest.approx(0.04)
    assert int(glances["glances_with_missing_cameras"]) >= 1
    _, model = status(diagnostics, "model")
    stages = {"transforms_ms", "decode_ms", "encode_ms", "depth_ms", "occupancy_ms", "publish_ms"}
    assert stages <= set(model)


def test_parameters_are_checked_when_changed(vehicle, node):
    refused = set_parameter(vehicle, "weights", "other")
    assert not refused.successful
    assert "read when the node is configured" in refused.reason
    assert not set_parameter(vehicle, "grid_z_min_m", 500.0).successful
    crossed = set_parameter(vehicle, "grid_z_min_m", 3.0)
    assert "not below" in crossed.reason
    assert set_parameter(vehicle, "grid_z_min_m", 0.1).successful


def test_services_stay_quick_while_frames_stream(vehicle, node):
    slowest_s = 0.0
    for _ in range(10):
        vehicle.send()
        start_s = time.monotonic()
        get_parameter(vehicle, "queries")
        slowest_s = max(slowest_s, time.monotonic() - start_s)
    assert slowest_s < 2.0


def test_silent_cameras_are_warned_of_with_the_cause(vehicle, node, diagnostics):
    assert set_parameter(vehicle, "no_image_warn_s", 1.0).successful
    expected = "s on /CAM_FRONT/image_rect_compressed"
    wait_until(lambda: status(diagnostics, "camera CAM_FRONT")[0].level == DiagnosticStatus.WARN)
    entry, _ = status(diagnostics, "camera CAM_FRONT")
    assert expected in entry.message
    assert "its publisher is there but silent" in entry.message
    wait_until(lambda: expected in node.output())
    assert set_parameter(vehicle, "no_image_warn_s", 60.0).successful


def test_time_that_jumps_back_starts_over(vehicle, node, depths):
    vehicle.stamp_ns -= 100 * 10**9
    vehicle.send()
    wait_until(lambda: "stamps jumped back" in node.output())
    time.sleep(0.5)
    assert cameras_answered(vehicle, depths, None, CAMERA_NAMES) == set(CAMERA_NAMES)
