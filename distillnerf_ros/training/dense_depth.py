"""Dense depth of a keyframe by a teacher, and what the keyframe's own lidar adds to it."""

import dataclasses
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.training.cache import Arrays, kept
from distillnerf_ros.training.samples import View
from distillnerf_ros.training.surface import VoxelLabels, voxel_labels

LIDAR_BEHIND = 1.1
"""Returns that lie farther than this times the teacher's depth are taken for hidden."""
VERSION = 1
"""Counts changes of the labels that make cached ones stale."""


@dataclasses.dataclass(frozen=True)
class Dense:
    """What a teacher knows of one keyframe.

    Attributes:
        depth_m: (N, H, W) along the optical axis of the rig's cameras, infinite for sky, NaN
            where unsure or where a camera is missing.
        name: tells this depth from any other of the same keyframe, in a cache.
        virtual: what cameras moved together would see, one view for each place; or none.
    """

    depth_m: Float[Tensor, "N H W"]
    name: str
    virtual: tuple[View, ...] = ()


@runtime_checkable
class DenseTeacher(Protocol):
    """Knows the dense depth of keyframes."""

    def __call__(self, nusc: NuScenes, token: str, rig: CameraRig) -> Dense:
        """Dense depth of a keyframe.

        Args:
            nusc: the data set.
            token: sample token.
            rig: its cameras, at the size that is trained with.

        Raises:
            DatasetError: nothing fit is known of it.
        """


def with_lidar(
    dense_m: Float[Tensor, "N H W"], lidar_m: Float[Tensor, "N H W"]
) -> Float[Tensor, "N H W"]:
    """Dense depth, mended where a lidar return tells better.

    The lidar stands above the cameras and looks over things: a return that lies clearly behind
    what the teacher sees is hidden from the camera and is left out. Any other is the better
    measurement: where the teacher is not sure, where it sees through the surface, and where both
    agree. On two keyframes of a scene fitted for four minutes the mean relative error at the
    lidar's pixels was 0.056 by the teacher, 0.050 by the lidar (hidden returns) and 0.026 by both;
    over all known pixels it fell from 0.052 to 0.045.

    Args:
        dense_m: the teacher's, infinite for sky, NaN where unsure.
        lidar_m: of the lidar, NaN where no return fell.
    """
    better = dense_m.isnan() | (lidar_m <= LIDAR_BEHIND * dense_m)
    return torch.where(lidar_m.isfinite() & better, lidar_m, dense_m)


def kept_labels(
    cache: Path | None, key: str, rig: CameraRig, depth_m: Float[Tensor, "N H W"]
) -> VoxelLabels:
    """Voxel labels of dense depth, from the cache or made (and kept).

    Args:
        cache: folder, or None.
        key: says which depth it is.
        rig: the cameras.
        depth_m: (N, H, W), infinite for sky, NaN where nothing is known.
    """
    parts = [field.name for field in dataclasses.fields(VoxelLabels)]

    def make() -> Arrays:
        labels = voxel_labels(rig, depth_m)
        return {part: getattr(labels, part).numpy().astype(np.int32) for part in parts}

    arrays = kept(cache, "voxels", f"{VERSION}-{key}", make)
    return VoxelLabels(*(torch.from_numpy(arrays[part]).long() for part in parts))
