"""Training samples of the procedural world: rendered when asked for, kept if there is a cache."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data.lidar import lidar_depth
from distillnerf_ros.training.cache import Arrays, kept
from distillnerf_ros.training.samples import TrainSample, View, rig_arrays, rig_of
from distillnerf_ros.training.surface import VoxelLabels, voxel_labels
from distillnerf_ros.training.targets import FeatureTargets
from distillnerf_ros.world.frames import Glance, glance
from distillnerf_ros.world.rig_constants import LIDAR_TRANSLATION_M
from distillnerf_ros.world.scene import make_scene

LIDAR_RAYS = 8192
"""Lidar points kept per sample; a sweep of the world has about three times as many."""
SCENE_S = 20.0
"""Glances are spread over this much of a scene."""
VERSION = 3
"""Counts changes of the world or of the layout that make cached samples stale."""
VIRTUAL_OFFSETS_M = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0))
"""Where virtual cameras stand from the real ones: up, left, right (paper, appendix)."""
VIRTUAL_CAMERAS = 2
"""Cameras that are moved per glance."""


@dataclasses.dataclass(frozen=True)
class WorldSamples(Dataset[TrainSample]):
    """Glances of procedural streets, a few per scene; the same index is always the same glance.

    Attributes:
        first_seed: seed of the first scene.
        scenes: number of scenes.
        per_scene: glances per scene, evenly spread over 20 s.
        image_size: height and width in pixels.
        teacher: adds foundation features; None leaves them out.
        virtual: whether to add virtual views.
        dense: whether depth is known in every pixel, or where a lidar point fell alone.
        cache: folder that keeps what was made, or None to make it each time.
    """

    first_seed: int
    scenes: int
    per_scene: int
    image_size: tuple[int, int]
    teacher: FeatureTargets | None = None
    virtual: bool = False
    dense: bool = True
    cache: Path | None = None

    def __len__(self) -> int:
        """Number of glances."""
        return self.scenes * self.per_scene

    def __getitem__(self, index: int) -> TrainSample:
        """Read a glance from the cache, or render (and keep) it."""
        seed, time_s = self.place(index)
        size = self.image_size
        key = f"{VERSION}-{seed}-{time_s:.3f}-{size}"
        arrays = kept(self.cache, "glances", key, lambda: _render(seed, time_s, size))
        sample = _sample(arrays, f"world scene {seed} at {time_s:.1f} s")
        if not self.dense:
            sample = _by_lidar(sample)
        if self.virtual:
            arrays = kept(self.cache, "virtual", key, lambda: _render_virtual(seed, time_s, size))
            names = tuple(f"virtual {number}" for number in range(VIRTUAL_CAMERAS))
            view = View(rig_of(arrays, names), _depth(arrays))
            sample = dataclasses.replace(sample, virtual=(view,))
        return sample if self.teacher is None else self.teacher.teach(sample, self.cache, key)

    def place(self, index: int) -> tuple[int, float]:
        """Seed and time in seconds of a glance."""
        scene, number = divmod(index, self.per_scene)
        return self.first_seed + scene, (number + 0.5) * SCENE_S / self.per_scene


def _by_lidar(sample: TrainSample) -> TrainSample:
    """The sample as a log without distilled depth would give it; the sky is unknown too."""
    depth = lidar_depth(sample.lidar_points_m, sample.rig)
    return dataclasses.replace(sample, depth_m=depth, voxels=voxel_labels(sample.rig, depth))


def _render(seed: int, time_s: float, image_size: tuple[int, int]) -> Arrays:
    """Render one glance into compact arrays."""
    seen = glance(make_scene(seed), time_s, image_size=image_size)
    points = seen.lidar_points
    voxels = voxel_labels(seen.rig, seen.depth_m)
    keep = np.random.default_rng(seed).permutation(len(points))[:LIDAR_RAYS]
    return {
        **_pictures(seen),
        "labels": seen.labels.numpy(),  # what the training of the teacher reads
        "lidar_origin_m": np.asarray(LIDAR_TRANSLATION_M, np.float32),
        "lidar_points_m": points[torch.from_numpy(keep)].numpy(),
        "surface": voxels.surface.int().numpy(),
        "pixels": voxels.pixels.int().numpy(),
        "free": voxels.free.int().numpy(),
    }


def _render_virtual(seed: int, time_s: float, image_size: tuple[int, int]) -> Arrays:
    """Render what a few cameras would see from a metre beside or above their place."""
    chance = np.random.default_rng([seed, round(time_s * 1000)])
    chosen = chance.permutation(len(CAMERA_NAMES))[:VIRTUAL_CAMERAS]
    names = tuple(CAMERA_NAMES[i] for i in chosen)
    offset = VIRTUAL_OFFSETS_M[chance.integers(len(VIRTUAL_OFFSETS_M))]
    return _pictures(glance(make_scene(seed), time_s, image_size, cameras=names, offset_m=offset))


def _pictures(seen: Glance) -> Arrays:
    return {**rig_arrays(seen.rig), "depth_m": seen.depth_m.half().numpy()}


def _depth(arrays: Arrays) -> torch.Tensor:
    """The world knows that a ray that hits nothing sees the sky."""
    return torch.from_numpy(arrays["depth_m"]).float().nan_to_num(nan=torch.inf, posinf=torch.inf)


def _sample(arrays: Arrays, name: str) -> TrainSample:
    labels = (torch.from_numpy(arrays[part]).long() for part in ("surface", "pixels", "free"))
    return TrainSample(
        name,
        rig_of(arrays, CAMERA_NAMES),
        _depth(arrays),
        torch.from_numpy(arrays["lidar_origin_m"]),
        torch.from_numpy(arrays["lidar_points_m"]),
        VoxelLabels(*labels),
    )
