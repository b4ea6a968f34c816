"""Reading nuScenes data sets through nuscenes-devkit: poses, images, lidar and boxes.

Frames: map = nuScenes global; ego = base_link at the keyframe's LIDAR_TOP stamp (x forward,
y left, z up; see ``reference_record``); each camera's own axes are optical already. Times are
stamps in nanoseconds.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.cameras.pixels import k_from_opencv
from distillnerf_ros.cameras.rig import scale_intrinsics
from distillnerf_ros.cameras.transforms import invert_rigid, matrix_from_quaternion
from distillnerf_ros.data.categories import OCC3D_FROM_CATEGORY
from distillnerf_ros.data.jpeg import decode_jpeg
from distillnerf_ros.errors import DatasetError

if TYPE_CHECKING:
    from nuscenes.nuscenes import NuScenes
else:
    NuScenes = object

LIDAR_NAME = "LIDAR_TOP"
SPLITS_FILE = "splits.json"
_TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)


@dataclasses.dataclass(frozen=True)
class Box:
    """One annotated object at a keyframe, in the ego frame of that keyframe.

    Attributes:
        token: annotation token.
        instance: token shared by all annotations of the same object.
        category: nuScenes category name.
        label: its Occ3D class.
        center_m: (x, y, z).
        size_m: (length, width, height).
        yaw_rad: heading about z, 0 = along ego x.
        velocity_mps: (x, y) in the ego frame's axes; NaN where no neighbouring keyframe tells.
        lidar_points: lidar returns inside the box.
        visibility: 1 (0-40 % seen by the cameras) .. 4 (80-100 %).
    """

    token: str
    instance: str
    category: str
    label: int
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    yaw_rad: float
    velocity_mps: tuple[float, float]
    lidar_points: int
    visibility: int


def versions(dataroot: str | os.PathLike[str]) -> list[str]:
    """Version folders (``v1.0-mini``, ...) below a data root, sorted."""
    root = Path(dataroot)
    return sorted(path.parent.name for path in root.glob("*/sample_data.json"))


def open_dataset(dataroot: str | os.PathLike[str], version: str | None = None) -> NuScenes:
    """Load the tables of one version with nuscenes-devkit.

    Args:
        dataroot: folder that holds ``samples/``, ``maps/`` and a version folder.
        version: name of the version folder; None = the only one there is.

    Raises:
        DatasetError: no nuScenes data set there, no such version, or a table is missing.
    """
    root = Path(dataroot)
    found = versions(root)
    if not found:
        raise DatasetError(
            f"{root} is not a nuScenes folder: expected a version folder such as v1.0-mini with "
            "its tables (sample_data.json, ...) in it; give --dataroot the folder above it"
        )
    if version is None and len(found) > 1:
        raise DatasetError(f"{root} holds versions {', '.join(found)}; choose one by --version")
    chosen = version or found[0]
    if chosen not in found:
        raise DatasetError(f"{root} has no version {chosen!r}; it holds {', '.join(found)}")
    missing = [name for name in _TABLES if not (root / chosen / f"{name}.json").is_file()]
    if missing:
        raise DatasetError(
            f"{root / chosen} lacks the tables {', '.join(missing)}; copy the metadata again"
        )
    return _load(root, chosen)


def _load(root: Path, version: str) -> NuScenes:
    try:
        from nuscenes.nuscenes import NuScenes as DevkitNuScenes
    except ImportError as error:
        raise DatasetError(
            "reading nuScenes needs nuscenes-devkit: pip install 'distillnerf_ros[nuscenes]'"
        ) from error
    try:
        return DevkitNuScenes(version=version, dataroot=str(root), verbose=False)
    except (AssertionError, KeyError, IndexError, OSError, json.JSONDecodeError) as error:
        raise DatasetError(f"the tables in {root / version} do not load: {error!r}") from error


def find_scene(nusc: NuScenes, name: str | None = None) -> dict[str, Any]:
    """The scene record of a name or token; None = the first scene.

    Raises:
        DatasetError: there is no such scene.
    """
    if not nusc.scene:
        raise DatasetError(f"{nusc.dataroot} ({nusc.version}) holds no scene")
    for scene in nusc.scene:
        if name in (None, scene["name"], scene["token"]):
            return scene
    names = ", ".join(scene["name"] for scene in nusc.scene[:20])
    raise DatasetError(f"no scene {name!r} in {nusc.version}; it holds {names}")


def scenes_of_split(nusc: NuScenes, split: str) -> list[dict[str, Any]]:
    """Scenes of a split: the data set's own ``splits.json`` if there is one, else nuScenes'.

    Args:
        nusc: the data set.
        split: ``"train"``, ``"val"``, ... or ``"all"`` for every scene there is, listed or not.

    Raises:
        DatasetError: no such split.
    """
    if split == "all":
        return list(nusc.scene)
    own = Path(nusc.dataroot) / nusc.version / SPLITS_FILE
    if own.is_file():
        splits = json.loads(own.read_text())
    else:
        from nuscenes.utils.splits import create_splits_scenes

        splits = create_splits_scenes()
    if split not in splits:
        raise DatasetError(f"no split {split!r}; choose from all, {', '.join(splits)}")
    wanted = set(splits[split])
    return [scene for scene in nusc.scene if scene["name"] in wanted]


def whole_scenes(nusc: NuScenes, scenes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those scenes whose keyframes' images and sweeps are all there; the others are counted aloud.

    The tables of nuScenes list all its scenes, whichever parts of it were downloaded.

    Raises:
        DatasetError: none of them is whole.
    """
    root = Path(nusc.dataroot)
    missing: dict[str, str] = {}
    for scene in scenes:
        files = _keyframe_files(nusc, scene)
        lost = next((file for file in files if not (root / file).is_file()), None)
        if lost is not None:
            missing[scene["name"]] = lost
    if not missing:
        return scenes
    name, file = next(iter(missing.items()))
    said = f"{len(missing)} of {len(scenes)} scenes lack files that the {nusc.version} tables "
    said += f"list, such as {file} of {name}"
    if len(missing) == len(scenes):
        raise DatasetError(f"{said}; unpack the sensor files into {root}")
    print(f"left out: {said}", file=sys.stderr)
    return [scene for scene in scenes if scene["name"] not in missing]


def _keyframe_files(nusc: NuScenes, scene: dict[str, Any]) -> Iterator[str]:
    for token in keyframes(nusc, scene):
        data = nusc.get("sample", token)["data"]
        for name in (*CAMERA_NAMES, LIDAR_NAME):
            if name in data:
                yield nusc.get("sample_data", data[name])["filename"]


def keyframes(nusc: NuScenes, scene: dict[str, Any]) -> list[str]:
    """Sample tokens of a scene in time order."""
    tokens, token = [], scene["first_sample_token"]
    while token:
        tokens.append(token)
        token = nusc.get("sample", token)["next"]
    return tokens


def sensor_records(nusc: NuScenes, scene: dict[str, Any]) -> list[dict[str, Any]]:
    """All sample_data records of a scene (keyframes and sweeps) of every sensor, by stamp."""
    wanted = set(keyframes(nusc, scene))
    records = [record for record in nusc.sample_data if record["sample_token"] in wanted]
    return sorted(records, key=lambda record: (record["timestamp"], record["channel"]))


def stamp_ns(record: dict[str, Any]) -> int:
    """Stamp of a record; the tables count microseconds."""
    return int(record["timestamp"]) * 1000


def sensor_path(nusc: NuScenes, record: dict[str, Any]) -> Path:
    """File of a sample_data record.

    Raises:
        DatasetError: the file is not there.
    """
    path = Path(nusc.dataroot) / record["filename"]
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing though the {nusc.version} tables list it; "
            "unpack the sensor files into the same data root"
        )
    return path


def map_from_ego(nusc: NuScenes, record: dict[str, Any]) -> np.ndarray:
    """(4, 4) float64 ego pose at the stamp of a sample_data record."""
    pose = nusc.get("ego_pose", record["ego_pose_token"])
    return matrix_from_quaternion(pose["rotation"], pose["translation"])


def ego_from_sensor(nusc: NuScenes, record: dict[str, Any]) -> np.ndarray:
    """(4, 4) float64 mounting pose of the sensor of a sample_data record."""
    sensor = nusc.get("calibrated_sensor", record["calibrated_sensor_token"])
    return matrix_from_quaternion(sensor["rotation"], sensor["translation"])


def intrinsics(nusc: NuScenes, record: dict[str, Any]) -> np.ndarray:
    """(3, 3) float64 pinhole matrix of a camera record, in this package's pixels of its image."""
    sensor = nusc.get("calibrated_sensor", record["calibrated_sensor_token"])
    return k_from_opencv(np.asarray(sensor["camera_intrinsic"], np.float64).reshape(3, 3))


def reference_record(nusc: NuScenes, sample_token: str) -> dict[str, Any]:
    """The record whose stamp is the reference time of the glance.

    That is LIDAR_TOP's; in a log without lidar it is that of the first camera there is.

    Raises:
        DatasetError: the sample is unknown, or has neither lidar nor cameras.
    """
    data = _sensors(nusc, sample_token)
    for name in (LIDAR_NAME, *CAMERA_NAMES):
        if name in data:
            return nusc.get("sample_data", data[name])
    raise DatasetError(
        f"sample {sample_token} has neither {LIDAR_NAME} nor any of {', '.join(CAMERA_NAMES)}"
    )


def has_lidar(nusc: NuScenes, sample_token: str) -> bool:
    """Whether a keyframe has a lidar sweep.

    Raises:
        DatasetError: the sample is unknown.
    """
    return LIDAR_NAME in _sensors(nusc, sample_token)


def lidar_record(nusc: NuScenes, sample_token: str) -> dict[str, Any]:
    """The LIDAR_TOP record of a keyframe.

    Raises:
        DatasetError: the sample is unknown or has no LIDAR_TOP.
    """
    if not has_lidar(nusc, sample_token):
        raise DatasetError(f"sample {sample_token} has no {LIDAR_NAME} keyframe")
    return nusc.get("sample_data", nusc.get("sample", sample_token)["data"][LIDAR_NAME])


def _sensors(nusc: NuScenes, sample_token: str) -> dict[str, str]:
    try:
        return nusc.get("sample", sample_token)["data"]
    except KeyError as error:
        raise DatasetError(f"no sample {sample_token!r} in {nusc.version}") from error


def load_glance(
    nusc: NuScenes,
    sample_token: str,
    image_size: tuple[int, int],
    names: tuple[str, ...] = CAMERA_NAMES,
) -> CameraRig:
    """The surround images of one keyframe.

    Cameras the sample does not list are marked invalid (black, identity, unread by contract).

    Args:
        nusc: the data set.
        sample_token: which keyframe.
        image_size: height and width in pixels of the images; intrinsics are scaled to it.
        names: cameras wanted, in this order.

    Raises:
        DatasetError: no camera at all, or a listed file is not there.
        ImageError: an image is truncated or damaged.
    """
    count = len(names)
    images = torch.zeros(count, 3, *image_size)
    matrices = torch.eye(3).repeat(count, 1, 1)
    poses = torch.eye(4).repeat(count, 1, 1)
    valid = torch.zeros(count, dtype=torch.bool)
    ego_from_map = invert_rigid(map_from_ego(nusc, reference_record(nusc, sample_token)))
    data = nusc.get("sample", sample_token)["data"]
    for index, name in enumerate(names):
        if name not in data:
            continue
        record = nusc.get("sample_data", data[name])
        path = sensor_path(nusc, record)
        pixels = decode_jpeg(path.read_bytes(), image_size, str(path))
        images[index] = torch.from_numpy(pixels).permute(2, 0, 1) / 255.0
        y_scale, x_scale = image_size[0] / record["height"], image_size[1] / record["width"]
        stored = torch.from_numpy(intrinsics(nusc, record))
        matrices[index] = scale_intrinsics(stored, y_scale, x_scale)
        pose = ego_from_map @ map_from_ego(nusc, record) @ ego_from_sensor(nusc, record)
        poses[index] = torch.from_numpy(pose)
        valid[index] = True
    if not valid.any():
        raise DatasetError(f"sample {sample_token} has none of the cameras {', '.join(names)}")
    return CameraRig(tuple(names), images, matrices, poses, valid)


def read_lidar(nusc: NuScenes, record: dict[str, Any]) -> Float[np.ndarray, "P 5"]:
    """Points of a lidar record in the sensor's frame: x, y, z (m), intensity, ring.

    Raises:
        DatasetError: the file is missing or cut.
    """
    path = sensor_path(nusc, record)
    values = np.fromfile(path, np.float32)
    if values.size % 5 or path.stat().st_size % 4:
        raise DatasetError(
            f"{path} is truncated: {path.stat().st_size} bytes are no multiple of 20 "
            "(x, y, z, intensity, ring as float32)"
        )
    return values.reshape(-1, 5)


def lidar_points(nusc: NuScenes, sample_token: str) -> Float[torch.Tensor, "P 3"]:
    """Lidar points of a keyframe in its ego frame, without returns from the vehicle itself.

    Raises:
        DatasetError: the keyframe has no lidar, or its file is missing or cut.
    """
    from distillnerf_ros.data.lidar import off_vehicle

    record = lidar_record(nusc, sample_token)
    ego_from_lidar = ego_from_sensor(nusc, record)
    points = read_lidar(nusc, record)[:, :3] @ ego_from_lidar[:3, :3].T + ego_from_lidar[:3, 3]
    points_m = torch.from_numpy(points.astype(np.float32))
    return points_m[off_vehicle(points_m)]


def boxes(nusc: NuScenes, sample_token: str) -> Iterator[Box]:
    """Annotated objects of a keyframe in its ego frame.

    Raises:
        DatasetError: a box is of a category nuScenes does not have.
    """
    ego_from_map = invert_rigid(map_from_ego(nusc, reference_record(nusc, sample_token)))
    for token in nusc.get("sample", sample_token)["anns"]:
        yield _box(nusc, nusc.get("sample_annotation", token), ego_from_map)


def _box(nusc: NuScenes, record: dict[str, Any], ego_from_map: np.ndarray) -> Box:
    category = record["category_name"]
    if category not in OCC3D_FROM_CATEGORY:
        raise DatasetError(f"annotation {record['token']} has unknown category {category!r}")
    pose = ego_from_map @ matrix_from_quaternion(record["rotation"], record["translation"])
    velocity = ego_from_map[:3, :3] @ nusc.box_velocity(record["token"])
    width, length, height = record["size"]
    return Box(
        token=record["token"],
        instance=record["instance_token"],
        category=category,
        label=OCC3D_FROM_CATEGORY[category],
        center_m=tuple(pose[:3, 3].tolist()),
        size_m=(length, width, height),
        yaw_rad=float(np.arctan2(pose[1, 0], pose[0, 0])),
        velocity_mps=(float(velocity[0]), float(velocity[1])),
        lidar_points=record["num_lidar_pts"],
        visibility=int(record["visibility_token"]),
    )


def occ3d_path(nusc: NuScenes, sample_token: str) -> Path:
    """Where the Occ3D labels of a keyframe belong (they may not be there)."""
    sample = nusc.get("sample", sample_token)
    scene = nusc.get("scene", sample["scene_token"])
    return Path(nusc.dataroot) / "gts" / scene["name"] / sample_token / "labels.npz"


def add_dataset_arguments(
    parser: argparse.ArgumentParser, required: bool = True, scene: str = "the first"
) -> None:
    """Add ``--dataroot``, ``--version`` and ``--scene`` to a verb; ``scene`` is its default."""
    parser.add_argument(
        "--dataroot",
        type=Path,
        required=required,
        metavar="DIR",
        help="nuScenes folder: the one that holds samples/, maps/ and v1.0-*/",
    )
    parser.add_argument("--version", help="version folder; default: the only one there is")
    parser.add_argument("--scene", help=f"scene name or token; default: {scene}")
