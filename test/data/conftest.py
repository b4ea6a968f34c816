"""A tiny nuScenes data set with known numbers: straight ride at 10 m/s, six level cameras."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.cameras.transforms import matrix_from_quaternion
from distillnerf_ros.data.tables import SceneTables, write_tables

cv2 = pytest.importorskip("cv2")

SIZE = (72, 128)
SPEED_MPS = 10.0
START_US = 1_533_000_000_000_000
YAW_DEG = dict(zip(CAMERA_NAMES, (0, -55, -110, 180, 110, 55), strict=True))
# Fired before the lidar stamp, front left first, microseconds.
OFFSET_US = dict(zip(CAMERA_NAMES, (-36000, -28000, -20000, -11000, -1000, -44000), strict=True))
K = np.array([[80.0, 0, 64], [0, 80.0, 36], [0, 0, 1]])
LIDAR_POINTS = np.array(
    [
        [10.0, 0.0, -1.0, 20, 3],  # ahead: 11 m before the front camera's mount minus motion
        [20.0, 0.0, -1.0, 30, 4],
        [0.3, 0.1, -0.2, 9, 5],  # the vehicle's own roof
        [-30.0, 2.0, 1.0, 7, 6],
    ],
    np.float32,
)


def ego_from_camera(name: str) -> np.ndarray:
    """A camera 1.5 m up, 1 m ahead of the rear axle, turned to its side."""
    yaw = np.deg2rad(YAW_DEG[name])
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    ego_from_optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pose = np.eye(4)
    pose[:3, :3] = turn @ ego_from_optical
    pose[:3, 3] = (1.0, 0.0, 1.5)
    return pose


def map_from_ego(time_us: int) -> np.ndarray:
    """Heading along map y at 10 m/s."""
    half = np.sqrt(0.5)
    seconds = (time_us - START_US) / 1e6
    return matrix_from_quaternion((half, 0.0, 0.0, half), (100.0, 50.0 + SPEED_MPS * seconds, 0.0))


def jpeg(seed: int) -> bytes:
    """A smooth random picture."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 255, (5, 8, 3), np.uint8), SIZE[::-1])
    return cv2.imencode(".jpg", image)[1].tobytes()


@dataclasses.dataclass(frozen=True)
class TinySet:
    """Where the data set is and the numbers it was made from."""

    root: Path
    scene: str = "scene-0007"
    version: str = "v1.0-test-tiny"
    size = SIZE
    speed_mps = SPEED_MPS
    start_us = START_US
    offset_us = OFFSET_US
    k = K
    lidar_points = LIDAR_POINTS
    ego_from_camera = staticmethod(ego_from_camera)
    map_from_ego = staticmethod(map_from_ego)


def build(root: Path) -> TinySet:
    """Two keyframes half a second apart, one sweep of each sensor between them."""
    tiny = TinySet(root)
    tables = SceneTables(tiny.scene, "tiny-2018", "nowhere", "2018-08-01")
    tables.add_map("maps/tiny.png")
    (root / "maps").mkdir(parents=True)
    cv2.imwrite(str(root / "maps/tiny.png"), np.full((8, 8), 255, np.uint8))
    for name in CAMERA_NAMES:
        tables.add_sensor(name, ego_from_camera(name), K)
    ego_from_lidar = np.eye(4)
    ego_from_lidar[:3, 3] = (1.0, 0.0, 1.8)
    tables.add_sensor("LIDAR_TOP", ego_from_lidar)
    samples = [tables.add_sample(START_US + step * 500_000) for step in (0, 1)]
    for step in range(3):  # keyframe, sweep, keyframe
        reference_us = START_US + step * 250_000
        sample, is_key = samples[step // 2], step != 1
        for name in sorted(OFFSET_US, key=OFFSET_US.get):
            stamp = reference_us + OFFSET_US[name]
            tables.add_sample_data(name, stamp, sample, map_from_ego(stamp), is_key, SIZE)
            _write(root / tables.filename(name, stamp, is_key), jpeg(stamp % 1000))
        tables.add_sample_data(
            "LIDAR_TOP", reference_us, sample, map_from_ego(reference_us), is_key
        )
        _write(root / tables.filename("LIDAR_TOP", reference_us, is_key), LIDAR_POINTS.tobytes())
    for step, sample in enumerate(samples):  # a car 20 m ahead of the start, same speed
        pose = map_from_ego(START_US + step * 500_000)
        pose[:3, 3] += (0.0, 20.0, 0.8)
        tables.add_annotation(
            sample, 3, "vehicle.car", pose, (4.0, 2.0, 1.6), 11, 4, ["vehicle.moving"]
        )
    write_tables(root, tiny.version, [tables.finish("a tiny ride")], {"train": [tiny.scene]})
    # without lidarseg labels there must be no lidarseg table
    (root / tiny.version / "lidarseg.json").unlink()
    return tiny


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> TinySet:
    """The data set; read only."""
    return build(tmp_path_factory.mktemp("tiny_nuscenes"))


@pytest.fixture
def own_set(tmp_path: Path) -> TinySet:
    """A copy that a test may damage."""
    return build(tmp_path / "data")


@pytest.fixture(scope="session")
def tiny_nusc(tiny_set: TinySet):
    """The data set opened by nuscenes-devkit."""
    pytest.importorskip("nuscenes")
    from distillnerf_ros.data import nuscenes

    return nuscenes.open_dataset(tiny_set.root)
