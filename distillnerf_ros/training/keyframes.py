"""Keyframes of a real log, whose files and poses may be broken."""

import dataclasses
import sys
from collections.abc import Sequence

import torch

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import DatasetError, ImageError
from distillnerf_ros.scene.log import check_poses


def readable_glance(nusc: NuScenes, token: str, image_size: tuple[int, int]) -> CameraRig:
    """The cameras of a keyframe; one whose image is damaged counts as missing, and is named.

    Args:
        nusc: the data set.
        token: sample token.
        image_size: height and width in pixels of the images.

    Raises:
        DatasetError: a listed file is not there, or no image can be read.
    """
    try:
        return nuscenes.load_glance(nusc, token, image_size)
    except ImageError:
        return _without_damaged(nusc, token, image_size)


def _without_damaged(nusc: NuScenes, token: str, image_size: tuple[int, int]) -> CameraRig:
    there = [name for name in CAMERA_NAMES if name in nusc.get("sample", token)["data"]]
    whole: dict[str, CameraRig] = {}
    for name in there:
        try:
            whole[name] = nuscenes.load_glance(nusc, token, image_size, (name,))
        except ImageError as error:
            print(f"camera left out: {error}", file=sys.stderr)
    if not whole:
        raise DatasetError(
            f"all {len(there)} images of sample {token} are damaged; copy the images again"
        )
    some = next(iter(whole.values()))
    lost = dataclasses.replace(
        some,
        images=torch.zeros_like(some.images),
        intrinsics=torch.eye(3)[None],
        ego_from_camera=torch.eye(4)[None],
        valid=torch.zeros(1, dtype=torch.bool),
    )
    rigs = [whole.get(name, lost) for name in CAMERA_NAMES]
    return CameraRig(
        CAMERA_NAMES,
        torch.cat([rig.images for rig in rigs]),
        torch.cat([rig.intrinsics for rig in rigs]),
        torch.cat([rig.ego_from_camera for rig in rigs]),
        torch.cat([rig.valid for rig in rigs]),
    )


def check_keyframes(nusc: NuScenes, tokens: Sequence[str]) -> None:
    """Refuse keyframes within which the vehicle's pose jumps from one sensor to the next.

    Raises:
        DatasetError: names the sample, the stamp and the distance.
    """
    for token in tokens:
        data = nusc.get("sample", token)["data"]
        names = [name for name in (*CAMERA_NAMES, nuscenes.LIDAR_NAME) if name in data]
        records = [nusc.get("sample_data", data[name]) for name in names]
        try:
            check_poses(nusc, sorted(records, key=lambda record: record["timestamp"]))
        except DatasetError as error:
            raise DatasetError(f"sample {token}: {error}") from error
