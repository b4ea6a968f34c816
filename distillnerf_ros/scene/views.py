"""Images of a scene's field: colour, depth, what moves; of the log's cameras or of any other."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import Rays
from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.march import CameraBundle, colors, march

CHUNK_RAYS = 8192
HIT_OPACITY = 0.2
"""Opacity above which a ray has hit something. A surface that is missed is worse than a sky that
is not: at 0.2 instead of 0.5, in two fits of half an hour, 1.1 % of the surfaces are missed (1.5)
and 4 % of the sky is taken for a surface (2.5)."""


@dataclasses.dataclass(frozen=True)
class Shot:
    """Where, when and with what a picture is taken.

    Attributes:
        intrinsics: (3, 3) in pixels of the picture.
        scene_from_camera: (4, 4) pose of the optical frame.
        time_s: since the scene's begin.
        camera: index of the camera whose exposure is used.
        size: height and width in pixels.
    """

    intrinsics: Float[Tensor, "3 3"]
    scene_from_camera: Float[Tensor, "4 4"]
    time_s: float
    camera: int
    size: tuple[int, int]

    def moved(self, offset_m: Float[Tensor, " 3"]) -> "Shot":
        """The same picture from elsewhere; the offset is in the scene frame."""
        pose = self.scene_from_camera.clone()
        pose[:3, 3] += offset_m.to(pose)
        return dataclasses.replace(self, scene_from_camera=pose)

    def bundle(self, device: torch.device) -> CameraBundle:
        """Rays through all pixels, row by row."""
        rows, cols = self.size
        pixel = torch.arange(rows * cols)
        return pixel_bundle(
            self.intrinsics.expand(len(pixel), 3, 3),
            self.scene_from_camera.expand(len(pixel), 4, 4),
            torch.full((len(pixel),), self.camera),
            torch.full((len(pixel),), self.time_s),
            pixel,
            self.size,
        ).to(device)


@dataclasses.dataclass(frozen=True)
class Picture:
    """What a shot shows, on the CPU.

    Attributes:
        rgb: (3, H, W) in 0..1, exposed as the camera would.
        depth_m: (H, W) along the optical axis; infinite where nothing is hit.
        opacity: (H, W) share of each ray that hits something.
        moving: (H, W) share that hits something that moves.
    """

    rgb: Float[Tensor, "3 H W"]
    depth_m: Float[Tensor, "H W"]
    opacity: Float[Tensor, "H W"]
    moving: Float[Tensor, "H W"]

    @property
    def moving_rgb(self) -> Float[Tensor, "3 H W"]:
        """What moves, over black."""
        return self.rgb * self.moving


def pixel_bundle(
    intrinsics: Float[Tensor, "R 3 3"],
    scene_from_camera: Float[Tensor, "R 4 4"],
    camera: Tensor,
    times_s: Float[Tensor, " R"],
    pixel: Tensor,
    size: tuple[int, int],
) -> CameraBundle:
    """Rays through pixels, numbered row * width + column, each of a camera of its own."""
    height, width = size
    u, v = (pixel % width) + 0.5, torch.div(pixel, width, rounding_mode="floor") + 0.5
    k, pose = intrinsics, scene_from_camera
    y = (v - k[:, 1, 2]) / k[:, 1, 1]
    x = (u - k[:, 0, 2] - k[:, 0, 1] * y) / k[:, 0, 0]
    optical = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    directions = (pose[:, :3, :3] @ optical[:, :, None])[..., 0]
    half = width / 2
    radius = ((u - half) / half).square() + ((v - height / 2) / half).square()
    return CameraBundle(Rays(pose[:, :3, 3], directions), camera, times_s, radius)


@torch.no_grad()
def take(field: SceneField, shot: Shot, standing_only: bool = False) -> Picture:
    """Render a picture.

    Args:
        field: of the scene.
        shot: where, when and with what.
        standing_only: leave out what moves.
    """
    device = field.exposure.device
    bundle = shot.bundle(device)
    found: list[tuple[Tensor, ...]] = []
    for begin in range(0, len(bundle.times_s), CHUNK_RAYS):
        part = bundle.select(slice(begin, begin + CHUNK_RAYS))
        times = None if standing_only else part.times_s
        marched = march(field, part.rays, times, field.config.samples)
        depth = marched.mean_depth_m()
        depth = depth.masked_fill(marched.opacity <= HIT_OPACITY, torch.inf)
        rgb = colors(field, marched, part).clamp(0, 1)
        found.append((rgb, depth, marched.opacity, marched.moving))
    rgb, depth, opacity, moving = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    rows, cols = shot.size
    return Picture(
        rgb.T.reshape(3, rows, cols),
        depth.view(rows, cols),
        opacity.view(rows, cols),
        moving.view(rows, cols),
    )
