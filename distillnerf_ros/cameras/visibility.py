"""Which part of space the cameras of a glance have seen."""

import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.cameras.rays import Rays, exactly


@dataclasses.dataclass(frozen=True)
class Visibility:
    """Depth up to which each pixel's ray is free, for the cameras that were there.

    Attributes:
        intrinsics: (M, 3, 3) in pixels of the images.
        ego_from_camera: (M, 4, 4) camera poses.
        image_size: height and width in pixels that the intrinsics belong to.
        depth_m: (M, h, w) depth of the first surface; infinite for sky.
    """

    intrinsics: Float[Tensor, "M 3 3"]
    ego_from_camera: Float[Tensor, "M 4 4"]
    image_size: tuple[int, int]
    depth_m: Float[Tensor, "M h w"]

    @exactly
    def read(self, maps: Float[Tensor, "M h w C"], rays: Rays) -> Float[Tensor, "R C"]:
        """What the pictures of the cameras that rays start from say of them.

        Args:
            maps: what they say, as many pixels as ``depth_m``.
            rays: in the ego frame.

        Returns:
            (R, C) NaN where no camera stands at a ray's origin (within 5 cm) or the ray leaves
            its picture.
        """
        place = torch.full((len(rays.origins),), -1, device=maps.device)
        for camera, (k, pose, depth) in enumerate(
            zip(self.intrinsics, self.ego_from_camera, self.depth_m, strict=True)
        ):
            here = (rays.origins - pose[:3, 3]).abs().amax(dim=-1) < 0.05
            inside, index = self._pixels(k, rays.directions @ pose[:3, :3], depth)
            place = torch.where(here & inside, camera * depth.numel() + index, place)
        said = maps.flatten(0, 2)[place.clamp(min=0)]
        return said.masked_fill((place < 0)[:, None], torch.nan)

    @exactly
    def seen(self, points_m: Float[Tensor, "P 3"], margin_m: float) -> Bool[Tensor, " P"]:
        """Whether some camera sees each point: inside its image and not behind a surface.

        Args:
            points_m: (P, 3) ego metres.
            margin_m: how far behind the surface still counts as seen (half a voxel's diagonal).
        """
        seen = torch.zeros(points_m.shape[0], dtype=torch.bool, device=points_m.device)
        for k, pose, depth in zip(
            self.intrinsics, self.ego_from_camera, self.depth_m, strict=True
        ):
            seen |= self._seen_by(k, pose, depth, points_m, margin_m)
        return seen

    def _seen_by(
        self, k: Tensor, pose: Tensor, depth_m: Tensor, points_m: Tensor, margin_m: float
    ) -> Tensor:
        optical = (points_m - pose[:3, 3]) @ pose[:3, :3]
        inside, index = self._pixels(k, optical, depth_m)
        return inside & (optical[:, 2] <= depth_m.reshape(-1)[index] + margin_m)

    def _pixels(self, k: Tensor, optical: Tensor, depth_m: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each point lies in the picture, and its flat pixel there."""
        rows, cols = depth_m.shape
        z = optical[:, 2]
        pixel = optical @ k.T / z.clamp(min=1e-3)[:, None]
        col = (pixel[:, 0] * (cols / self.image_size[1])).floor()
        row = (pixel[:, 1] * (rows / self.image_size[0])).floor()
        inside = (z > 0.1) & (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
        row, col = (torch.where(inside, place, 0.0).long() for place in (row, col))
        return inside, row * cols + col
