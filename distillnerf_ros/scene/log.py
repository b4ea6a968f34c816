"""One scene of a driving log in memory: images with poses and stamps, and lidar sweeps."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from distillnerf_ros.cameras import CAMERA_NAMES, Rays
from distillnerf_ros.cameras.rig import scale_intrinsics
from distillnerf_ros.cameras.transforms import invert_rigid
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.jpeg import decode_jpeg
from distillnerf_ros.data.lidar import off_vehicle
from distillnerf_ros.data.nuscenes import LIDAR_NAME, NuScenes
from distillnerf_ros.errors import DatasetError, ImageError
from distillnerf_ros.scene.sky import read_sky_masks

MAX_SPEED_MPS = 60.0
"""Poses that imply a higher speed are a jump of the localisation."""
POSE_NOISE_M = 0.5
"""Distance between two poses that is no jump, however short the time."""
MAX_DAMAGED = 0.1
"""Share of images that may be damaged before a scene is refused."""
NEAREST_M = 1.0
"""Nearer lidar returns are left out."""

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sweeps:
    """Lidar of a log, in the scene frame.

    Attributes:
        origins_m: (S, 3) where the sensor was.
        times_s: (S,) when.
        points_m: (P, 3) all returns.
        sweep: (P,) which sweep each return belongs to, ascending.
    """

    origins_m: Float[Tensor, "S 3"]
    times_s: Float[Tensor, " S"]
    points_m: Float[Tensor, "P 3"]
    sweep: Int[Tensor, " P"]

    def rays(self, index: Int[Tensor, " R"]) -> tuple[Rays, Float[Tensor, " R"]]:
        """Beams of some returns, with unit directions, and their lengths in metres."""
        origins = self.origins_m[self.sweep[index]]
        beams = self.points_m[index] - origins
        ranges = beams.norm(dim=-1)
        return Rays(origins, beams / ranges[:, None]), ranges


@dataclasses.dataclass(frozen=True)
class SceneLog:
    """All images of a scene, ordered by stamp.

    Attributes:
        name: of the scene.
        cameras: camera names.
        images: (F, 3, H, W) RGB 0..255.
        camera: (F,) index into ``cameras``.
        times_s: (F,) since the scene's first image.
        intrinsics: (F, 3, 3) in pixels of the images.
        scene_from_camera: (F, 4, 4) poses of the optical frames.
        held_out: (F,) images that are kept from fitting.
        tokens: sample_data token of each image.
        sky: (F, H, W) 1 where the sky is, 0 where something else is, -1 where nobody knows; None
            without masks.
        sweeps: lidar; None for a log without, or whose files are all empty.
        scene_from_map: (4, 4) float64.
        begin_us: stamp of time 0.
    """

    name: str
    cameras: tuple[str, ...]
    images: UInt8[Tensor, "F 3 H W"]
    camera: Int[Tensor, " F"]
    times_s: Float[Tensor, " F"]
    intrinsics: Float[Tensor, "F 3 3"]
    scene_from_camera: Float[Tensor, "F 4 4"]
    held_out: Bool[Tensor, " F"]
    tokens: tuple[str, ...]
    sky: Int[Tensor, "F H W"] | None
    sweeps: Sweeps | None
    scene_from_map: Float[np.ndarray, "4 4"]
    begin_us: int

    @property
    def duration_s(self) -> float:
        """Time from the first image to the last."""
        return float(self.times_s.max())

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def path_m(self) -> Float[Tensor, "F 3"]:
        """Where the cameras were, in the scene frame."""
        return self.scene_from_camera[:, :3, 3]


def read_log(
    nusc: NuScenes,
    scene: Record,
    image_size: tuple[int, int],
    hold_out: int = 0,
    sky: Path | None = None,
) -> SceneLog:
    """Read all images (keyframes and sweeps) and the lidar of a scene.

    Damaged images are left out with a warning. A log without lidar returns has ``sweeps`` None.

    Args:
        nusc: the data set.
        scene: record of the scene.
        image_size: height and width in pixels of the images.
        hold_out: every so many-th stamp of each camera is kept from fitting; 0 keeps none.
        sky: folder of masks ``TOKEN.png`` by sample_data token, see ``scene.sky``.

    Raises:
        DatasetError: no images, files missing, too many damaged, or poses that jump.
    """
    records = nuscenes.sensor_records(nusc, scene)
    check_poses(nusc, records)
    shots = _shots(scene, records)
    scene_from_map, begin_us = _frame(nusc, shots)
    kept, images = _images(nusc, shots, image_size)
    cameras = tuple(name for name in CAMERA_NAMES if any(r["channel"] == name for r in kept))
    tokens = tuple(r["token"] for r in kept)
    poses = [
        scene_from_map @ nuscenes.map_from_ego(nusc, r) @ nuscenes.ego_from_sensor(nusc, r)
        for r in kept
    ]
    return SceneLog(
        name=scene["name"],
        cameras=cameras,
        images=images,
        camera=torch.tensor([cameras.index(r["channel"]) for r in kept]),
        times_s=torch.tensor([(r["timestamp"] - begin_us) * 1e-6 for r in kept]),
        intrinsics=torch.stack([_intrinsics(nusc, r, image_size) for r in kept]),
        scene_from_camera=torch.from_numpy(np.stack(poses)).float(),
        held_out=_held_out(kept, hold_out),
        tokens=tokens,
        sky=None if sky is None else read_sky_masks(sky, tokens, image_size),
        sweeps=_sweeps(nusc, records, scene_from_map, begin_us),
        scene_from_map=scene_from_map,
        begin_us=begin_us,
    )


def check_poses(nusc: NuScenes, records: list[Record]) -> None:
    """Refuse a log whose vehicle jumps.

    Raises:
        DatasetError: names the stamps and the distance.
    """
    last: tuple[int, np.ndarray] | None = None
    for record in records:
        place = nuscenes.map_from_ego(nusc, record)[:3, 3]
        if last is not None:
            seconds = (record["timestamp"] - last[0]) * 1e-6
            moved_m = float(np.linalg.norm(place - last[1]))
            if not moved_m <= POSE_NOISE_M + MAX_SPEED_MPS * seconds:
                raise DatasetError(
                    f"the vehicle's pose jumps {moved_m:.1f} m within {seconds:.3f} s before "
                    f"stamp {record['timestamp']} ({record['channel']}); expected at most "
                    f"{MAX_SPEED_MPS:.0f} m/s: correct the localisation or cut the scene there"
                )
        last = (record["timestamp"], place)


def scene_frame(nusc: NuScenes, scene: Record) -> tuple[Float[np.ndarray, "4 4"], int]:
    """Where the map lies in the frame of a scene's log, and its begin in microseconds.

    Raises:
        DatasetError: the scene has no image.
    """
    return _frame(nusc, _shots(scene, nuscenes.sensor_records(nusc, scene)))


def _shots(scene: Record, records: list[Record]) -> list[Record]:
    shots = [record for record in records if record["channel"] in CAMERA_NAMES]
    if not shots:
        raise DatasetError(f"scene {scene['name']} has no image of {', '.join(CAMERA_NAMES)}")
    return shots


def _frame(nusc: NuScenes, shots: list[Record]) -> tuple[Float[np.ndarray, "4 4"], int]:
    keys = [record for record in shots if record["is_key_frame"]] or shots
    middle = nuscenes.map_from_ego(nusc, keys[len(keys) // 2])
    return invert_rigid(middle), shots[0]["timestamp"]


def _images(
    nusc: NuScenes, shots: list[Record], image_size: tuple[int, int]
) -> tuple[list[Record], UInt8[Tensor, "F 3 H W"]]:
    """The images that can be read, and their records."""
    kept, images, damaged = [], [], []
    for record in shots:
        path = nuscenes.sensor_path(nusc, record)
        try:
            pixels = decode_jpeg(path.read_bytes(), image_size, str(path))
        except ImageError as error:
            damaged.append(str(error))
            continue
        kept.append(record)
        images.append(torch.from_numpy(pixels).permute(2, 0, 1))
    if len(damaged) > MAX_DAMAGED * len(shots):
        raise DatasetError(
            f"{len(damaged)} of {len(shots)} images are damaged, expected at most "
            f"{MAX_DAMAGED:.0%}; the first: {damaged[0]}"
        )
    for message in damaged:
        print(f"left out: {message}", file=sys.stderr)
    return kept, torch.stack(images)


def _intrinsics(
    nusc: NuScenes, record: Record, image_size: tuple[int, int]
) -> Float[Tensor, "3 3"]:
    stored = torch.from_numpy(nuscenes.intrinsics(nusc, record))
    scale = image_size[0] / record["height"], image_size[1] / record["width"]
    return scale_intrinsics(stored, *scale).float()


def _held_out(kept: list[Record], every: int) -> Bool[Tensor, " F"]:
    """Every so many-th image of each camera, from the middle of the first such run on."""
    counts: dict[str, int] = {}
    flags = []
    for record in kept:
        number = counts.get(record["channel"], 0)
        counts[record["channel"]] = number + 1
        flags.append(bool(every) and number % every == every // 2)
    return torch.tensor(flags)


def _sweeps(
    nusc: NuScenes, records: list[Record], scene_from_map: np.ndarray, begin_us: int
) -> Sweeps | None:
    origins: list[Tensor] = []
    times, points, index = [], [], []
    for record in (r for r in records if r["channel"] == LIDAR_NAME):
        returns = nuscenes.read_lidar(nusc, record)[:, :3].astype(np.float64)
        ego_from_lidar = nuscenes.ego_from_sensor(nusc, record)
        in_ego = returns @ ego_from_lidar[:3, :3].T + ego_from_lidar[:3, 3]
        far = np.linalg.norm(returns, axis=1) >= NEAREST_M
        in_ego = in_ego[far & off_vehicle(torch.from_numpy(in_ego)).numpy()]
        scene_from_ego = scene_from_map @ nuscenes.map_from_ego(nusc, record)
        placed = in_ego @ scene_from_ego[:3, :3].T + scene_from_ego[:3, 3]
        points.append(torch.from_numpy(placed).float())
        index.append(torch.full((len(placed),), len(origins)))
        origins.append(torch.from_numpy((scene_from_ego @ ego_from_lidar)[:3, 3]).float())
        times.append((record["timestamp"] - begin_us) * 1e-6)
    if not any(map(len, points)):
        return None
    return Sweeps(torch.stack(origins), torch.tensor(times), torch.cat(points), torch.cat(index))
