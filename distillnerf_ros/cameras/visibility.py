"""Which part of space the cameras of a glance have seen."""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.cameras.rays import Rays, exactly


@dataclasses.dataclass(frozen=True)
class Told:
    """What pictures alone say of pixels.

    Attributes:
        depth_m: (...) of the first surface; infinite for sky, NaN for what is no pixel.
        doubts: (..., 4) mean and standard deviation of ln d, opacity, and how far down its picture
            a pixel is, from -0.5 on.
        features: (..., C) what it shows.
    """

    depth_m: Float[Tensor, "*shape"]
    doubts: Float[Tensor, "*shape 4"]
    features: Float[Tensor, "*shape C"]

    def at(self, pixels: Int[Tensor, " R"]) -> "Told":
        """Of some flat pixels; -1 is none, whose doubts and features mean nothing."""
        index, count = pixels.clamp(min=0), self.depth_m.numel()
        depth, doubts, features = (
            values.reshape(count, -1).index_select(0, index)
            for values in (self.depth_m, self.doubts, self.features)
        )
        return Told(depth[:, 0].masked_fill(pixels < 0, torch.nan), doubts, features)


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
    def pixels(self, rays: Rays) -> Int[Tensor, " R"]:
        """Which pixel of the cameras that rays start from looks along each.

        Args:
            rays: in the ego frame.

        Returns:
            (R,) flat pixel among the M * h * w; -1 where no camera stands at a ray's origin
            (within 5 cm) or the ray leaves its picture.
        """
        centers = self.ego_from_camera[:, :3, 3]
        here = torch.cdist(centers, rays.origins, p=torch.inf) < 0.05
        inside, index = self._inside(self._projections @ rays.directions.T)
        return torch.where(here & inside, index, -1).amax(dim=0)

    @exactly
    def seen(self, points_m: Float[Tensor, "P 3"], margin_m: float) -> Bool[Tensor, " P"]:
        """Whether some camera sees each point: inside its image and not behind a surface.

        Args:
            points_m: (P, 3) ego metres.
            margin_m: how far behind the surface still counts as seen (half a voxel's diagonal).
        """
        inside, pixel, depth_m = self.project(points_m)
        return (inside & (depth_m <= self.depth_m.flatten()[pixel] + margin_m)).any(dim=0)

    @exactly
    def project(
        self, points_m: Float[Tensor, "P 3"]
    ) -> tuple[Bool[Tensor, "M P"], Int[Tensor, "M P"], Float[Tensor, "M P"]]:
        """Where points fall in each picture.

        Args:
            points_m: (P, 3) ego metres.

        Returns:
            Whether they do, the flat pixel among the M * h * w (any where they do not), and their
            depth in metres.
        """
        centers = self.ego_from_camera[:, :3, 3:]
        projected = self._projections @ points_m.T - self._projections @ centers
        return *self._inside(projected), projected[:, 2]

    @property
    def _projections(self) -> Float[Tensor, "M 3 3"]:
        """Directions in the ego frame to pixels times depth, and depth."""
        return self.intrinsics @ self.ego_from_camera[:, :3, :3].transpose(1, 2)

    def _inside(self, projected: Float[Tensor, "M 3 P"]) -> tuple[Tensor, Tensor]:
        """Whether each point lies in each picture, and its flat pixel among all pictures'."""
        count, rows, cols = self.depth_m.shape
        u, v, depth = projected.unbind(1)
        near = depth.clamp(min=1e-3)
        col = (u / near).mul_(cols / self.image_size[1]).floor_()
        row = (v / near).mul_(rows / self.image_size[0]).floor_()
        inside = (depth > 0.1) & (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
        first = torch.arange(count, device=depth.device)[:, None] * (rows * cols)
        return inside, torch.where(inside, row * cols + col, 0.0).long() + first
