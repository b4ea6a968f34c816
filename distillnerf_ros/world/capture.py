"""Sensor files, labels and boxes of one keyframe of a procedural scene and the sweeps after it."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from distillnerf_ros.cameras.transforms import (
    invert_rigid,
    matrix_from_quaternion,
    transform_points,
)
from distillnerf_ros.data.categories import LIDARSEG_FROM_CATEGORY
from distillnerf_ros.data.lidar import project
from distillnerf_ros.data.nuscenes import LIDAR_NAME
from distillnerf_ros.data.occ3d import write_labels
from distillnerf_ros.data.tables import SceneTables, token
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.files import whole_file
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world import rig_constants
from distillnerf_ros.world.frames import Glance, Lidar, glance, lidar_sweep
from distillnerf_ros.world.scene import Scene, make_scene
from distillnerf_ros.world.things import Box

FIRST_KEYFRAME_S = 0.1  # the first camera fires 44 ms before its lidar stamp
STATE_FOLDER = ".world"
_EPOCH_US = 1_533_000_000_000_000
_SCENE_SPACING_US = 100_000_000
_JPEG_QUALITY = 92
_ANNOTATION_RANGE_M = 80.0
_MOVING_MPS = 0.3
_VISIBLE_ENOUGH = 0.1  # part of a box that must be seen where no lidar beam met it
_VISIBILITY_LIMITS = (0.4, 0.6, 0.8)  # nuScenes' visibility levels
_GROUND_CATEGORIES = {
    "driveable surface": "flat.driveable_surface",
    "other flat": "flat.other",
    "sidewalk": "flat.sidewalk",
    "terrain": "flat.terrain",
}


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
    """Records of one interval, and the name of the scene's light and weather."""

    look: str
    readings: list[Reading]
    annotations: list[Annotation]

    @classmethod
    def read(cls, file: Path) -> "Capture":
        """Read what ``capture`` left."""
        fields = json.loads(file.read_text())
        return cls(
            fields["look"],
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
    """Timestamp in microseconds of a scene time; scenes are 100 s apart."""
    return _EPOCH_US + seed * _SCENE_SPACING_US + round(time_s * 1e6)


@functools.lru_cache(maxsize=2)
def scene_of(seed: int, seconds: float) -> Scene:
    """The scene of a seed."""
    return make_scene(seed, seconds)


def capture(interval: Interval) -> None:
    """Write all files of an interval, and last its record."""
    interval.record_file.parent.mkdir(parents=True, exist_ok=True)
    readings, annotations = _keyframe(interval)
    if interval.settings.sweeps and interval.index + 1 < len(interval.settings.keyframe_times_s()):
        readings += _sweeps(interval)
    scene, _ = _scene_and_time(interval)
    record = dataclasses.asdict(Capture(scene.look.name, readings, annotations))
    with whole_file(interval.record_file, DatasetError) as part:
        part.write_text(json.dumps(record))


def _keyframe(interval: Interval) -> tuple[list[Reading], list[Annotation]]:
    """Pictures, lidar with labels, occupancy and boxes at the keyframe."""
    from distillnerf_ros.world.occupancy import occupancy_truth

    scene, time_s = _scene_and_time(interval)
    seen = glance(scene, time_s, interval.settings.image_size)
    boxes = scene.objects_at(time_s)
    sample = token("sample", scene_name(interval.seed), stamp_us(interval.seed, time_s))
    labels = interval.root / "gts" / scene_name(interval.seed) / sample / "labels.npz"
    write_labels(labels, occupancy_truth(scene, time_s))
    lidarseg(seen.lidar, boxes).tofile(interval.lidarseg_file)
    readings = _save_images(interval, scene, seen, is_key_frame=True)
    readings.append(_save_sweep(interval, scene, time_s, seen.lidar, is_key_frame=True))
    return readings, annotate(seen, boxes)


def _sweeps(interval: Interval) -> list[Reading]:
    """Pictures at 12 Hz and lidar at 20 Hz between this keyframe and the next."""
    scene, time_s = _scene_and_time(interval)
    readings = []
    for step in range(1, int(rig_constants.CAMERA_RATE_HZ / rig_constants.KEYFRAME_RATE_HZ)):
        seen = glance(
            scene, time_s + step / rig_constants.CAMERA_RATE_HZ, interval.settings.image_size
        )
        readings += _save_images(interval, scene, seen, is_key_frame=False)
    for step in range(1, int(rig_constants.LIDAR_RATE_HZ / rig_constants.KEYFRAME_RATE_HZ)):
        stamp_s = time_s + step / rig_constants.LIDAR_RATE_HZ
        sweep = lidar_sweep(scene, stamp_s)
        readings.append(_save_sweep(interval, scene, stamp_s, sweep, is_key_frame=False))
    return readings


def _scene_and_time(interval: Interval) -> tuple[Scene, float]:
    scene = scene_of(interval.seed, interval.settings.seconds)
    return scene, interval.settings.keyframe_times_s()[interval.index]


def _save_images(
    interval: Interval, scene: Scene, seen: Glance, is_key_frame: bool
) -> list[Reading]:
    import cv2

    readings = []
    for name, stamp_s, image in zip(
        seen.rig.names, seen.stamps_s.tolist(), seen.rig.images, strict=True
    ):
        pixels = image.permute(1, 2, 0).mul(255).round().byte().numpy()
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        data = cv2.imencode(".jpg", pixels[..., ::-1], options)[1].tobytes()
        readings.append(_save(interval, scene, name, stamp_s, is_key_frame, data))
    return readings


def _save_sweep(
    interval: Interval, scene: Scene, time_s: float, sweep: Lidar, is_key_frame: bool
) -> Reading:
    """Write x, y, z, intensity, ring as float32 in the frame of LIDAR_TOP."""
    lidar_from_ego = torch.from_numpy(invert_rigid(rig_constants.ego_from_lidar()))
    points = transform_points(lidar_from_ego, sweep.points.double())
    columns = [points.float(), sweep.intensity[:, None], sweep.ring[:, None].float()]
    data = torch.cat(columns, dim=1).numpy().astype("<f4").tobytes()
    return _save(interval, scene, LIDAR_NAME, time_s, is_key_frame, data)


def _save(
    interval: Interval, scene: Scene, channel: str, time_s: float, is_key_frame: bool, data: bytes
) -> Reading:
    """Write one sensor file under its nuScenes name."""
    timestamp_us = stamp_us(interval.seed, time_s)
    path = interval.root / new_tables(interval.seed).filename(channel, timestamp_us, is_key_frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Reading(channel, timestamp_us, is_key_frame, scene.ego_pose(time_s).tolist())


def lidarseg(sweep: Lidar, boxes: list[Box]) -> UInt8[np.ndarray, " P"]:
    """nuScenes-lidarseg category of every lidar point."""
    ground = {
        OCC3D_CLASSES.index(name): LIDARSEG_FROM_CATEGORY[category]
        for name, category in _GROUND_CATEGORIES.items()
    }
    of_class = np.array([ground.get(label, 0) for label in range(len(OCC3D_CLASSES))], np.uint8)
    of_instance = np.zeros(max((box.id for box in boxes), default=0) + 1, np.uint8)
    for box in boxes:
        of_instance[box.id] = LIDARSEG_FROM_CATEGORY[box.category]
    instances = sweep.instances.numpy()
    return np.where(instances > 0, of_instance[instances], of_class[sweep.labels.numpy()])


def annotate(seen: Glance, boxes: list[Box]) -> list[Annotation]:
    """Boxes of the objects nuScenes would annotate: near, and met by the lidar or a camera."""
    last = max((box.id for box in boxes), default=0)
    returns = torch.bincount(seen.lidar.instances.long(), minlength=last + 1)
    annotations = []
    for box in boxes:
        away_m = np.hypot(*(np.array(box.center_m) - seen.map_from_ego[:3, 3])[:2])
        if box.category.startswith("static.") or away_m > _ANNOTATION_RANGE_M:
            continue
        lidar_points = int(returns[box.id])
        visible = visible_part(seen, box)
        if lidar_points == 0 and visible < _VISIBLE_ENOUGH:
            continue
        annotations.append(
            Annotation(
                instance=box.id,
                category=box.category,
                map_from_box=_map_from_box(box).tolist(),
                size_m=list(box.size_m),
                lidar_points=lidar_points,
                visibility=1 + int(np.searchsorted(_VISIBILITY_LIMITS, visible, side="right")),
                attributes=_attributes(box),
            )
        )
    return annotations


def visible_part(seen: Glance, box: Box) -> float:
    """Part of a box, 0..1, that no other object hides from the cameras.

    Of a grid of points in the box, those count that some camera sees on the object itself or
    before whatever it sees there.
    """
    side = torch.linspace(-0.4, 0.4, 5, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), dim=-1).reshape(-1, 3)
    ego_from_box = torch.from_numpy(invert_rigid(seen.map_from_ego) @ _map_from_box(box))
    points = transform_points(ego_from_box, grid * torch.tensor(box.size_m).double()).float()
    height, width = seen.rig.image_size
    visible = torch.zeros(len(points), dtype=torch.bool)
    for camera in range(len(seen.rig.names)):
        uv, depth = project(points, seen.rig, camera)
        u, v = uv.unbind(dim=1)
        inside = (depth > 0.1) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        rows, cols = v[inside].long(), u[inside].long()
        own = seen.instances[camera, rows, cols] == box.id
        before = depth[inside] < seen.depth_m[camera, rows, cols].nan_to_num(torch.inf)
        visible[inside] |= own | before
    return float(visible.float().mean())


def _map_from_box(box: Box) -> Float[np.ndarray, "4 4"]:
    half = box.yaw / 2
    return matrix_from_quaternion(
        (float(np.cos(half)), 0.0, 0.0, float(np.sin(half))), box.center_m
    )


def _attributes(box: Box) -> list[str]:
    """The attribute nuScenes gives to a category."""
    moves = bool(np.hypot(*box.velocity_mps) > _MOVING_MPS)
    if box.category in ("vehicle.bicycle", "vehicle.motorcycle"):
        return ["cycle.with_rider" if box.moving else "cycle.without_rider"]
    if box.category.startswith("vehicle."):
        still = "vehicle.stopped" if box.moving else "vehicle.parked"
        return ["vehicle.moving" if moves else still]
    if box.category.startswith("human.pedestrian.") and "stroller" not in box.category:
        return ["pedestrian.moving" if moves else "pedestrian.standing"]
    return []
