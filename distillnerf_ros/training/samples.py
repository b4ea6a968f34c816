"""Training samples: one glance with its targets, rendered from the world or read from a cache."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.training.surface import VoxelLabels, voxel_labels
from distillnerf_ros.training.targets import Teacher
from distillnerf_ros.world.frames import glance
from distillnerf_ros.world.rig_constants import LIDAR_TRANSLATION_M
from distillnerf_ros.world.scene import make_scene

LIDAR_RAYS = 8192
"""Lidar points kept per sample; a sweep of the world has about three times as many."""
VERSION = 3
"""Counts changes of the world or of the layout that make cached samples stale."""


@dataclasses.dataclass(frozen=True)
class TrainSample:
    """One glance and what is known about it.

    Attributes:
        rig: the cameras.
        depth_m: (N, H, W) dense depth along the optical axis, NaN for sky.
        lidar_origin_m: (3,) ego metres.
        lidar_points_m: (P, 3) ego metres.
        voxels: what the dense depth says about the voxels of the Occ3D grid.
        features: (N, C, h, w) foundation features in PCA space, or None.
    """

    rig: CameraRig
    depth_m: Float[Tensor, "N H W"]
    lidar_origin_m: Float[Tensor, " 3"]
    lidar_points_m: Float[Tensor, "P 3"]
    voxels: VoxelLabels
    features: Float[Tensor, "N C h w"] | None = None

    def to(self, device: torch.device) -> "TrainSample":
        """Move every tensor to a device."""
        return TrainSample(
            self.rig.to(device),
            self.depth_m.to(device),
            self.lidar_origin_m.to(device),
            self.lidar_points_m.to(device),
            self.voxels.to(device),
            None if self.features is None else self.features.to(device),
        )


@dataclasses.dataclass(frozen=True)
class WorldSamples(Dataset[TrainSample]):
    """Glances of procedural streets, a few per scene; the same index is always the same glance.

    Attributes:
        first_seed: seed of the first scene.
        scenes: number of scenes.
        per_scene: glances per scene, evenly spread over 20 s.
        image_size: height and width in pixels.
        teacher: adds foundation features; None leaves them out.
        cache: folder that keeps rendered samples and features, or None to make them each time.
    """

    first_seed: int
    scenes: int
    per_scene: int
    image_size: tuple[int, int]
    teacher: Teacher | None = None
    cache: Path | None = None

    def __len__(self) -> int:
        """Number of glances."""
        return self.scenes * self.per_scene

    def __getitem__(self, index: int) -> TrainSample:
        """Read a glance from the cache, or render (and keep) it."""
        seed, time_s = self.place(index)
        key = f"{VERSION}-{seed}-{time_s:.3f}-{self.image_size}"
        sample = _sample(self._kept(key, lambda: _render(seed, time_s, self.image_size)))
        if self.teacher is None:
            return sample
        teacher = self.teacher

        def features() -> dict[str, np.ndarray]:
            return {"features": teacher(sample.rig.images).half().numpy()}

        kept = self._kept(f"{key}-{teacher.name}", features)
        return dataclasses.replace(sample, features=torch.from_numpy(kept["features"]).float())

    def _kept(self, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Arrays by key from the cache, or made (and kept)."""
        if self.cache is None:
            return make()
        path = self.cache / f"{hashlib.sha1(key.encode()).hexdigest()[:16]}.npz"
        if path.is_file():
            with np.load(path) as file:
                return {name: file[name] for name in file.files}
        arrays = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(temporary, **arrays)
        os.replace(temporary, path)
        return arrays

    def place(self, index: int) -> tuple[int, float]:
        """Seed and time in seconds of a glance."""
        scene, glance = divmod(index, self.per_scene)
        return self.first_seed + scene, (glance + 0.5) * 20.0 / self.per_scene


def _render(seed: int, time_s: float, image_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Render one glance into compact arrays."""
    seen = glance(make_scene(seed), time_s, image_size=image_size)
    points = seen.lidar_points
    voxels = voxel_labels(seen.rig, seen.depth_m)
    keep = np.random.default_rng(seed).permutation(len(points))[:LIDAR_RAYS]
    return {
        "images": (seen.rig.images * 255).round().byte().numpy(),
        "intrinsics": seen.rig.intrinsics.numpy(),
        "ego_from_camera": seen.rig.ego_from_camera.numpy(),
        "depth_m": seen.depth_m.half().numpy(),
        "labels": seen.labels.numpy(),  # what the training of the teacher reads
        "lidar_origin_m": np.asarray(LIDAR_TRANSLATION_M, np.float32),
        "lidar_points_m": points[torch.from_numpy(keep)].numpy(),
        "surface": voxels.surface.int().numpy(),
        "pixels": voxels.pixels.int().numpy(),
        "free": voxels.free.int().numpy(),
    }


def _sample(arrays: dict[str, np.ndarray]) -> TrainSample:
    rig = CameraRig(
        CAMERA_NAMES,
        torch.from_numpy(arrays["images"]).float() / 255,
        torch.from_numpy(arrays["intrinsics"]),
        torch.from_numpy(arrays["ego_from_camera"]),
        torch.ones(len(CAMERA_NAMES), dtype=torch.bool),
    )
    return TrainSample(
        rig,
        torch.from_numpy(arrays["depth_m"]).float(),
        torch.from_numpy(arrays["lidar_origin_m"]),
        torch.from_numpy(arrays["lidar_points_m"]),
        VoxelLabels(
            *(torch.from_numpy(arrays[name]).long() for name in ("surface", "pixels", "free"))
        ),
    )


def augment(sample: TrainSample, generator: torch.Generator, drop_camera: float) -> TrainSample:
    """Mirror the world left to right, blur, shift colours, lose a camera: each by chance.

    The blur stands for what resizing a large picture does to its edges.

    Args:
        sample: a glance with all its cameras.
        generator: source of chance.
        drop_camera: probability that one camera is missing.
    """
    draw = torch.rand(8, generator=generator)
    if draw[0] < 0.5:
        sample = mirrored(sample)
    gain, contrast = 0.8 + 0.4 * draw[1], 0.8 + 0.4 * draw[2]
    tint = 0.95 + 0.1 * draw[3:6]
    images = sample.rig.images
    images = images.lerp(F.avg_pool2d(images, 3, 1, 1, count_include_pad=False), 0.8 * draw[7])
    images = images * gain * tint[:, None, None]
    images = ((images - 0.5) * contrast + 0.5).clamp(0, 1)
    rig = dataclasses.replace(sample.rig, images=images)
    if draw[6] < drop_camera:
        lost = int(torch.randint(len(rig.names), (1,), generator=generator))
        rig = rig.without(rig.names[lost])
    return dataclasses.replace(sample, rig=rig)


def mirrored(sample: TrainSample) -> TrainSample:
    """The same glance in a world mirrored at the vehicle's x-z plane (left becomes right)."""
    rig = sample.rig
    width = rig.image_size[1]
    flip_y = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    flip_u = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    intrinsics = rig.intrinsics.clone()
    intrinsics[:, 0, 2] = width - intrinsics[:, 0, 2]
    intrinsics[:, 0, 1] = -intrinsics[:, 0, 1]
    mirror = torch.tensor([1.0, -1.0, 1.0])
    return TrainSample(
        dataclasses.replace(
            rig,
            images=rig.images.flip(-1),
            intrinsics=intrinsics,
            ego_from_camera=flip_y @ rig.ego_from_camera @ flip_u,
        ),
        sample.depth_m.flip(-1),
        sample.lidar_origin_m * mirror,
        sample.lidar_points_m * mirror,
        sample.voxels.mirrored(width),
        None if sample.features is None else sample.features.flip(-1),
    )


def pool_depth(depth_m: Float[Tensor, "N H W"], size: tuple[int, int]) -> Float[Tensor, "N h w"]:
    """Dense depth on a coarser grid, NaN where most of a cell is sky.

    Averages inverse depth, which is linear over a plane, unless the cell crosses an edge, where
    the nearer surface counts.
    """
    count, height, width = depth_m.shape
    rows, cols = size
    cells = depth_m.reshape(count, rows, height // rows, cols, width // cols)
    cells = cells.permute(0, 1, 3, 2, 4).reshape(count, rows, cols, -1)
    hit = cells.isfinite()
    inverse = torch.where(hit, 1 / cells, 0.0)
    mean = inverse.sum(-1) / hit.sum(-1).clamp(min=1)
    nearest = inverse.amax(-1)
    furthest = torch.where(hit, inverse, torch.inf).amin(-1)
    pooled = 1 / torch.where(nearest < 1.2 * furthest, mean, nearest)
    return torch.where(hit.float().mean(-1) >= 0.5, pooled, torch.nan)
