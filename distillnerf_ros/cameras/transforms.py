"""Rigid transforms as 4x4 matrices, named ``a_from_b``: they map b coordinates to a."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.errors import CalibrationError


def matrix_from_quaternion(
    quaternion_wxyz: np.ndarray | Sequence[float | int],
    translation_m: np.ndarray | Sequence[float | int],
) -> np.ndarray:
    """Build a 4x4 float64 transform from a quaternion (w, x, y, z) and a translation in metres.

    Raises:
        CalibrationError: the quaternion has no direction (zero length, NaN or infinite).
    """
    w, x, y, z = (float(value) for value in quaternion_wxyz)
    norm = np.sqrt(w * w + x * x + y * y + z * z)
    if not np.isfinite(norm) or norm < 1e-6:
        raise CalibrationError(
            f"quaternion (w, x, y, z) = {(w, x, y, z)} has no direction; expected unit length"
        )
    w, x, y, z = w / norm, x / norm, y / norm, z / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation_m
    return matrix


def invert_rigid(a_from_b: np.ndarray) -> np.ndarray:
    """Invert a rigid 4x4 transform by transposing its rotation."""
    b_from_a = np.eye(4, dtype=a_from_b.dtype)
    b_from_a[:3, :3] = a_from_b[:3, :3].T
    b_from_a[:3, 3] = -a_from_b[:3, :3].T @ a_from_b[:3, 3]
    return b_from_a


def transform_points(
    a_from_b: Float[Tensor, "*batch 4 4"], points_b: Float[Tensor, "*batch P 3"]
) -> Float[Tensor, "*batch P 3"]:
    """Map points from frame b to frame a."""
    rotation, translation = a_from_b[..., :3, :3], a_from_b[..., :3, 3]
    return points_b @ rotation.transpose(-1, -2) + translation[..., None, :]


def check_rigid(a_from_b: Float[Tensor, "*batch 4 4"], name: str) -> None:
    """Refuse matrices that are not finite rigid transforms.

    Raises:
        CalibrationError: names the transform and what is wrong with it.
    """
    if not a_from_b.numel():
        return
    if not torch.isfinite(a_from_b).all():
        raise CalibrationError(f"{name} has NaN or infinite entries; check the transform source")
    if (a_from_b[..., 3, :] != a_from_b.new_tensor([0.0, 0.0, 0.0, 1.0])).any():
        raise CalibrationError(
            f"{name} has a last row other than (0, 0, 0, 1); expected a 4x4 matrix that maps "
            "columns (x, y, z, 1): is it transposed?"
        )
    rotation = a_from_b[..., :3, :3].double()
    error = (rotation @ rotation.transpose(-1, -2) - torch.eye(3).to(rotation)).abs().max()
    if error > 1e-3 or (torch.linalg.det(rotation) < 0).any():
        raise CalibrationError(
            f"{name} is not rigid: R R^T differs from identity by {float(error):.2g} "
            "(expected < 1e-3 and determinant +1); check the transform source"
        )
