"""Results become messages that other people's tools read: REP-118, PointCloud2, OccupancyGrid."""

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from sensor_msgs_py import point_cloud2
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from distillnerf_ros.cameras.pixels import k_to_opencv
from distillnerf_ros.query.hits import Cluster, Hits
from distillnerf_ros.query.occupancy import GRID_SHAPE, Occupancy
from distillnerf_ros.ros import messages
from distillnerf_ros.taxonomy import FREE_LABEL, OCC3D_CLASSES, OCC3D_COLORS

HEADER = messages.header_at(1_600_000_000_123_456_789, "CAM_FRONT")
CAR, ROAD = OCC3D_CLASSES.index("car"), OCC3D_CLASSES.index("driveable surface")


@pytest.fixture
def occupancy():
    """A car voxel at x 10.2, y -5.4, z 0.6 and road below it; everything ahead was seen."""
    probability = torch.zeros(GRID_SHAPE)
    labels = torch.full(GRID_SHAPE, FREE_LABEL, dtype=torch.uint8)
    observed = torch.zeros(GRID_SHAPE, dtype=torch.bool)
    observed[100:] = True
    for index, label, value in (((125, 86, 4), CAR, 0.8), ((125, 86, 3), ROAD, 0.9)):
        probability[index], labels[index] = value, label
    probability[130, 90, 4] = 0.3
    return Occupancy(probability, labels, observed)


@pytest.fixture
def hits():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.7]])
    points = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    clusters = (
        Cluster(0, (1.0, 2.0, 3.0), (4.0, 2.0, 1.5), 0.9, 30),
        Cluster(1, (4.0, 5.0, 6.0), (1.0, 1.0, 2.0), 0.7, 5),
    )
    best = torch.tensor([0.9, 0.7])
    return Hits(("bus", "person"), points, scores, torch.tensor([0.8, 0.9]), clusters, best)


def test_header_holds_the_stamp_to_the_nanosecond():
    assert (HEADER.stamp.sec, HEADER.stamp.nanosec) == (1_600_000_000, 123_456_789)
    assert messages.stamp_ns(HEADER) == 1_600_000_000_123_456_789


def test_depth_is_32fc1_with_nan():
    depth = np.array([[1.5, np.nan, 3.0], [4.0, 5.0, 6.0]], np.float32)
    message = messages.depth_image(depth, HEADER)
    assert (message.encoding, message.height, message.width) == ("32FC1", 2, 3)
    assert (message.step, message.is_bigendian) == (12, 0)
    read = np.frombuffer(message.data, "<f4").reshape(2, 3)
    np.testing.assert_array_equal(read, depth)
    assert message.header == HEADER


def test_camera_info_is_that_of_a_rectified_image():
    k = np.array([[80.0, 0, 56], [0, 81.0, 32], [0, 0, 1]])
    message = messages.camera_info(k, (64, 112), HEADER)
    assert (message.height, message.width) == (64, 112)
    np.testing.assert_array_equal(message.k.reshape(3, 3), k_to_opencv(k))
    np.testing.assert_array_equal(message.p.reshape(3, 4)[:, :3], k_to_opencv(k))
    np.testing.assert_array_equal(message.r.reshape(3, 3), np.eye(3))
    assert not any(message.d)


def test_pictures_have_fixed_scales():
    rgb = np.zeros((3, 1, 2), np.float32)
    rgb[0, 0] = [1.0, 2.0]
    np.testing.assert_array_equal(messages.colour_picture(rgb)[0, :, 0], [255, 255])
    features = np.zeros((5, 1, 2), np.float32)
    features[0, 0] = [-0.5, 0.25]
    span = np.full(3, 0.5, np.float32)
    np.testing.assert_array_equal(messages.feature_picture(features, span)[0, :, 0], [0, 191])
    heat = messages.heat_picture(np.array([[np.nan, 0.0, 1.0]], np.float32))
    assert heat[0, 0].tolist() == [0, 0, 0]
    assert heat[0, 1, 2] > heat[0, 1, 0]
    assert heat[0, 2, 0] > heat[0, 2, 2]


def test_occupied_voxels_as_a_cloud(occupancy):
    cloud = messages.occupancy_cloud(occupancy, HEADER)
    assert [f.name for f in cloud.fields] == ["x", "y", "z", "rgb", "probability", "label"]
    assert (cloud.height, cloud.width, cloud.point_step) == (1, 2, 24)
    assert cloud.is_dense
    points = point_cloud2.read_points(cloud)
    np.testing.assert_allclose(points["x"], [10.2, 10.2], atol=1e-5)
    np.testing.assert_allclose(points["y"], [-5.4, -5.4], atol=1e-5)
    np.testing.assert_allclose(sorted(points["z"]), [0.4, 0.8], atol=1e-5)
    np.testing.assert_allclose(points["probability"], [0.9, 0.8])
    assert points["label"].tolist() == [ROAD, CAR]
    red, green, blue = OCC3D_COLORS[CAR]
    assert points["rgb"].copy().view(np.uint32)[1] == (red << 16) + (green << 8) + blue


def test_without_semantics_no_label_is_invented(occupancy):
    cloud = messages.occupancy_cloud(
        Occupancy(occupancy.probability, None, occupancy.observed), HEADER
    )
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "probability"]


def test_grid_is_row_major_with_x_fastest(occupancy):
    grid = messages.occupancy_grid(occupancy, 0.2, 2.2, HEADER)
    info = grid.info
    assert (info.width, info.height) == (200, 200)
    assert info.resolution == pytest.approx(0.4)
    assert (info.origin.position.x, info.origin.position.y) == (-40.0, -40.0)
    cells = np.array(grid.data).reshape(200, 200)
    assert cells[86, 125] == 80
    assert cells[90, 130] == 30
    assert cells[86, 126] == 0
    assert (cells[:, :100] == -1).all()
    assert (cells[:, 100:] >= 0).all()


def test_road_alone_is_no_obstacle(occupancy):
    grid = messages.occupancy_grid(occupancy, 0.2, 0.6, HEADER)
    assert np.array(grid.data).reshape(200, 200)[86, 125] == 0


def test_hits_name_the_prompt_that_scores_best(hits):
    points = point_cloud2.read_points(messages.hits_cloud(hits, HEADER))
    assert points.dtype.names == ("x", "y", "z", "score", "prompt")
    assert points["prompt"].tolist() == [0, 1]
    np.testing.assert_allclose(points["score"], [0.9, 0.7])
    np.testing.assert_allclose(points["z"], [3, 6])


def test_no_hits_are_an_empty_cloud():
    empty = torch.zeros(0, 3)
    none = Hits(("bus",), empty, torch.zeros(0, 1), torch.zeros(0), (), torch.tensor([0.4]))
    cloud = messages.hits_cloud(none, HEADER)
    assert (cloud.width, len(cloud.data)) == (0, 0)
    assert len(messages.hit_markers(none, HEADER).markers) == 1


def test_markers_replace_the_old_ones_by_boxes_with_captions(hits):
    markers = messages.hit_markers(hits, HEADER).markers
    assert markers[0].action == Marker.DELETEALL
    assert [marker.type for marker in markers[1:]] == [Marker.CUBE, Marker.TEXT_VIEW_FACING] * 2
    box, text = markers[1:3]
    assert (box.pose.position.x, box.scale.x, box.scale.z) == (1.0, 4.0, 1.5)
    assert text.text == "bus 0.90"
    assert len({(marker.ns, marker.id) for marker in markers[1:]}) == 4
    assert markers[1].color != markers[3].color


def test_clusters_carry_their_prompt(hits):
    first, second = messages.cluster_messages(hits)
    assert (first.prompt, first.count, first.size.x) == ("bus", 30, 4.0)
    assert second.prompt == "person"
    assert second.score == pytest.approx(0.7)


def test_sizes_asked_for_are_met_without_mixing_depths():
    depth = np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)
    large = messages.repeated(depth, (6, 4))
    assert large.shape == (4, 6)
    assert set(large[np.isfinite(large)]) == {1.0, 3.0, 4.0}
    assert messages.enlarged(np.zeros((2, 2, 3), np.uint8), (6, 4)).shape == (4, 6, 3)
    assert isinstance(HEADER, Header)
