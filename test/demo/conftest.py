"""A glance small enough to be judged by hand."""

import numpy as np
import pytest
import torch

from distillnerf_ros.config import RenderConfig
from distillnerf_ros.demo.snapshot import CameraView, Snapshot, Voxels
from distillnerf_ros.demo.subject import Subject
from distillnerf_ros.query.region import occupied_cells
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.render.renderer import march_edges
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.pca import Pca

CAR = OCC3D_CLASSES.index("car")
ROAD = OCC3D_CLASSES.index("driveable surface")


@pytest.fixture
def balls_subject(two_balls, make_rig) -> Subject:
    """Two balls that answer to their names, as something to ask and to edit."""
    words = ["a red ball", "a green ball"]
    low, high = torch.tensor([-16.0, -16.0, -2.0]), torch.tensor([16.0, 16.0, 6.0])
    points = occupied_cells(two_balls, low, high, 0.5)
    pca = Pca(torch.zeros(3), torch.eye(3), torch.ones(3), 1.0)
    return Subject(
        name="two balls",
        field=two_balls,
        rig=make_rig(size=(16, 32), count=4),
        file_sizes=((320, 640),) * 4,
        edges_m=march_edges(RenderConfig(far_m=60.0, coarse_samples=128), 0.8, 50.0),
        samples=24,
        hit_opacity=0.5,
        at_surface=False,
        cell_m=0.5,
        cells=lambda: (points, two_balls(points).features),
        relevancy=lambda features, prompts, _: features[..., [words.index(p) for p in prompts]],
        semantics=Semantics.without_texts("t", pca),
    )


@pytest.fixture
def voxels() -> Voxels:
    """A car voxel 20.2 m ahead and 10.2 m to the left, on a road voxel."""
    points = np.array([[20.2, 10.2, -0.8], [20.2, 10.2, -0.4]], np.float32)
    return Voxels(points, np.array([ROAD, CAR], np.uint8), np.array([0.9, 0.8], np.float32))


@pytest.fixture
def snapshot(voxels) -> Snapshot:
    """Two cameras: one with every output, one with none."""
    grid = np.full((200, 200), -1, np.int8)
    grid[100:] = 0  # the half ahead was seen
    depth = np.full((4, 8), 5.0, np.float32)
    depth[:2] = np.nan
    heat = np.full((4, 8), 0.4)
    heat[:, 4:] = 1.0
    full = CameraView(
        "CAM_FRONT",
        1_000,
        picture=np.full((18, 32, 3), 200, np.uint8),
        rgb=np.full((9, 16, 3), (250, 0, 0), np.uint8),
        depth_m=depth,
        features=np.full((4, 8, 3), (0, 250, 0), np.uint8),
        heat=heat,
    )
    return Snapshot(1_000, (CameraView("CAM_BACK", 900), full), voxels, grid)
