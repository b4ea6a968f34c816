"""Sensor files, labels and boxes of one keyframe of a procedural scene and the sweeps after it."""

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.data.categories import LIDARSEG_FROM_CATEGORY
from distillnerf_ros.data.lidar import project
from distillnerf_ros.data.nuscenes import LIDAR_NAME
from distillnerf_ros.data.occ3d import write_labels
from distillnerf_ros.data.tables import SceneTables, token
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world import rig_constants

FIRST_KEYFRAME_S = 0.1  # the first camera fires 44 ms before its lidar stamp
STATE_FOLDER = ".world"
_EPOCH_US = 1_533_000_000_000_000
_SCENE_SPACING_US = 100_000_000
_JPEG_QUALITY = 92
_ANNOTATION_RANGE_M = 80.0
_MOVING_MPS = 0.3


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every scene of a data set shares.

    Attributes:
        seconds: length of a scene.
        image_size: height and width of the images in pixels.
        sweeps: also write the readings between keyframes (cameras 12 Hz, lidar 20 Hz).
    """

    seconds: float = 20.0
    image_size: tuple[int, int] = (900, 1600)
    sweeps: bool = True

    def __post_init__(self) -> None:
        """Check the length.

        Raises:
            ConfigError: it is out of range.
        """
        if not 0.5 <= self.seconds <= 60:
            raise ConfigError(f"--seconds {self.seconds} is out of range; expected 0.5..60")

    def keyframe_times_s(self) -> list[float]:
        """Scene times of the keyframes (2 Hz), which are LIDAR_TOP stamps."""
        count = int((self.seconds - FIRST_KEYFRAME_S) * rig_constants.KEYFRAME_RATE_HZ + 1e-6) + 1
        return [FIRST_KEYFRAME_S + i / rig_constants.KEYFRAME_RATE_HZ for i in range(count)]


@dataclasses.dataclass(frozen=True)
class Interval:
    """One keyframe of one scene and the sweeps up to the next keyframe.

    Attributes:
        root: data root.
        seed: scene seed.
        index: number of the keyframe.
        settings: settings of the data set.
    """

    root: Path
    seed: int
    index: int
    settings: Settings

    @property
    def record_file(self) -> Path:
        """Written last: the interval is done when it exists."""
        return self.root / STATE_FOLDER / scene_name(self.seed) / f"{self.index:04d}.json"

    @property
    def lidarseg_file(self) -> Path:
        """Lidarseg labels until the scene is finished."""
        return self.record_file.with_suffix(".lidarseg.bin")


@dataclasses.dataclass(frozen=True)
class Reading:
    """One file of one sensor, with the ego pose (4x4 rows) at its stamp in the scene's frame."""

    channel: str
    timestamp_us: int
    is_key_frame: bool
    map_from_ego: list[list[float]]


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One box of a keyframe, in the scene's frame; size is length, width, height."""

    instance: int
    category: str
    map_from_box: list[list[float]]
    size_m: list[float]
    lidar_points: int
    visibility: int
    attributes: list[str]


@dataclasses.dataclass(frozen=True)
class Capture:
    """Records of one interval."""

    readings: list[Reading]
    annotations: list[Annotation]

    @classmethod
    def read(cls, file: Path) -> "Capture":
        """Read what ``capture`` left."""
        fields = json.loads(file.read_text())
        return cls(
            [Reading(**row) for row in fields["readings"]],
            [Annotation(**row) for row in fields["annotations"]],
        )


def scene_name(seed: int) -> str:
    """nuScenes-like scene name of a seed."""
    return f"scene-{seed:04d}"


def new_tables(seed: int) -> SceneTables:
    """Empty tables of a scene, which also name its files."""
    return SceneTables(
        scene_name(seed), f"world{seed:04d}-2018-07-31-01-20-00+0000", "world", "2018-07-31"
    )


def stamp_us(seed: int, time_s: float) -> int:
    """nuScenes timestamp of a scene time; scenes are 100 s apart."""
    return _EPOCH_US + seed * _SCENE_SPACING_US + round(time_s * 1e6)


@functools.lru_cache(maxsize=2)
def scene_of(seed: int, seconds: float) -> Any:
    """The scene of a seed."""
    from distillnerf_ros.world.scene import make_scene

    return make_scene(seed, seconds + 1.0)


def capture(interval: Interval) -> None:
    """Write all files of an interval, and last its record."""
    interval.record_file.parent.mkdir(parents=True, exist_ok=True)
    readings, annotations = _keyframe(interval)
    if interval.settings.sweeps and interval.index + 1 < len(interval.settings.keyframe_times_s()):
        readings += _sweeps(interval)
    record = dataclasses.asdict(Capture(readings, annotations))
    partial = interval.record_file.with_suffix(".partial")
    partial.write_text(json.dumps(record))
    os.replace(partial, interval.record_file)


def _keyframe(interval: Interval) -> tuple[list[Reading], list[Annotation]]:
    from distillnerf_ros.world.frames import glance
    from distillnerf_ros.world.occupancy import occupancy_truth

    settings = interval.settings
    scene = scene_of(interval.seed, settings.seconds)
    time_s = settings.keyframe_times_s()[interval.index]
    seen = glance(scene, time_s, settings.image_size)
    sample = token("sample", scene_name(interval.seed), stamp_us(interval.seed, time_s))
    labels = interval.root / "gts" / scene_name(interval.seed) / sample / "labels.npz"
    write_labels(labels, occupancy_truth(scene, time_s))
    seen.lidar.lidarseg.tofile(interval.lidarseg_file)
    readings = _save_images(interval, scene, seen, is_key_frame=True)
    readings.append(_save_sweep(interval, scene, time_s, seen, is_key_frame=True))
    return readings, _annotations(scene, time_s, seen)


def _save(interval: Interval, channel: str, time_s: float, is_key: bool, data: bytes) -> Reading:
    """Write one sensor file under its nuScenes name."""
    timestamp_us = stamp_us(interval.seed, time_s)
    name = new_tables(interval.seed).filename(channel, timestamp_us, is_key)
    path = interval.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    scene = scene_of(interval.seed, interval.settings.seconds)
    return Reading(channel, timestamp_us, is_key, scene.ego_pose(time_s).tolist())
