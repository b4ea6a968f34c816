"""Keyframes as they are judged: what the model is given, and what it should have said."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.cameras.transforms import invert_rigid
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import lidar_depth, project
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.data.occ3d import OccupancyTruth, read_labels
from distillnerf_ros.training.dense_depth import DenseTeacher
from distillnerf_ros.training.samples import pool_depth

NEAREST_M = 1.0
"""Nearer lidar points are no truth (DistillNeRF's range is 1 to 80 m)."""


@dataclasses.dataclass(frozen=True)
class LidarTruth:
    """Lidar points of one sweep as they fall into the cells of rendered depth images.

    Attributes:
        cells: (P,) flat index into images of shape (N, h, w).
        depth_m: (P,) along the optical axis.
    """

    cells: Int[np.ndarray, " P"]
    depth_m: Float[np.ndarray, " P"]

    @classmethod
    def nearest(
        cls, points_m: Float[Tensor, "P 3"], rig: CameraRig, grid_size: tuple[int, int]
    ) -> "LidarTruth":
        """The nearest point of each cell of each camera that is there.

        The lidar stands above the cameras and looks over things that hide what is behind them
        from the cameras: where points of both fall into one cell, the far one is no truth.

        Args:
            points_m: ego metres, without returns from the vehicle.
            rig: the cameras.
            grid_size: rows and columns of the depth images.
        """
        depth = lidar_depth(points_m, rig, grid_size, NEAREST_M).numpy().reshape(-1)
        cells = np.flatnonzero(np.isfinite(depth))
        return cls(cells, depth[cells])

    @classmethod
    def every(
        cls, points_m: Float[Tensor, "P 3"], rig: CameraRig, grid_size: tuple[int, int]
    ) -> "LidarTruth":
        """Every point on its own, also where several fall into one cell; see ``nearest``."""
        (rows, cols), (height, width) = grid_size, rig.image_size
        cells, depths = [], []
        for camera in rig.valid.nonzero()[:, 0].tolist():
            uv, depth = project(points_m, rig, camera)
            col, row = (uv[:, 0] * (cols / width)).floor(), (uv[:, 1] * (rows / height)).floor()
            inside = (depth >= NEAREST_M) & (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
            cells.append(((camera * rows + row) * cols + col)[inside].long().numpy())
            depths.append(depth[inside].numpy())
        return cls(np.concatenate(cells), np.concatenate(depths))


@dataclasses.dataclass(frozen=True)
class Frame:
    """One keyframe and its truths.

    Attributes:
        token: sample token.
        rig: images at the model's size.
        lidar: depth truth: the nearest lidar point of each cell; none in a log without lidar.
        every_lidar: all of them.
        next_rig: the next keyframe's images, posed in this keyframe's ego frame; None for the
            last of a scene.
        occupancy: Occ3D truth; None where the data set has none.
        lidar_origins_m: (K, 3) the lidar at all keyframes of the scene, in this one's ego frame.
        dense_m: (N, h, w) depth of every pixel, infinite for sky, NaN where unsure; None where
            nobody says.
    """

    token: str
    rig: CameraRig
    lidar: LidarTruth
    every_lidar: LidarTruth
    next_rig: CameraRig | None
    occupancy: OccupancyTruth | None
    lidar_origins_m: Float[np.ndarray, "K 3"]
    dense_m: Float[np.ndarray, "N h w"] | None = None


def load_frame(
    nusc: NuScenes,
    token: str,
    image_size: tuple[int, int],
    depth_size: tuple[int, int],
    dense: DenseTeacher | None = None,
) -> Frame:
    """Read one keyframe.

    Args:
        nusc: the data set.
        token: sample token.
        image_size: height and width in pixels of the images.
        depth_size: rows and columns of the depth images.
        dense: says the depth of every pixel.

    Raises:
        DatasetError: a file is missing or damaged.
        ImageError: an image is.
    """
    rig = nuscenes.load_glance(nusc, token, image_size)
    points = torch.zeros(0, 3)
    if nuscenes.has_lidar(nusc, token):
        points = nuscenes.lidar_points(nusc, token)
    path = nuscenes.occ3d_path(nusc, token)
    return Frame(
        token,
        rig,
        LidarTruth.nearest(points, rig, depth_size),
        LidarTruth.every(points, rig, depth_size),
        next_rig(nusc, token, image_size),
        read_labels(path) if path.is_file() else None,
        lidar_origins_m(nusc, token),
        None if dense is None else _pooled(dense(nusc, token, rig).depth_m, depth_size),
    )


def _pooled(
    depth_m: Float[Tensor, "N H W"], depth_size: tuple[int, int]
) -> Float[np.ndarray, "N h w"]:
    return pool_depth(depth_m, depth_size).numpy()


def next_rig(nusc: NuScenes, token: str, image_size: tuple[int, int]) -> CameraRig | None:
    """The next keyframe's cameras, in the ego frame of this one; None for the last of a scene.

    Raises:
        DatasetError: a file is missing or damaged.
        ImageError: an image is.
    """
    following = nusc.get("sample", token)["next"]
    if not following:
        return None
    rig = nuscenes.load_glance(nusc, following, image_size)
    ego_from_next = _ego_from_map(nusc, token) @ _map_from_ego(nusc, following)
    moved = torch.from_numpy(ego_from_next) @ rig.ego_from_camera.double()
    return dataclasses.replace(rig, ego_from_camera=moved.float())


def lidar_origins_m(nusc: NuScenes, token: str) -> Float[np.ndarray, "K 3"]:
    """Where the lidar is at each keyframe of the scene, in time order, in this one's ego frame.

    K = 0 in a log without lidar.
    """
    scene = nusc.get("scene", nusc.get("sample", token)["scene_token"])
    ego_from_map = _ego_from_map(nusc, token)
    origins = []
    for other in nuscenes.keyframes(nusc, scene):
        if not nuscenes.has_lidar(nusc, other):
            continue
        record = nuscenes.lidar_record(nusc, other)
        mount = nuscenes.ego_from_sensor(nusc, record)
        origins.append((ego_from_map @ nuscenes.map_from_ego(nusc, record) @ mount)[:3, 3])
    return np.array(origins).reshape(-1, 3)


def _map_from_ego(nusc: NuScenes, token: str) -> np.ndarray:
    return nuscenes.map_from_ego(nusc, nuscenes.reference_record(nusc, token))


def _ego_from_map(nusc: NuScenes, token: str) -> np.ndarray:
    return invert_rigid(_map_from_ego(nusc, token))
