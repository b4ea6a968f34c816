"""Lidar points as sparse depth images."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.cameras.transforms import transform_points

# Box around the nuScenes vehicle (Renault Zoe) in base_link, metres. Measured on a real sweep: all
# returns of the body lie in x -0.1..3.2, |y| < 0.65 m, z 0.85..1.9; the body is 4.08 x 1.73 m.
_VEHICLE_MIN_M = (-0.8, -1.0, 0.3)
_VEHICLE_MAX_M = (3.5, 1.0, 2.2)


def off_vehicle(points_ego: Float[Tensor, "P 3"]) -> Bool[Tensor, " P"]:
    """Points that are no return from the vehicle that carries the lidar."""
    low = (points_ego >= points_ego.new_tensor(_VEHICLE_MIN_M)).all(dim=1)
    high = (points_ego <= points_ego.new_tensor(_VEHICLE_MAX_M)).all(dim=1)
    return ~(low & high)


def project(
    points_ego: Float[Tensor, "P 3"], rig: CameraRig, camera: int
) -> tuple[Float[Tensor, "P 2"], Float[Tensor, " P"]]:
    """Pixel (u, v) and depth in metres along the optical axis of each point in one camera.

    Pixels are only meaningful where the depth is positive.
    """
    camera_from_ego = torch.linalg.inv(rig.ego_from_camera[camera].double())
    optical = transform_points(camera_from_ego, points_ego.double())
    depth = optical[:, 2]
    pixels = optical @ rig.intrinsics[camera].double().T
    uv = pixels[:, :2] / depth[:, None].where(depth[:, None].abs() > 1e-9, torch.nan)
    return uv.to(points_ego), depth.to(points_ego)


def lidar_depth(
    points_ego: Float[Tensor, "P 3"],
    rig: CameraRig,
    grid_size: tuple[int, int] | None = None,
    min_depth_m: float = 0.5,
) -> Float[Tensor, "N h w"]:
    """Sparse depth image of each camera: the nearest point in each cell of a grid.

    Args:
        points_ego: lidar points in the rig's ego frame.
        rig: the cameras.
        grid_size: rows and columns of the depth image; None = one cell per pixel.
        min_depth_m: nearer points are dropped.

    Returns:
        (N, h, w) metres along the optical axis, NaN where no point fell or the camera is missing.
    """
    rows, cols = grid_size or rig.image_size
    height, width = rig.image_size
    nearest = points_ego.new_full((len(rig.names), rows * cols), torch.inf)
    for camera in rig.valid.nonzero()[:, 0].tolist():
        uv, depth = project(points_ego, rig, camera)
        u, v = uv.unbind(dim=1)
        inside = (depth >= min_depth_m) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        col = (u[inside] * (cols / width)).long().clamp(max=cols - 1)
        row = (v[inside] * (rows / height)).long().clamp(max=rows - 1)
        nearest[camera].scatter_reduce_(0, row * cols + col, depth[inside], "amin")
    nearest[nearest.isinf()] = torch.nan
    return nearest.reshape(-1, rows, cols)
