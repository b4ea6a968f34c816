"""Rigid transforms: closed forms, inverses and refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distillnerf_ros.cameras.transforms import (
    check_rigid,
    invert_rigid,
    matrix_from_quaternion,
    transform_points,
)
from distillnerf_ros.errors import CalibrationError

QUATERNIONS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 0.01)


def test_quarter_turn_about_z_takes_x_to_y():
    half = np.sqrt(0.5)
    a_from_b = matrix_from_quaternion((half, 0, 0, half), (10, 20, 30))
    np.testing.assert_allclose(a_from_b @ [1, 0, 0, 1], [10, 21, 30, 1], atol=1e-12)


@given(QUATERNIONS)
def test_any_quaternion_makes_a_rotation(quaternion):
    rotation = matrix_from_quaternion(quaternion, (0, 0, 0))[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@given(QUATERNIONS)
def test_opposite_quaternions_turn_alike(quaternion):
    opposite = tuple(-v for v in quaternion)
    np.testing.assert_allclose(
        matrix_from_quaternion(quaternion, (1, 2, 3)), matrix_from_quaternion(opposite, (1, 2, 3))
    )


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (np.nan, 0, 0, 1), (np.inf, 0, 0, 0)])
def test_quaternion_without_direction_is_refused(quaternion):
    with pytest.raises(CalibrationError, match="no direction"):
        matrix_from_quaternion(quaternion, (0, 0, 0))


@given(QUATERNIONS)
def test_inverse_undoes(quaternion):
    a_from_b = matrix_from_quaternion(quaternion, (3, -4, 5))
    np.testing.assert_allclose(invert_rigid(a_from_b) @ a_from_b, np.eye(4), atol=1e-12)


def test_transform_points_is_the_homogeneous_product():
    a_from_b = torch.from_numpy(matrix_from_quaternion((1, 2, 3, 4), (5, 6, 7)))
    points = torch.randn(9, 3, dtype=torch.float64)
    homogeneous = torch.cat([points, torch.ones(9, 1)], dim=1)
    expected = torch.stack([(a_from_b @ p)[:3] for p in homogeneous])
    torch.testing.assert_close(transform_points(a_from_b, points), expected)


def test_rigid_transforms_pass():
    pose = torch.from_numpy(matrix_from_quaternion((1, 2, 3, 4), (5, 6, 7))).float()
    check_rigid(pose.repeat(3, 1, 1), "pose")
    check_rigid(pose[None][:0], "no pose at all")


def broken(row: int, col: int, value: float) -> torch.Tensor:
    pose = torch.eye(4)
    pose[row, col] = value
    return pose


@pytest.mark.parametrize(
    ("pose", "reason"),
    [
        (broken(0, 3, float("nan")), "NaN"),
        (broken(0, 0, 2.0), "not rigid"),
        (broken(2, 2, -1.0), "not rigid"),  # a mirror
        (broken(3, 0, 5.0), "transposed"),
        (torch.zeros(4, 4), "last row"),
    ],
)
def test_other_matrices_are_refused_by_name(pose, reason):
    with pytest.raises(CalibrationError, match=f"my pose .*{reason}"):
        check_rigid(pose, "my pose")
