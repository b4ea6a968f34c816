"""PointCloud2 there and back; holds for the stand-in and for the real package."""

import struct

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from sensor_msgs_py import point_cloud2
from std_msgs.msg import Header

POINTS = np.array([[1.0, 2.0, 3.0], [4.0, np.nan, 6.0], [7.0, 8.0, 9.0]], np.float32)


def field(name: str, offset: int, datatype: int) -> PointField:
    return PointField(name=name, offset=offset, datatype=datatype, count=1)


MIXED = [
    field("x", 0, PointField.FLOAT32),
    field("label", 4, PointField.UINT8),
    field("time", 8, PointField.FLOAT64),
]


def test_xyz32_is_three_floats_in_a_row():
    cloud = point_cloud2.create_cloud_xyz32(Header(frame_id="base_link"), POINTS)
    assert cloud.header.frame_id == "base_link"
    assert [f.name for f in cloud.fields] == ["x", "y", "z"]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 3, 12, 36)
    assert struct.unpack("<3f", bytes(cloud.data[:12])) == (1.0, 2.0, 3.0)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), POINTS)


def test_points_with_nan_are_left_out_when_asked():
    cloud = point_cloud2.create_cloud_xyz32(Header(), POINTS)
    kept = point_cloud2.read_points_numpy(cloud, ["x", "z"], skip_nans=True)
    np.testing.assert_array_equal(kept, [[1, 3], [4, 6], [7, 9]])
    kept = point_cloud2.read_points_numpy(cloud, ["y", "z"], skip_nans=True)
    np.testing.assert_array_equal(kept, [[2, 3], [8, 9]])


def test_mixed_fields_keep_their_types_and_padding():
    cloud = point_cloud2.create_cloud(Header(), MIXED, [(1.5, 7, 0.25), (2.5, 8, 0.5)])
    assert cloud.point_step == 16
    assert struct.unpack("<fB3xd", bytes(cloud.data[16:])) == (2.5, 8, 0.5)
    points = point_cloud2.read_points(cloud)
    assert points["label"].tolist() == [7, 8]
    assert points["time"].dtype == np.float64


def test_a_structured_array_is_taken_as_it_is():
    points = np.zeros(2, point_cloud2.dtype_from_fields(MIXED))
    points["label"] = [3, 4]
    cloud = point_cloud2.create_cloud(Header(), MIXED, points)
    assert bytes(cloud.data) == points.tobytes()


def test_empty_cloud():
    cloud = point_cloud2.create_cloud_xyz32(Header(), np.zeros((0, 3), np.float32))
    assert (cloud.width, len(cloud.data)) == (0, 0)
    assert point_cloud2.read_points_numpy(cloud, ["x", "y", "z"]).shape == (0, 3)


def organised() -> PointCloud2:
    """2 rows of 3 points, one uint16 each, each row padded by two bytes, big-endian."""
    return PointCloud2(
        height=2,
        width=3,
        fields=[field("i", 0, PointField.UINT16)],
        is_bigendian=True,
        point_step=2,
        row_step=8,
        data=struct.pack(">3Hxx3Hxx", 1, 2, 3, 4, 5, 600),
    )


def test_padded_rows_and_big_endian():
    points = point_cloud2.read_points(organised(), reshape_organized_cloud=True)
    assert points["i"].tolist() == [[1, 2, 3], [4, 5, 600]]


def test_uvs_choose_column_and_row():
    points = point_cloud2.read_points(organised(), uvs=[(2, 1), (0, 0)])
    assert points["i"].tolist() == [600, 1]


def test_a_field_that_is_not_there_is_refused():
    cloud = point_cloud2.create_cloud_xyz32(Header(), POINTS)
    with pytest.raises((AssertionError, ValueError)):
        point_cloud2.read_points(cloud, ["intensity"])


def test_mixed_types_do_not_fit_a_plain_array():
    cloud = point_cloud2.create_cloud(Header(), MIXED, [(1.5, 7, 0.25)])
    with pytest.raises((AssertionError, ValueError)):
        point_cloud2.read_points_numpy(cloud)
