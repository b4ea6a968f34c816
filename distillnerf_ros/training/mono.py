"""Depth of a network for single images, as a teacher; its scale is looked at, never changed."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import lidar_depth
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.mono_depth import MetricDepth, inverted
from distillnerf_ros.training.cache import Arrays, kept
from distillnerf_ros.training.dense_depth import Dense
from distillnerf_ros.training.keyframes import readable_glance

LOOKED_AT = 4
"""Keyframes whose depth is compared before training."""
_ENOUGH = 50
"""Pixels of a camera from which a median ratio says something."""
_FAR_OFF = 1.25
"""Ratios beyond this are worth a warning."""


@dataclasses.dataclass(frozen=True)
class MonoTeacher:
    """A network's depth of the images of a keyframe.

    The images are read at the size the network wants, which is larger than what is trained with;
    each pixel of the glance takes the depth in its middle. Sky is not told from what is far: both
    are unknown. There are no virtual views.

    Attributes:
        network: says metres.
        cache: folder that keeps them, or None to ask each time.
    """

    network: MetricDepth
    cache: Path | None = None

    def __call__(self, nusc: NuScenes, token: str, rig: CameraRig) -> Dense:
        """Depth of a keyframe's cameras.

        Raises:
            DatasetError: a file is missing, or all images are damaged.
            CheckpointError: the network fails, or says what cannot be metres.
        """
        size, name = rig.image_size, f"mono-{self.network.name}"
        key = f"{nusc.version}-{token}-{size}-{name}"

        def make() -> Arrays:
            depth = self._asked(nusc, token, size).half()
            return {"depth_m": depth.numpy()}

        arrays = kept(self.cache, "mono_depth", key, make)
        depth = torch.from_numpy(arrays["depth_m"].astype(np.float32))
        return Dense(depth.masked_fill(~rig.valid[:, None, None], torch.nan), name)

    def _asked(self, nusc: NuScenes, token: str, size: tuple[int, int]) -> Float[Tensor, "N H W"]:
        """Depth by the network; NaN where it is not sure, or a camera is missing."""
        data = nusc.get("sample", token)["data"]
        camera = next(name for name in CAMERA_NAMES if name in data)
        record = nusc.get("sample_data", data[camera])
        fitted = self.network.fitted((record["height"], record["width"]))
        large = readable_glance(nusc, token, fitted)
        depth = torch.full((len(large.names), *size), torch.nan)
        there = large.valid
        said = self.network(large.images[there], large.intrinsics[there])
        depth[there] = F.interpolate(said[:, None], size, mode="nearest-exact")[:, 0]
        return depth

    def check(
        self, nusc: NuScenes, tokens: Sequence[str], image_size: tuple[int, int]
    ) -> Iterator[str]:
        """Look at a few keyframes before any work, and say how the scale fits the lidar.

        Args:
            nusc: the data set.
            tokens: sample tokens of the keyframes that are trained on.
            image_size: height and width that are trained with.

        Yields:
            One line per camera that lidar falls on.

        Raises:
            CheckpointError: depth falls where it should rise: it is disparity.
            DatasetError: a file is missing, or all images are damaged.
        """
        said, measured = [], []
        names: tuple[str, ...] = ()
        every = max(1, len(tokens) // LOOKED_AT)
        for token in tokens[::every][:LOOKED_AT]:
            rig = readable_glance(nusc, token, image_size)
            names = rig.names
            said.append(self(nusc, token, rig).depth_m)
            measured.append(torch.full_like(said[-1], torch.nan))
            if nuscenes.has_lidar(nusc, token):
                measured[-1] = lidar_depth(nuscenes.lidar_points(nusc, token), rig)
        depth, lidar = torch.stack(said), torch.stack(measured)
        if inverted(depth.flatten(0, 1)) or _falls(depth, lidar):
            raise CheckpointError(
                "the depth network's values are larger the nearer things are: it says disparity; "
                "expected metric depth"
            )
        for camera, name in enumerate(names):
            yield from _scale(name, depth[:, camera], lidar[:, camera])


def _falls(depth_m: Tensor, lidar_m: Tensor) -> bool:
    """Whether depth falls where the lidar's rises."""
    known = depth_m.isfinite() & lidar_m.isfinite()
    if known.sum() < _ENOUGH:
        return False
    logs = torch.stack([depth_m[known].log(), lidar_m[known].log()])
    return bool(torch.corrcoef(logs)[0, 1] < 0)


def _scale(name: str, depth_m: Tensor, lidar_m: Tensor) -> Iterator[str]:
    known = depth_m.isfinite() & lidar_m.isfinite()
    if known.sum() < _ENOUGH:
        return
    ratio = float((depth_m[known] / lidar_m[known]).median())
    line = f"{name}: the network's depth is {ratio:.2f} of the lidar's (median of {known.sum()})"
    if not 1 / _FAR_OFF < ratio < _FAR_OFF:
        line += "; it is not rescaled: is the canonical focal length right (--mono-focal)?"
    yield line
