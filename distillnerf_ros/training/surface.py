"""Voxel labels from dense depth: where the cameras see a surface, and where they see through.

Direct supervision in space (free before the hit, occupied at it) needs care on a road: at 30 m a
ray comes down by 5 cm a metre and so crosses, before it hits, a dozen voxels that the road itself
passes through, and neighbouring pixels meet the road metres apart. Labels are therefore made per
voxel: the surface is first filled in between neighbouring pixels, and what it passes through is
never free.
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.query.occupancy import GRID_ORIGIN_M, GRID_SHAPE, VOXEL_M, voxel_centers_m

_FILL = (12, 3)
"""Points per pixel, down and across, that a surface is filled in with."""
_FEW = (4, 2)
"""The same where voxels are known and only what they show is asked: a tenth of the time."""
_BEHIND_M = 0.03
"""Points lie this far inside the surface, so that a wall on a voxel's border fills one side."""
_CLEAR_M = 0.3
"""A voxel is free if its centre lies this far before the surface: about half its diagonal."""


@dataclasses.dataclass(frozen=True)
class VoxelLabels:
    """What a glance's dense depth says about the voxels of the Occ3D grid.

    Attributes:
        surface: (V,) flat voxels that a surface passes through.
        pixels: (V,) for each of them a pixel that sees it: flat index into (N, H, W).
        free: (F,) flat voxels that some camera sees through.
    """

    surface: Int[Tensor, " V"]
    pixels: Int[Tensor, " V"]
    free: Int[Tensor, " F"]

    def to(self, device: torch.device) -> "VoxelLabels":
        """Move every tensor to a device."""
        return VoxelLabels(self.surface.to(device), self.pixels.to(device), self.free.to(device))

    def seen_by(
        self, valid: Bool[Tensor, " N"], shape: tuple[int, int, int] | torch.Size
    ) -> "VoxelLabels":
        """The labels without surfaces whose pixel belongs to a camera that is not there.

        Args:
            valid: (N,) which cameras are there.
            shape: N, H, W of the depth maps.
        """
        there = valid[self.pixels // (shape[1] * shape[2])]
        return VoxelLabels(self.surface[there], self.pixels[there], self.free)

    def mirrored(self, width: int) -> "VoxelLabels":
        """The same labels after left and right have changed places.

        Args:
            width: of the images in pixels.
        """
        pixels = self.pixels - 2 * (self.pixels % width) + width - 1
        return VoxelLabels(_mirrored(self.surface), pixels, _mirrored(self.free))


def voxel_labels(rig: CameraRig, depth_m: Float[Tensor, "N H W"]) -> VoxelLabels:
    """Label voxels from dense depth.

    Args:
        rig: the cameras; one that is not there has unknown depth.
        depth_m: (N, H, W) along the optical axis, infinite for sky, NaN where nothing is known.
    """
    voxel, pixel = _surface(rig, depth_m, _FILL)
    order = torch.full((_CELLS,), -1, dtype=torch.long, device=depth_m.device)
    order[voxel] = pixel
    surface = (order >= 0).nonzero()[:, 0]
    free = _seen_through(rig, depth_m)
    free[surface] = False
    return VoxelLabels(surface, order[surface], free.nonzero()[:, 0])


def surface_features(
    rig: CameraRig,
    depth_m: Float[Tensor, "N H W"],
    labels: VoxelLabels,
    maps: Float[Tensor, "N C H W"],
) -> Float[Tensor, "V C"]:
    """What the cameras see in each surface voxel: the mean over the pixels that meet it.

    A voxel at a wheel holds car and road, and a single pixel of it may be either. Asked for the
    class names in the voxels of unseen streets, the teacher's features had a mean average
    precision of 0.535 by the mean over the whole filled-in surface and of 0.508 by the voxel's own
    pixel; the few points that are looked at here cost 0.004 of that.

    Args:
        rig: the cameras; those that are not there are not asked.
        depth_m: (N, H, W) what the labels were made from.
        labels: without surfaces of cameras that are not there (see ``VoxelLabels.seen_by``).
        maps: (N, C, H, W) features of the same pixels.
    """
    voxel, pixel = _surface(rig, torch.where(rig.valid[:, None, None], depth_m, torch.nan), _FEW)
    every = maps.permute(0, 2, 3, 1).flatten(0, 2)
    total = every.new_zeros(_CELLS, every.shape[1]).index_add_(0, voxel, every[pixel])
    count = torch.bincount(voxel, minlength=_CELLS)[labels.surface, None]
    mean = total[labels.surface] / count.clamp(min=1)
    return torch.where(count > 0, mean, every[labels.pixels])


_CELLS = GRID_SHAPE[0] * GRID_SHAPE[1] * GRID_SHAPE[2]


def _mirrored(voxels: Int[Tensor, " V"]) -> Int[Tensor, " V"]:
    """The grid reaches as far to the left as to the right."""
    y = voxels // GRID_SHAPE[2] % GRID_SHAPE[1]
    return voxels + (GRID_SHAPE[1] - 1 - 2 * y) * GRID_SHAPE[2]


def voxels_of(points_m: Float[Tensor, "*s 3"]) -> Int[Tensor, "*s"]:
    """Flat voxel of each ego point, -1 outside the grid."""
    index = ((points_m - points_m.new_tensor(GRID_ORIGIN_M)) / VOXEL_M).floor().long()
    size = torch.tensor(GRID_SHAPE, device=index.device)
    inside = ((index >= 0) & (index < size)).all(dim=-1)
    flat = (index[..., 0] * GRID_SHAPE[1] + index[..., 1]) * GRID_SHAPE[2] + index[..., 2]
    return torch.where(inside, flat, -1)


def _surface(rig: CameraRig, depth_m: Tensor, fill: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Voxel and pixel of every point of the filled-in surface that lies in the grid."""
    _, rows, cols = depth_m.shape
    down, across = fill
    filled = fill_surface(depth_m, down, across)
    fine = (rows * down, cols * across)
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, (rows, cols), fine)
    depth = filled.reshape(-1)
    near = (depth < 1.5 * GRID_SHAPE[0] * VOXEL_M / 2).nonzero()[:, 0]
    rays, depth = rays.select(near), depth[near]
    points = rays.at((depth + _BEHIND_M / rays.lengths)[:, None])[:, 0]
    voxel = voxels_of(points)
    camera, row, col = near // (fine[0] * fine[1]), near // fine[1] % fine[0], near % fine[1]
    pixel = (camera * rows + row // down) * cols + col // across
    return voxel[voxel >= 0], pixel[voxel >= 0]


def fill_surface(
    depth_m: Float[Tensor, "N H W"], down: int, across: int
) -> Float[Tensor, "N h w"]:
    """Depth on a finer grid: interpolated within a surface, NaN between two of them.

    Inverse depth is linear over a plane, so it is what is interpolated. Neighbouring pixels
    belong to one surface if their depths are within a tenth, or if the slope between them goes on
    from the pair before or after (a road near the horizon).
    """
    inverse = 1 / depth_m
    filled = _fill_rows(inverse, down)
    return 1 / _fill_rows(filled.transpose(1, 2), across).transpose(1, 2)


def _fill_rows(inverse: Float[Tensor, "N H W"], factor: int) -> Float[Tensor, "N h W"]:
    count, rows, cols = inverse.shape
    slope = inverse.diff(dim=1)
    limit = 0.1 * torch.minimum(inverse[:, 1:], inverse[:, :-1])
    straight = slope.diff(dim=1).abs() < 0.3 * torch.minimum(limit[:, 1:], limit[:, :-1])
    goes_on = F.pad(straight, (0, 0, 0, 1)) | F.pad(straight, (0, 0, 1, 0))
    slope = torch.where((slope.abs() < limit) | goes_on, slope, torch.nan)
    before = F.pad(slope, (0, 0, 1, 0), value=torch.nan)[:, :, None]
    after = F.pad(slope, (0, 0, 0, 1), value=torch.nan)[:, :, None]
    # Fine row k lies (k + 0.5) / factor - 0.5 rows from the middle of row k // factor.
    t = (torch.arange(factor, device=inverse.device)[:, None] + 0.5) / factor - 0.5
    fine = inverse[:, :, None] + torch.where(t < 0, before, after) * t
    # The point in the middle always stands for its own pixel.
    own = fine[:, :, factor // 2]
    fine[:, :, factor // 2] = torch.where(own.isnan(), inverse, own)
    return fine.reshape(count, rows * factor, cols)


def _seen_through(rig: CameraRig, depth_m: Tensor) -> Bool[Tensor, " cells"]:
    """Voxels whose centre lies clearly before the surface in some camera."""
    centers = voxel_centers_m(depth_m.device).reshape(-1, 3)
    height, width = rig.image_size
    free = torch.zeros(len(centers), dtype=torch.bool, device=depth_m.device)
    for k, pose, depth in zip(rig.intrinsics, rig.ego_from_camera, depth_m, strict=True):
        optical = (centers - pose[:3, 3]) @ pose[:3, :3]
        z = optical[:, 2]
        ahead = (z > 0.3).nonzero()[:, 0]
        pixel = optical[ahead] @ k.T
        col, row = (pixel[:, :2] / pixel[:, 2:]).floor().long().unbind(-1)
        inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
        ahead, row, col = ahead[inside], row[inside], col[inside]
        length = optical[ahead].norm(dim=-1) / z[ahead]
        free[ahead] |= z[ahead] < depth[row, col] - _CLEAR_M / length
    return free
