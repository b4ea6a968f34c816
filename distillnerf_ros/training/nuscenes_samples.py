"""Training samples of a nuScenes data set: keyframes with their lidar."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset

from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import lidar_depth
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.training.samples import TrainSample
from distillnerf_ros.training.surface import voxel_labels
from distillnerf_ros.training.targets import Teacher

NEAREST_M = 1.0
"""Nearer lidar points are not trained on."""


@dataclasses.dataclass(frozen=True)
class NuScenesSamples(Dataset[TrainSample]):
    """Keyframes; the lidar is all that is known of depth, and nothing is known of the sky.

    Attributes:
        nusc: the data set.
        tokens: sample tokens.
        image_size: height and width in pixels.
        teacher: adds foundation features; None leaves them out.
        hold_back: every so many-th lidar point is left out, to judge by; 0 leaves none out.
        cache: folder that keeps the features, or None to make them each time.
    """

    nusc: NuScenes
    tokens: Sequence[str]
    image_size: tuple[int, int]
    teacher: Teacher | None = None
    hold_back: int = 0
    cache: Path | None = None

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.tokens)

    def __getitem__(self, index: int) -> TrainSample:
        """Read a keyframe.

        Raises:
            DatasetError: a file is missing or damaged.
            ImageError: an image is.
        """
        token = self.tokens[index]
        rig = nuscenes.load_glance(self.nusc, token, self.image_size)
        points = nuscenes.lidar_points(self.nusc, token)
        points = points[~held_back(len(points), self.hold_back)]
        depth = lidar_depth(points, rig, min_depth_m=NEAREST_M)
        record = nuscenes.reference_record(self.nusc, token)
        origin = torch.from_numpy(nuscenes.ego_from_sensor(self.nusc, record)[:3, 3]).float()
        sample = TrainSample(token, rig, depth, origin, points, voxel_labels(rig, depth))
        key = f"{self.nusc.version}-{token}-{self.image_size}"
        return sample if self.teacher is None else self.teacher.teach(sample, self.cache, key)


def held_back(count: int, every: int) -> torch.Tensor:
    """(count,) which lidar points are left out: every so many-th; none for 0."""
    number = torch.arange(count)
    return number % every == every - 1 if every else torch.zeros(count, dtype=torch.bool)
