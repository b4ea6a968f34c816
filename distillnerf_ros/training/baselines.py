"""What a model has to beat: answers that look at no image.

Mean depth and majority occupancy are fitted on other scenes of the same data set than the one they
are judged on (leave one scene out); the flat road needs calibration alone.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt8

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.query.occupancy import GRID_ORIGIN_M, GRID_SHAPE, VOXEL_M
from distillnerf_ros.taxonomy import FREE_LABEL, OCC3D_CLASSES
from distillnerf_ros.training.metrics import DEPTH_LIMIT_M


@dataclasses.dataclass(frozen=True)
class DepthSums:
    """Sums over lidar points that fell into each cell of the depth images.

    Attributes:
        total_m: (N, h, w) sum of depths.
        count: (N, h, w) number of points.
    """

    total_m: Float[np.ndarray, "N h w"]
    count: Int[np.ndarray, "N h w"]

    @classmethod
    def of(
        cls, cells: Int[np.ndarray, " P"], depth_m: Float[np.ndarray, " P"], shape: tuple[int, ...]
    ) -> "DepthSums":
        """Sum points by their flat index into images of a shape (N, h, w)."""
        size = int(np.prod(shape))
        total = np.bincount(cells, depth_m, minlength=size).reshape(shape)
        total = total.astype(np.float64)  # of no points NumPy makes integers
        return cls(total, np.bincount(cells, minlength=size).reshape(shape))

    def __add__(self, other: "DepthSums") -> "DepthSums":
        return DepthSums(self.total_m + other.total_m, self.count + other.count)

    def __sub__(self, other: "DepthSums") -> "DepthSums":
        return DepthSums(self.total_m - other.total_m, self.count - other.count)

    def mean_image(self) -> Float[np.ndarray, "N h w"]:
        """Mean depth of each pixel; where no point ever fell, its row's mean, else 80 m."""
        rows = self.total_m.sum(axis=2, keepdims=True)
        row_count = self.count.sum(axis=2, keepdims=True)
        by_row = np.where(row_count > 0, rows / np.maximum(row_count, 1), DEPTH_LIMIT_M)
        return np.where(self.count > 0, self.total_m / np.maximum(self.count, 1), by_row)


@dataclasses.dataclass(frozen=True)
class VoxelCounts:
    """In how many frames each voxel of the Occ3D grid was seen, and occupied when seen."""

    seen: Integer[np.ndarray, "X Y Z"]
    occupied: Integer[np.ndarray, "X Y Z"]

    @classmethod
    def empty(cls) -> "VoxelCounts":
        """No frame yet."""
        return cls(np.zeros(GRID_SHAPE, np.int32), np.zeros(GRID_SHAPE, np.int32))

    def add(self, occupied: Bool[np.ndarray, "X Y Z"], mask: Bool[np.ndarray, "X Y Z"]) -> None:
        """Count one frame, in place."""
        self.seen[...] += mask
        self.occupied[...] += occupied & mask

    def __add__(self, other: "VoxelCounts") -> "VoxelCounts":
        return VoxelCounts(self.seen + other.seen, self.occupied + other.occupied)

    def __sub__(self, other: "VoxelCounts") -> "VoxelCounts":
        return VoxelCounts(self.seen - other.seen, self.occupied - other.occupied)

    def majority(self) -> Bool[np.ndarray, "X Y Z"]:
        """Voxels that were occupied in at least half of the frames that saw them."""
        return (2 * self.occupied >= self.seen) & (self.seen > 0)

    def overlap(self, predicted: Bool[np.ndarray, "X Y Z"]) -> tuple[int, int]:
        """Intersection and union, over all frames, of the truth and one fixed prediction."""
        hit = int(self.occupied[predicted].sum())
        return hit, int(self.seen[predicted].sum() + self.occupied[~predicted].sum())


def flat_road_depth(rig: CameraRig, grid_size: tuple[int, int]) -> Float[np.ndarray, "N h w"]:
    """Depth in metres at which each cell's ray meets the plane z = 0; NaN above the horizon."""
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, grid_size)
    height, slope = rays.origins[:, 2].cpu().numpy(), rays.directions[:, 2].cpu().numpy()
    down = slope < 0
    depth = np.where(down, -height / np.where(down, slope, 1), np.nan)
    return depth.reshape(len(rig.names), *grid_size).astype(np.float32)


def flat_road_occupancy() -> UInt8[np.ndarray, "X Y Z"]:
    """The layer of voxels that holds z = 0 is driveable surface, all else is free."""
    semantics = np.full(GRID_SHAPE, FREE_LABEL, np.uint8)
    semantics[:, :, int(-GRID_ORIGIN_M[2] / VOXEL_M)] = OCC3D_CLASSES.index("driveable surface")
    return semantics
