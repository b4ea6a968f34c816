"""A glance: six pictures with their truth, and the lidar sweep, at one stamp."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from distillnerf_ros.cameras.rig import CAMERA_NAMES, CameraRig
from distillnerf_ros.cameras.transforms import invert_rigid
from distillnerf_ros.world import rig_constants as rig
from distillnerf_ros.world.caster import Hit, cast_packets
from distillnerf_ros.world.looks import Look
from distillnerf_ros.world.scene import Scene
from distillnerf_ros.world.solids import Packets

_TILE_PX = (8, 16)
"""Rows and columns of the block of pixels that travels as one packet."""


@dataclasses.dataclass(frozen=True)
class Lidar:
    """One instantaneous sweep of the LIDAR_TOP.

    Attributes:
        points: (P, 3) metres in the ego frame at the glance's stamp.
        labels: (P,) Occ3D class of what each beam met.
        instances: (P,) object ids, 0 for ground.
        intensity: (P,) 0..255.
        ring: (P,) 0 (lowest) .. 31.
    """

    points: Float[Tensor, "P 3"]
    labels: UInt8[Tensor, " P"]
    instances: Int[Tensor, " P"]
    intensity: Float[Tensor, " P"]
    ring: Int[Tensor, " P"]


@dataclasses.dataclass(frozen=True)
class Glance:
    """Six pictures, their truth and the lidar at one stamp.

    Attributes:
        rig: the pictures (after exposure, vignette and noise) with their calibration.
        depth_m: (N, H, W) metres along the optical axis, NaN for the sky.
        labels: (N, H, W) Occ3D class, 255 for the sky.
        instances: (N, H, W) object ids, 0 for ground and sky.
        lidar: the sweep.
        stamps_s: (N,) when each camera fired, seconds since the scene's start.
        map_from_ego: (4, 4) float64 ego pose at the glance's stamp.
    """

    rig: CameraRig
    depth_m: Float[Tensor, "N H W"]
    labels: UInt8[Tensor, "N H W"]
    instances: Int[Tensor, "N H W"]
    lidar: Lidar
    stamps_s: Float[Tensor, " N"]
    map_from_ego: np.ndarray

    @property
    def lidar_points(self) -> Float[Tensor, "P 3"]:
        """Lidar points in the ego frame, metres."""
        return self.lidar.points


def glance(
    scene: Scene,
    time_s: float,
    image_size: tuple[int, int] = (225, 400),
    device: torch.device | str = "cpu",
    cameras: tuple[str, ...] = CAMERA_NAMES,
    offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Glance:
    """Look around once.

    Args:
        scene: the scene.
        time_s: stamp of the lidar sweep; cameras fire up to 44 ms earlier, each at its own time.
        image_size: height and width in pixels.
        device: where to compute; the result lies there.
        cameras: which cameras, in this order.
        offset_m: how far every camera is moved along the vehicle's axes (virtual views).
    """
    device = torch.device(device)
    stamps = [time_s + rig.CAMERAS[name].stamp_offset_s for name in cameras]
    map_from_ego = scene.ego_pose(time_s)
    moved = np.eye(4)
    moved[:3, 3] = offset_m
    poses = [
        scene.ego_pose(stamp) @ moved @ rig.CAMERAS[name].ego_from_camera
        for name, stamp in zip(cameras, stamps, strict=True)
    ]
    ego_from_camera = np.stack([invert_rigid(map_from_ego) @ pose for pose in poses])
    intrinsics = torch.stack([_intrinsics(name, image_size) for name in cameras]).to(device)
    map_from_camera = torch.from_numpy(np.stack(poses)).float().to(device)
    packets, pixels = _camera_packets(intrinsics, map_from_camera, image_size)
    pixel_rad = 1.0 / float(intrinsics[0, 0, 0])
    hit = cast_packets(scene, stamps, packets, shade=True, pixel_rad=pixel_rad)
    shape = (len(cameras), *image_size)
    radiance = _unpack(hit.rgb, pixels, shape)
    seeds = [_seed(scene.seed, stamp, number) for number, stamp in enumerate(stamps)]
    pictures = expose(scene.look, radiance.permute(0, 3, 1, 2), seeds)
    depth = _unpack(hit.distance, pixels, shape)
    return Glance(
        CameraRig(
            tuple(cameras),
            pictures,
            intrinsics,
            torch.from_numpy(ego_from_camera).float().to(device),
            torch.ones(len(cameras), dtype=torch.bool, device=device),
        ),
        depth.masked_fill(torch.isinf(depth), torch.nan),
        _unpack(hit.class_id, pixels, shape),
        _unpack(hit.instance, pixels, shape),
        lidar_sweep(scene, time_s, device),
        torch.tensor(stamps),
        map_from_ego,
    )


def _intrinsics(name: str, image_size: tuple[int, int]) -> Tensor:
    """Intrinsics for an image size; other aspect ratios squeeze the picture."""
    rows, cols = rig.IMAGE_SIZE_PX
    scale = np.array([[image_size[1] / cols], [image_size[0] / rows], [1.0]])
    return torch.from_numpy(rig.CAMERAS[name].intrinsics * scale).float()


def _camera_packets(
    intrinsics: Tensor, map_from_camera: Tensor, image_size: tuple[int, int]
) -> tuple[Packets, Tensor]:
    """Rays in tiles of pixels, and the flat pixel number of each ray."""
    rows, cols = image_size
    tile_rows, tile_cols = _TILE_PX
    device = intrinsics.device
    v = torch.arange(-(-rows // tile_rows) * tile_rows, device=device).clamp(max=rows - 1)
    u = torch.arange(-(-cols // tile_cols) * tile_cols, device=device).clamp(max=cols - 1)
    pixel = v[:, None] * cols + u[None]
    pixel = pixel.view(len(v) // tile_rows, tile_rows, len(u) // tile_cols, tile_cols)
    pixel = pixel.permute(0, 2, 1, 3).reshape(-1, tile_rows * tile_cols)  # (tiles, S)
    center = torch.stack([pixel % cols + 0.5, pixel // cols + 0.5, torch.ones_like(pixel)], dim=1)
    turn = map_from_camera[:, :3, :3] @ torch.linalg.inv(intrinsics)
    directions = (turn[:, None] @ center.to(turn)[None]).reshape(-1, 3, pixel.shape[1])
    origins = map_from_camera[:, None, :3, 3:].expand(-1, len(pixel), -1, pixel.shape[1])
    count = len(intrinsics)
    group = torch.arange(count, device=device).repeat_interleave(len(pixel))
    offset = torch.arange(count, device=device)[:, None, None] * (rows * cols)
    flat = (pixel[None] + offset).reshape(-1)
    return Packets(origins.reshape(directions.shape), directions, group), flat


def _unpack(values: Tensor, pixels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Scatter per-ray values back into images."""
    image = values.new_zeros((shape[0] * shape[1] * shape[2], *values.shape[1:]))
    image[pixels] = values
    return image.view(*shape, *values.shape[1:])


def _seed(seed: int, stamp_s: float, number: int) -> int:
    """A seed of the noise of one picture."""
    return int(np.random.default_rng([seed, round(stamp_s * 1e4) + 10**6, number]).integers(2**62))


def expose(
    look: Look, radiance: Float[Tensor, "N 3 H W"], seeds: list[int]
) -> Float[Tensor, "N 3 H W"]:
    """The camera: automatic exposure, lens, sensor noise, tone curve; 0..1, sRGB-like."""
    rows, cols = radiance.shape[2:]
    luminance = radiance.mean(dim=1)
    metered = luminance.clamp(max=2.0).mean(dim=(1, 2))
    gain = look.exposure * (0.36 / (metered * look.exposure).clamp(min=0.02)) ** 0.45
    y = torch.linspace(-1, 1, rows, device=radiance.device)[:, None] * rows / cols
    x = torch.linspace(-1, 1, cols, device=radiance.device)[None]
    lens = 1 - 0.14 * (x * x + y * y)
    exposed = radiance * gain[:, None, None, None] * lens
    curve = exposed * (1 + exposed / 4.0) / (1 + exposed)  # shoulder towards white at 4
    picture = (curve * 1.35).clamp(min=0, max=1) ** (1 / 2.2)
    contrast = picture * picture * (3 - 2 * picture)
    picture = torch.lerp(picture, contrast, 0.45)
    noise = torch.stack(
        [
            torch.randn((3, rows, cols), generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
    )
    tint = torch.stack(
        [torch.randn(3, generator=torch.Generator().manual_seed(seed + 1)) for seed in seeds]
    )
    strength = look.noise * (1.2 - 0.6 * picture)
    picture = picture + strength * noise.to(picture)
    return (picture * (1 + 0.012 * tint.to(picture)[:, :, None, None])).clamp(0, 1)


def lidar_sweep(scene: Scene, time_s: float, device: torch.device | str = "cpu") -> Lidar:
    """Cast one sweep, instantaneous at its stamp.

    Beams that meet nothing within range, or the vehicle itself, return nothing. Ranges have
    2 cm noise, as the sensor's datasheet says.
    """
    device = torch.device(device)
    map_from_ego = scene.ego_pose(time_s)
    map_from_lidar = torch.from_numpy(map_from_ego @ rig.ego_from_lidar()).float().to(device)
    beams, ring = (value.to(device) for value in rig.lidar_beams())
    directions = map_from_lidar[:3, :3] @ beams
    origins = map_from_lidar[:3, 3:].expand_as(directions[0])
    packets = Packets(
        origins.expand_as(directions).contiguous(),
        directions,
        torch.zeros(len(beams), dtype=torch.long, device=device),
    )
    hit = cast_packets(scene, [time_s], packets, shade=False)
    generator = torch.Generator().manual_seed(_seed(scene.seed, time_s, 99))
    wobble = torch.randn(hit.distance.shape, generator=generator).to(device).clamp(-2, 2) * 0.02
    luck = torch.rand(hit.distance.shape, generator=generator).to(device)
    keep = torch.isfinite(hit.distance) & (hit.distance < rig.LIDAR_RANGE_M) & (luck > 0.03)
    local = beams.transpose(1, 2).reshape(-1, 3)[keep] * (hit.distance + wobble)[keep, None]
    ego_from_lidar = torch.from_numpy(rig.ego_from_lidar()).float().to(device)
    points = local @ ego_from_lidar[:3, :3].T + ego_from_lidar[:3, 3]
    return Lidar(
        points,
        hit.class_id[keep],
        hit.instance[keep],
        _intensity(hit, keep, luck),
        ring.reshape(-1)[keep],
    )


def _intensity(hit: Hit, keep: Tensor, luck: Tensor) -> Tensor:
    """A plausible return strength per class, 0..255."""
    table = torch.tensor([18, 30, 12, 35, 30, 30, 14, 14, 45, 35, 35, 6, 12, 14, 16, 25, 16.0])
    base = table.to(luck)[hit.class_id[keep].long()]
    return (base * (0.4 + 1.2 * luck[keep])).clamp(0, 255).round()
