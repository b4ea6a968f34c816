"""A scene small enough to fit in a blink: two cameras before a wall, and something that passes."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.scene.config import SceneConfig
from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.fitter import FitSettings
from distillnerf_ros.scene.log import SceneLog, Sweeps
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.components import Components
from distillnerf_ros.training.feature_store import COMPONENTS_FILE, FeatureStore

SIZE = (12, 16)
CAMERAS = ("CAM_FRONT", "CAM_BACK")
# Optical axes (right, down, ahead) of a camera that looks along x, and of one that looks back.
LOOKS = {
    "CAM_FRONT": np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    "CAM_BACK": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
}


@pytest.fixture
def scene_config() -> SceneConfig:
    return SceneConfig(
        inner_m=(10.0, 10.0, 4.0),
        duration_s=1.0,
        cameras=CAMERAS,
        static_cells_m=(2.0, 0.7),
        moving_cells=((2.0, 0.5), (1.0, 0.25)),
        static_rows=1 << 10,
        moving_rows=1 << 10,
        channels=2,
        latent=4,
        proposal_m=1.0,
        moving_proposal=(2.0, 0.5),
        far_m=40.0,
        intervals=32,
        samples=8,
    )


@pytest.fixture
def scene_field(scene_config) -> SceneField:
    return SceneField(scene_config)


@pytest.fixture
def fit_settings() -> FitSettings:
    return FitSettings(pixels=64, beams=32)


def pose(name: str) -> torch.Tensor:
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.from_numpy(LOOKS[name]).float()
    matrix[2, 3] = 1.5
    return matrix


@pytest.fixture
def scene_log() -> SceneLog:
    """Four stamps of both cameras; walls 6 m ahead and behind, as the lidar sees them."""
    generator = torch.Generator().manual_seed(3)
    frames = 8
    points = torch.rand(3, 40, 3, generator=generator) * 2 - 1
    points[..., 0] = 6 * points[..., 0].sign()
    points[..., 2] += 1.5
    sweeps = Sweeps(
        torch.tensor([[0.0, 0.0, 1.5]]).repeat(3, 1),
        torch.tensor([0.0, 0.5, 1.0]),
        points.reshape(-1, 3),
        torch.arange(3).repeat_interleave(40),
    )
    return SceneLog(
        name="scene-0001",
        cameras=CAMERAS,
        images=torch.randint(150, 170, (frames, 3, *SIZE), generator=generator).byte(),
        camera=torch.arange(frames) % 2,
        times_s=(torch.arange(frames) // 2) / 3.0,
        intrinsics=torch.tensor([[12.0, 0, 8], [0, 12.0, 6], [0, 0, 1]]).repeat(frames, 1, 1),
        scene_from_camera=torch.stack([pose(CAMERAS[i % 2]) for i in range(frames)]),
        held_out=torch.arange(frames) >= 6,
        tokens=tuple(f"image{i}" for i in range(frames)),
        sky=None,
        sweeps=sweeps,
        scene_from_map=np.eye(4),
        begin_us=0,
    )


@dataclasses.dataclass
class FakeNuScenes:
    """Tables of one scene as the devkit offers them, with files of its own."""

    dataroot: str
    tables: dict[str, dict[str, dict]]
    version: str = "v1.0-fake"

    def get(self, table: str, token: str) -> dict:
        return self.tables[table][token]

    @property
    def sample_data(self) -> list[dict]:
        return list(self.tables["sample_data"].values())

    @property
    def scene(self) -> list[dict]:
        return list(self.tables["scene"].values())


def quaternion(rotation: np.ndarray) -> list[float]:
    """(w, x, y, z) of the two looks above."""
    return [0.5, -0.5, 0.5, -0.5] if rotation[0, 2] > 0 else [0.5, -0.5, -0.5, 0.5]


@pytest.fixture
def fake_nusc(tmp_path: Path) -> FakeNuScenes:
    """Two keyframes and two sweeps, 0.1 s and 1 m apart, of both cameras and the lidar."""
    tables: dict[str, dict] = {
        "scene": {"s": {"token": "s", "name": "scene-0001", "first_sample_token": "k0"}},
        "sample": {},
        "sample_data": {},
        "ego_pose": {},
        "calibrated_sensor": {},
    }
    for name in (*CAMERAS, "LIDAR_TOP"):
        look = LOOKS.get(name)
        tables["calibrated_sensor"][name] = {
            "rotation": [1.0, 0, 0, 0] if look is None else quaternion(look),
            "translation": [0.0, 0.0, 1.5],
            "camera_intrinsic": [] if look is None else [[24.0, 0, 16], [0, 24.0, 12], [0, 0, 1]],
        }
    rng = np.random.default_rng(0)
    for stamp in range(4):
        key = f"k{stamp // 2}"
        if stamp % 2 == 0:
            after = "k1" if stamp == 0 else ""
            tables["sample"][key] = {"token": key, "next": after, "data": {}, "anns": []}
        for name in (*CAMERAS, "LIDAR_TOP"):
            token = f"{name}-{stamp}"
            tables["ego_pose"][token] = {"rotation": [1.0, 0, 0, 0], "translation": [stamp, 5, 0]}
            is_lidar = name == "LIDAR_TOP"
            path = tmp_path / f"{token}.{'bin' if is_lidar else 'jpg'}"
            if is_lidar:
                points = rng.uniform(-2, 2, (30, 5)).astype(np.float32)
                points[:, 0] = 6.0
                points.tofile(path)
            else:
                cv2.imwrite(str(path), rng.integers(0, 255, (24, 32, 3), np.uint8))
            if stamp % 2 == 0:
                tables["sample"][key]["data"][name] = token
            tables["sample_data"][token] = {
                "token": token,
                "sample_token": key,
                "ego_pose_token": token,
                "calibrated_sensor_token": name,
                "timestamp": 1_000_000 + 100_000 * stamp,
                "channel": name,
                "filename": path.name,
                "is_key_frame": stamp % 2 == 0,
                "height": 24,
                "width": 32,
            }
    return FakeNuScenes(str(tmp_path), tables)


@pytest.fixture
def store(fake_nusc: FakeNuScenes, tmp_path: Path) -> FeatureStore:
    """Features of both keyframes, of two components: one is all that a camera ahead sees, the
    other all that one behind sees, and both are a little more in each later cell.
    """
    pca = Pca(torch.zeros(2), torch.eye(2), torch.ones(2), 1.0)
    components = Components(Semantics.without_texts("made by hand", pca), "weights")
    made = FeatureStore(tmp_path / "features", components, (24, 32), (3, 4))
    made.claim()
    components.save(made.folder / COMPONENTS_FILE)
    features = np.zeros((len(CAMERA_NAMES), 2, 3, 4), np.float16)
    features[CAMERA_NAMES.index("CAM_FRONT"), 0] = features[CAMERA_NAMES.index("CAM_BACK"), 1] = 1
    features += np.linspace(0, 0.1, 12, dtype=np.float16).reshape(3, 4)
    for sample in fake_nusc.tables["sample"]:
        made.write("scene-0001", sample, features)
    return made
