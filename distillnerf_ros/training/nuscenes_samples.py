"""Training samples of a nuScenes data set: keyframes with their lidar, and a teacher's depth."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import lidar_depth
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.training.cache import Arrays, kept
from distillnerf_ros.training.dense_depth import DenseTeacher, kept_labels, with_lidar
from distillnerf_ros.training.keyframes import readable_glance
from distillnerf_ros.training.samples import TrainSample, rig_arrays, rig_of
from distillnerf_ros.training.targets import FeatureTargets

NEAREST_M = 1.0
"""Nearer lidar points are not trained on."""


@dataclasses.dataclass(frozen=True)
class NuScenesSamples(Dataset[TrainSample]):
    """Keyframes.

    Without a teacher of dense depth the lidar is all that is known of depth, and nothing is known
    of the sky. A camera whose image is damaged counts as missing.

    Attributes:
        nusc: the data set.
        tokens: sample tokens.
        image_size: height and width in pixels.
        teacher: adds foundation features; None leaves them out.
        hold_back: every so many-th lidar point is left out, to judge by; 0 leaves none out.
        cache: folder that keeps scaled images and what teachers said, or None to make them anew.
        dense: adds dense depth, and virtual views if it has them; None leaves them out.
    """

    nusc: NuScenes
    tokens: Sequence[str]
    image_size: tuple[int, int]
    teacher: FeatureTargets | None = None
    hold_back: int = 0
    cache: Path | None = None
    dense: DenseTeacher | None = None

    def __len__(self) -> int:
        """Number of keyframes."""
        return len(self.tokens)

    def __getitem__(self, index: int) -> TrainSample:
        """Read a keyframe.

        Raises:
            DatasetError: a file is missing or damaged, or all images are.
        """
        token = self.tokens[index]
        key = self._key(token)
        rig = self._rig(token, key)
        origin, points = self._lidar(token)
        depth = lidar_depth(points, rig, min_depth_m=NEAREST_M)
        if self.dense is None:
            labels = kept_labels(self.cache, f"{key}-lidar-{self.hold_back}", rig, depth)
            sample = TrainSample(token, rig, depth, origin, points, labels)
        else:
            known = self.dense(self.nusc, token, rig)
            depth = with_lidar(known.depth_m, depth)
            labels = kept_labels(self.cache, f"{key}-{known.name}-{self.hold_back}", rig, depth)
            sample = TrainSample(token, rig, depth, origin, points, labels, virtual=known.virtual)
        return sample if self.teacher is None else self.teacher.teach(sample, self.cache, key)

    def _key(self, token: str) -> str:
        """Names a keyframe in the cache; with its images' size, so that mended ones count anew."""
        data = self.nusc.get("sample", token)["data"]
        records = [self.nusc.get("sample_data", data[n]) for n in CAMERA_NAMES if n in data]
        size = sum(nuscenes.sensor_path(self.nusc, r).stat().st_size for r in records)
        return f"{self.nusc.version}-{token}-{size}-{self.image_size}"

    def _rig(self, token: str, key: str) -> CameraRig:
        """The cameras; decoding six large images takes as long as a quarter of a step."""

        def make() -> Arrays:
            rig = readable_glance(self.nusc, token, self.image_size)
            return {**rig_arrays(rig), "valid": rig.valid.numpy()}

        arrays = kept(self.cache, "images", key, make)
        valid = torch.from_numpy(arrays["valid"])
        return dataclasses.replace(rig_of(arrays, CAMERA_NAMES), valid=valid)

    def _lidar(self, token: str) -> tuple[Float[Tensor, " 3"], Float[Tensor, "P 3"]]:
        """Where the lidar is, and its points without those held back; nowhere and none without."""
        if not nuscenes.has_lidar(self.nusc, token):
            return torch.full((3,), torch.nan), torch.empty(0, 3)
        points = nuscenes.lidar_points(self.nusc, token)
        record = nuscenes.lidar_record(self.nusc, token)
        origin = torch.from_numpy(nuscenes.ego_from_sensor(self.nusc, record)[:3, 3]).float()
        return origin, points[~held_back(len(points), self.hold_back)]


def held_back(count: int, every: int) -> torch.Tensor:
    """(count,) which lidar points are left out: every so many-th; none for 0."""
    number = torch.arange(count)
    return number % every == every - 1 if every else torch.zeros(count, dtype=torch.bool)
