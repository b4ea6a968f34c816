"""Glances of the world as training samples."""

from pathlib import Path

import pytest
import torch

from distillnerf_ros.cameras import camera_rays
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.targets import Teacher
from distillnerf_ros.training.world_samples import VIRTUAL_OFFSETS_M, WorldSamples

SIZE = (32, 64)


class CountingTeacher:
    """Mean colours as features; counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return torch.nn.functional.adaptive_avg_pool2d(images, (2, 4))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    dense = CountingTeacher()
    teacher = Teacher(dense, Pca(torch.zeros(3), torch.eye(3)[:2], torch.ones(2), 1.0))
    cache = tmp_path_factory.mktemp("cache")
    samples = WorldSamples(30_000, 1, 1, SIZE, teacher, virtual=True, cache=cache)
    return samples, samples[0], samples[0], dense, cache


def test_a_kept_sample_is_the_made_one(made) -> None:
    _, fresh, again, dense, cache = made
    assert dense.calls == 1
    assert torch.equal(fresh.rig.images, again.rig.images)
    assert torch.equal(fresh.depth_m, again.depth_m)
    assert torch.equal(fresh.voxels.surface, again.voxels.surface)
    assert torch.equal(fresh.features, again.features)
    assert sorted(path.name for path in Path(cache).iterdir()) == [
        "features",
        "glances",
        "virtual",
    ]
    assert "30000 at 10.0 s" in fresh.name


def test_features_are_components_of_the_images(made) -> None:
    sample = made[1]
    assert sample.features.shape == (6, 2, 2, 4)
    wanted = torch.nn.functional.adaptive_avg_pool2d(sample.rig.images, (2, 4))[:, :2]
    torch.testing.assert_close(sample.features, wanted, atol=0.05, rtol=0)


def test_virtual_cameras_stand_a_metre_off_and_see_the_same_street(made) -> None:
    sample = made[1]
    (virtual,) = sample.virtual
    moved, real = virtual.rig.ego_from_camera, sample.rig.ego_from_camera
    turned = (moved[:, None, :3, :3] - real[:, :3, :3]).abs().sum(dim=(2, 3))
    offsets = moved[:, :3, 3] - real[turned.argmin(dim=1), :3, 3]
    assert turned.amin() < 1e-3
    assert any(
        torch.allclose(offsets, torch.tensor(o).expand(2, 3), atol=0.02) for o in VIRTUAL_OFFSETS_M
    )
    # What the moved cameras see lies on the ground or above it.
    rays = camera_rays(virtual.rig.intrinsics, virtual.rig.ego_from_camera, SIZE, SIZE)
    hit = virtual.depth_m.reshape(-1).isfinite() & (virtual.depth_m.reshape(-1) < 20)
    points = rays.select(hit).at(virtual.depth_m.reshape(-1)[hit][:, None])[:, 0]
    assert (points[:, 2] > -1.5).all()
    assert (points[:, 2] < 0.5).float().mean() > 0.3


def test_sky_is_known_by_the_world_and_unknown_by_lidar(made) -> None:
    samples, sample = made[:2]
    assert sample.depth_m.isinf().any()
    assert not sample.depth_m.isnan().any()
    lidar = WorldSamples(30_000, 1, 1, SIZE, dense=False, cache=samples.cache)[0]
    assert lidar.depth_m.isnan().any()
    assert not lidar.depth_m.isinf().any()
    known = lidar.depth_m.isfinite()
    agree = (lidar.depth_m[known] / sample.depth_m[known]).log().abs() < 0.2
    assert agree.float().mean() > 0.7
    assert len(lidar.voxels.surface) < len(sample.voxels.surface)
