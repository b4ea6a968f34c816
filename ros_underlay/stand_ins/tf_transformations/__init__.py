"""Stand-in for ``tf_transformations``: rotations and poses, quaternions (x, y, z, w).

The arithmetic is transforms3d's; this adds the ROS order of quaternions and the 4x4 form.
"""

from collections.abc import Sequence

import numpy as np
import transforms3d

_Vector = Sequence[float] | np.ndarray

__all__ = [
    "concatenate_matrices",
    "euler_from_matrix",
    "euler_from_quaternion",
    "euler_matrix",
    "identity_matrix",
    "inverse_matrix",
    "is_same_transform",
    "quaternion_about_axis",
    "quaternion_conjugate",
    "quaternion_from_euler",
    "quaternion_from_matrix",
    "quaternion_inverse",
    "quaternion_matrix",
    "quaternion_multiply",
    "quaternion_slerp",
    "rotation_from_matrix",
    "rotation_matrix",
    "translation_from_matrix",
    "translation_matrix",
    "unit_vector",
    "vector_norm",
]


def _wxyz(quaternion: _Vector) -> np.ndarray:
    x, y, z, w = quaternion
    return np.array([w, x, y, z], dtype=np.float64)


def _xyzw(quaternion: _Vector) -> np.ndarray:
    w, x, y, z = quaternion
    return np.array([x, y, z, w], dtype=np.float64)


def _homogeneous(rotation: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    return matrix


def identity_matrix() -> np.ndarray:
    """Identity (4, 4)."""
    return np.eye(4)


def translation_matrix(direction: _Vector) -> np.ndarray:
    """Matrix (4, 4) that moves by `direction` (3,)."""
    matrix = np.eye(4)
    matrix[:3, 3] = np.asarray(direction)[:3]
    return matrix


def translation_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Translation (3,) of a matrix (4, 4)."""
    return np.array(matrix, dtype=np.float64)[:3, 3].copy()


def rotation_matrix(angle: float, direction: _Vector, point: _Vector | None = None) -> np.ndarray:
    """Matrix (4, 4) that turns by `angle` [rad] about `direction` through `point`."""
    return transforms3d.axangles.axangle2aff(direction, angle, point=point)


def rotation_from_matrix(matrix: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Angle [rad], unit axis (3,) and a point (3,) on the axis of a turn (4, 4)."""
    axis, angle, point = transforms3d.axangles.aff2axangle(np.asarray(matrix))
    return angle, axis, point


def euler_matrix(ai: float, aj: float, ak: float, axes: str = "sxyz") -> np.ndarray:
    """Matrix (4, 4) of three turns [rad] about `axes`."""
    return _homogeneous(transforms3d.euler.euler2mat(ai, aj, ak, axes=axes))


def euler_from_matrix(matrix: np.ndarray, axes: str = "sxyz") -> tuple[float, float, float]:
    """Three turns [rad] about `axes` of a matrix (3, 3) or (4, 4)."""
    return transforms3d.euler.mat2euler(np.asarray(matrix), axes=axes)


def euler_from_quaternion(quaternion: _Vector, axes: str = "sxyz") -> tuple[float, float, float]:
    """Three turns [rad] about `axes` of a quaternion (x, y, z, w)."""
    return transforms3d.euler.quat2euler(_wxyz(quaternion), axes=axes)


def quaternion_from_euler(ai: float, aj: float, ak: float, axes: str = "sxyz") -> np.ndarray:
    """Quaternion (x, y, z, w) of three turns [rad] about `axes`."""
    return _xyzw(transforms3d.euler.euler2quat(ai, aj, ak, axes=axes))


def quaternion_about_axis(angle: float, axis: _Vector) -> np.ndarray:
    """Quaternion (x, y, z, w) of a turn by `angle` [rad] about `axis` (3,)."""
    return _xyzw(transforms3d.quaternions.axangle2quat(axis, angle))


def quaternion_matrix(quaternion: _Vector) -> np.ndarray:
    """Matrix (4, 4) of a quaternion (x, y, z, w)."""
    return _homogeneous(transforms3d.quaternions.quat2mat(_wxyz(quaternion)))


def quaternion_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Quaternion (x, y, z, w) of the rotation of a matrix (4, 4)."""
    return _xyzw(transforms3d.quaternions.mat2quat(np.asarray(matrix)[:3, :3]))


def quaternion_multiply(quaternion1: _Vector, quaternion0: _Vector) -> np.ndarray:
    """The turn `quaternion0` followed by `quaternion1`, both (x, y, z, w)."""
    return _xyzw(transforms3d.quaternions.qmult(_wxyz(quaternion1), _wxyz(quaternion0)))


def quaternion_conjugate(quaternion: _Vector) -> np.ndarray:
    """Conjugate of a quaternion (x, y, z, w)."""
    return _xyzw(transforms3d.quaternions.qconjugate(_wxyz(quaternion)))


def quaternion_inverse(quaternion: _Vector) -> np.ndarray:
    """Inverse of a quaternion (x, y, z, w) of any length but zero."""
    return _xyzw(transforms3d.quaternions.qinverse(_wxyz(quaternion)))


def quaternion_slerp(quat0: _Vector, quat1: _Vector, fraction: float) -> np.ndarray:
    """Turn between two quaternions (x, y, z, w) at `fraction` 0..1 of the shorter way."""
    q0, q1 = unit_vector(quat0), unit_vector(quat1)
    cosine = float(q0 @ q1)
    if cosine < 0.0:
        q1, cosine = -q1, -cosine
    angle = float(np.arccos(min(cosine, 1.0)))
    # Under 1e-6 rad sin(angle) loses its digits, and the chord is the arc.
    if angle < 1e-6:
        return unit_vector((1.0 - fraction) * q0 + fraction * q1)
    weights = np.sin([(1.0 - fraction) * angle, fraction * angle]) / np.sin(angle)
    return weights[0] * q0 + weights[1] * q1


def inverse_matrix(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a square matrix."""
    return np.linalg.inv(matrix)


def concatenate_matrices(*matrices: np.ndarray) -> np.ndarray:
    """Product of matrices (4, 4), from left to right."""
    product = np.eye(4)
    for matrix in matrices:
        product = product @ np.asarray(matrix)
    return product


def is_same_transform(matrix0: np.ndarray, matrix1: np.ndarray) -> bool:
    """Whether two matrices (4, 4), scaled to have 1 in the corner, agree to 1e-8."""
    first, second = np.asarray(matrix0, np.float64), np.asarray(matrix1, np.float64)
    return bool(np.allclose(first / first[3, 3], second / second[3, 3]))


def vector_norm(data: _Vector, axis: int | None = None) -> float | np.ndarray:
    """Euclidean length, along `axis` or of all."""
    return np.linalg.norm(np.asarray(data, np.float64), axis=axis)


def unit_vector(data: _Vector) -> np.ndarray:
    """The vector scaled to length 1."""
    vector = np.asarray(data, np.float64)
    return vector / np.linalg.norm(vector)
