"""Two scenes of one keyframe each, on a flat empty road: every baseline's figure is known."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data.occ3d import OccupancyTruth, write_labels
from distillnerf_ros.data.tables import SceneTables, write_tables

cv2 = pytest.importorskip("cv2")

SIZE = (72, 128)
K = np.array([[80.0, 0, 64], [0, 80.0, 36], [0, 0, 1]])
YAW_DEG = dict(zip(CAMERA_NAMES, (0, -55, -110, 180, 110, 55), strict=True))
LIDAR_HEIGHT_M = 1.8
ROAD_LAYER = 2  # z in -0.2 .. 0.2 m
ROAD, CAR = 11, 4


@dataclasses.dataclass(frozen=True)
class FlatRoad:
    """Where the data set is; a car stands on the road in the first scene's truth alone."""

    root: Path
    scenes: tuple[str, str] = ("scene-0001", "scene-0002")
    car_voxels: int = 8


def ego_from_camera(name: str) -> np.ndarray:
    """A level camera 1.5 m above the middle of the rear axle, turned to its side."""
    yaw = np.deg2rad(YAW_DEG[name])
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = turn @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pose[2, 3] = 1.5
    return pose


def road_points() -> np.ndarray:
    """Lidar returns of the plane z = 0 between 4 and 60 m, in the lidar's frame."""
    angle, distance = np.meshgrid(np.linspace(-np.pi, np.pi, 360), np.geomspace(4, 60, 30))
    points = np.zeros((angle.size, 5), np.float32)
    points[:, 0] = (distance * np.cos(angle)).ravel()
    points[:, 1] = (distance * np.sin(angle)).ravel()
    points[:, 2] = -LIDAR_HEIGHT_M
    return points


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def keyframe(
    root: Path, tables: SceneTables, stamp_us: int, map_from_ego: np.ndarray, with_car: bool
) -> str:
    """Grey images, lidar and labels of one keyframe; its sample token."""
    sample = tables.add_sample(stamp_us)
    picture = np.full((*SIZE, 3), 120, np.uint8)
    for channel in (*CAMERA_NAMES, "LIDAR_TOP"):
        size = SIZE if channel in CAMERA_NAMES else (0, 0)
        tables.add_sample_data(channel, stamp_us, sample, map_from_ego, True, size)
        lidar = channel == "LIDAR_TOP"
        data = road_points().tobytes() if lidar else cv2.imencode(".jpg", picture)[1].tobytes()
        write(root / tables.filename(channel, stamp_us, True), data)
    semantics = np.full((200, 200, 16), 17, np.uint8)
    semantics[:, :, ROAD_LAYER] = ROAD
    if with_car:
        semantics[110:112, 100:102, 3:5] = CAR
    mask = np.zeros(semantics.shape, bool)
    mask[100:] = True  # the half ahead
    truth = OccupancyTruth(semantics, mask, mask)
    write_labels(root / "gts" / tables.name / sample / "labels.npz", truth)
    return sample


def scene(
    root: Path, name: str, stamp_us: int, with_car: bool, poses: Sequence[np.ndarray]
) -> dict[str, list[dict]]:
    """One keyframe, half a second apart, at each pose of the vehicle."""
    tables = SceneTables(name, f"log-{name}", "nowhere", "2018-08-01")
    tables.add_map("maps/flat.png")
    for camera in CAMERA_NAMES:
        tables.add_sensor(camera, ego_from_camera(camera), K)
    ego_from_lidar = np.eye(4)
    ego_from_lidar[2, 3] = LIDAR_HEIGHT_M
    tables.add_sensor("LIDAR_TOP", ego_from_lidar)
    for index, pose in enumerate(poses):
        keyframe(root, tables, stamp_us + index * 500_000, pose, with_car)
    return tables.finish("a flat road")


def write_road(root: Path, scenes: dict[str, Sequence[np.ndarray]]) -> None:
    """A data set of scenes, each with its poses; a car stands in the first scene alone."""
    (root / "maps").mkdir()
    cv2.imwrite(str(root / "maps/flat.png"), np.full((8, 8), 255, np.uint8))
    rows = [
        scene(root, name, 1_533_000_000_000_000 + index * 60_000_000, index == 0, poses)
        for index, (name, poses) in enumerate(scenes.items())
    ]
    write_tables(root, "v1.0-flat", rows, {"val": list(scenes)[1:]})
    # without lidarseg labels there must be no lidarseg table
    (root / "v1.0-flat" / "lidarseg.json").unlink()


@pytest.fixture(scope="session")
def flat_road(tmp_path_factory: pytest.TempPathFactory) -> FlatRoad:
    """The data set; read only."""
    data = FlatRoad(tmp_path_factory.mktemp("flat_road"))
    write_road(data.root, {name: [np.eye(4)] for name in data.scenes})
    return data


def turn_and_shift(yaw_rad: float, x_m: float, y_m: float) -> np.ndarray:
    """A pose on the road."""
    pose = np.eye(4)
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    pose[:2] = [[c, -s, 0, x_m], [s, c, 0, y_m]]
    return pose


@dataclasses.dataclass(frozen=True)
class Drive:
    """A data set with one scene of a keyframe at each pose (map from ego)."""

    root: Path
    scene: str = "scene-0003"
    poses: tuple[np.ndarray, ...] = (
        turn_and_shift(0.3, 5, 6),
        turn_and_shift(0.4, 7, 8),
        turn_and_shift(0.4, 70, 8),
    )
    lidar_height_m: float = LIDAR_HEIGHT_M


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """The data set; read only."""
    data = Drive(tmp_path_factory.mktemp("drive"))
    write_road(data.root, {data.scene: data.poses})
    return data
