"""What a field is judged against: depth, and what really moves.

In the procedural world both are cast anew for every pixel of the keyframes: depth up to the
lidar's range, and the silhouettes of all things faster than 0.5 m/s. In any other data set depth
is the keyframe's lidar, and moving things are their annotated boxes, projected: hulls that are
larger than the things and not hidden by what stands before them, which no field can match fully.
Where a box's velocity is not known, nobody knows what moves; nor in a keyframe without any
annotations, or with one of a category that nuScenes does not have.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import lidar_depth
from distillnerf_ros.data.nuscenes import Box, NuScenes
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.scene.log import SceneLog
from distillnerf_ros.world import rig_constants
from distillnerf_ros.world.capture import STATE_FOLDER, Settings
from distillnerf_ros.world.frames import glance
from distillnerf_ros.world.scene import make_scene

MOVING_MPS = 0.5
"""Faster things move."""


@dataclasses.dataclass(frozen=True)
class KeyframeTruth:
    """What is known of the images of one keyframe.

    Attributes:
        frames: index into the log of each image.
        depth_m: (N, H, W) along the optical axis, NaN where unknown, infinite where sky is known.
        moving: (N, H, W) 1 where something moves, 0 where nothing does, -1 where nobody knows.
    """

    frames: tuple[int, ...]
    depth_m: Float[Tensor, "N H W"]
    moving: Int[Tensor, "N H W"]


def keyframe_truths(nusc: NuScenes, scene: dict, log: SceneLog) -> Iterator[KeyframeTruth]:
    """Truth of each keyframe that has images in the log."""
    of_token = {token: number for number, token in enumerate(log.tokens)}
    world = world_settings(nusc)
    for number, sample in enumerate(nuscenes.keyframes(nusc, scene)):
        data = nusc.get("sample", sample)["data"]
        names = [n for n in log.cameras if data.get(n) in of_token]
        frames = tuple(of_token[data[name]] for name in names)
        if not frames:
            continue
        if world is not None:
            yield _cast(scene["name"], world, number, tuple(names), frames, log.image_size)
        elif nuscenes.LIDAR_NAME in data:
            yield _measured(nusc, sample, tuple(names), frames, log)


def world_settings(nusc: NuScenes) -> Settings | None:
    """Settings of a procedural data set; None for any other."""
    file = Path(nusc.dataroot) / STATE_FOLDER / "settings.json"
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_text())
        size = tuple(values["image_size"])
        return Settings(values["seconds"], (size[0], size[1]), values["sweeps"])
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise DatasetError(f"{file} is damaged ({error!r}); write the world again") from error


def _cast(
    name: str,
    world: Settings,
    number: int,
    cameras: tuple[str, ...],
    frames: tuple[int, ...],
    size: tuple[int, int],
) -> KeyframeTruth:
    scene = make_scene(int(name.removeprefix("scene-")), world.seconds)
    time_s = world.keyframe_times_s()[number]
    seen = glance(scene, time_s, size, cameras=cameras)
    moving = [
        index + 1
        for index, box in enumerate(scene.objects_at(time_s))
        if np.hypot(*box.velocity_mps) > MOVING_MPS
    ]
    sky, far = seen.depth_m.isnan(), seen.depth_m > rig_constants.LIDAR_RANGE_M
    depth = seen.depth_m.masked_fill(far, torch.nan).masked_fill(sky, torch.inf)
    moves = torch.isin(seen.instances, torch.tensor(moving))
    return KeyframeTruth(frames, depth, moves.to(torch.int8))


def _measured(
    nusc: NuScenes,
    sample: str,
    cameras: tuple[str, ...],
    frames: tuple[int, ...],
    log: SceneLog,
) -> KeyframeTruth:
    rig = nuscenes.load_glance(nusc, sample, log.image_size, cameras)
    depth = lidar_depth(nuscenes.lidar_points(nusc, sample), rig)
    return KeyframeTruth(frames, depth, _annotated(rig, _boxes(nusc, sample)))


def _boxes(nusc: NuScenes, sample: str) -> list[Box]:
    """The annotations of a keyframe; none where they cannot be told."""
    try:
        return list(nuscenes.boxes(nusc, sample))
    except DatasetError as error:
        tqdm.write(f"what moves in keyframe {sample} is not judged: {error}", sys.stderr)
        return []


def _annotated(rig: CameraRig, boxes: list[Box]) -> Int[Tensor, "N H W"]:
    """What boxes say of motion; nothing where the velocity of none is known."""
    speeds = [float(np.hypot(*box.velocity_mps)) for box in boxes]
    moving = torch.full((len(rig.names), *rig.image_size), -1, dtype=torch.int8)
    if np.isnan(speeds).all():
        return moving
    fast = [box for box, speed in zip(boxes, speeds, strict=True) if speed > MOVING_MPS]
    unknown = [box for box, speed in zip(boxes, speeds, strict=True) if np.isnan(speed)]
    for camera, known in enumerate(moving):
        known[:] = _hulls(rig, camera, fast)
        known[_hulls(rig, camera, unknown)] = -1
    return moving


def _hulls(rig: CameraRig, camera: int, boxes: list[Box]) -> Bool[Tensor, "H W"]:
    """Mask of the convex hulls of boxes that lie wholly before a camera."""
    import cv2

    height, width = rig.image_size
    mask = np.zeros((height, width), np.uint8)
    camera_from_ego = torch.linalg.inv(rig.ego_from_camera[camera].double()).numpy()
    k = rig.intrinsics[camera].double().numpy()
    for box in boxes:
        optical = corners_m(box) @ camera_from_ego[:3, :3].T + camera_from_ego[:3, 3]
        if (optical[:, 2] < 0.5).any():
            continue
        pixels = optical @ k.T
        hull = cv2.convexHull((pixels[:, :2] / pixels[:, 2:]).round().astype(np.int32))
        cv2.fillConvexPoly(mask, hull, (1,))
    return torch.from_numpy(mask.astype(bool))


def corners_m(box: Box) -> Float[np.ndarray, "8 3"]:
    """Corners of a box in its ego frame."""
    signs = np.stack(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5]), -1).reshape(-1, 3)
    local = signs * box.size_m
    cos, sin = np.cos(box.yaw_rad), np.sin(box.yaw_rad)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return local @ turn.T + box.center_m
