"""Voxel labels from dense depth, on surfaces whose voxels are known."""

import dataclasses

import pytest
import torch

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.query.occupancy import GRID_SHAPE, VOXEL_M, voxel_centers_m
from distillnerf_ros.training.augment import mirrored
from distillnerf_ros.training.samples import TrainSample
from distillnerf_ros.training.surface import (
    fill_surface,
    surface_features,
    voxel_labels,
    voxels_of,
)

SIZE = (64, 96)
FREE, SURFACE, UNKNOWN = 0, 1, 2


def forward_rig() -> CameraRig:
    """One level camera 1.5 m up, a little left of the middle, looking ahead."""
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    pose[:3, 3] = torch.tensor([0.0, 0.3, 1.5])
    k = torch.tensor([[80.0, 0.0, 48.0], [0.0, 80.0, 32.0], [0.0, 0.0, 1.0]])
    return CameraRig(
        ("A",), torch.zeros(1, 3, *SIZE), k[None], pose[None], torch.ones(1, dtype=torch.bool)
    )


def depth_of(rig: CameraRig, wall_m: float, ground_z_m: float = -0.05) -> torch.Tensor:
    """Ground at a height, and a wall across the road."""
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, SIZE, SIZE)
    down = (ground_z_m - 1.5) / rays.directions[:, 2]
    down = torch.where(down > 0, down, torch.inf)
    return down.clamp(max=wall_m).reshape(1, *SIZE)


def grid_of(labels) -> torch.Tensor:
    grid = torch.full((torch.tensor(GRID_SHAPE).prod(),), UNKNOWN)
    grid[labels.free] = FREE
    grid[labels.surface] = SURFACE
    return grid.reshape(GRID_SHAPE)


@pytest.fixture(scope="module")
def labelled() -> torch.Tensor:
    rig = forward_rig()
    return grid_of(voxel_labels(rig, depth_of(rig, wall_m=24.1)))


def test_a_road_has_no_gaps_and_is_nowhere_free(labelled: torch.Tensor) -> None:
    """Rows of pixels meet the road 5 m apart at 24 m; the surface between them counts."""
    road = labelled[112:160, 96:104, 2]  # x 4.8 .. 24.0 m, z -0.2 .. 0.2 m
    assert (road == SURFACE).all()
    rig = forward_rig()
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, SIZE, SIZE)
    hit = rays.at(depth_of(rig, 24.1).reshape(-1, 1))[:, 0]
    met = torch.zeros(GRID_SHAPE, dtype=torch.bool).reshape(-1)
    met[voxels_of(hit).clamp(min=0)] = True
    assert met.reshape(GRID_SHAPE)[112:160, 96:104, 2].float().mean() < 0.7


def test_a_wall_is_one_voxel_thick_and_hides_what_lies_behind(labelled: torch.Tensor) -> None:
    wall = labelled[160, 90:110, 3:8]  # x 24.0 .. 24.4 m
    assert (wall == SURFACE).all()
    assert (labelled[161:, 90:110, 3:8] == UNKNOWN).all()
    assert (labelled[140:158, 95:105, 4:7] == FREE).all()


def test_outside_the_image_nothing_is_known(labelled: torch.Tensor) -> None:
    assert (labelled[:100] == UNKNOWN).all()


def test_each_surface_voxel_names_a_pixel_that_sees_it() -> None:
    rig = forward_rig()
    depth = depth_of(rig, 20.0)
    labels = voxel_labels(rig, depth)
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, SIZE, SIZE).select(labels.pixels)
    centers = voxel_centers_m(torch.device("cpu")).reshape(-1, 3)[labels.surface]
    away = torch.linalg.cross(centers - rays.origins, rays.directions).norm(dim=-1)
    # a pixel's half width at the voxel, and half a voxel's diagonal
    reach = (centers - rays.origins).norm(dim=-1) * 0.9 / 80 + 0.9 * VOXEL_M
    assert (away < reach).all()


def test_two_surfaces_are_not_joined_and_a_plane_is() -> None:
    column = torch.tensor([10.0, 10.2, 30.0, 30.5])[None, :, None]
    filled = fill_surface(column, 4, 1)[0, :, 0]
    between = filled[(filled > 10.5) & (filled < 29)]
    assert len(between) == 0
    assert filled.isnan().sum() > 0
    inverse = torch.tensor([0.02, 0.05, 0.08, 0.11])  # a plane near the horizon
    filled = 1 / fill_surface((1 / inverse)[None, :, None], 4, 1)[0, :, 0]
    assert torch.allclose(filled[2:-2].diff(), torch.tensor(0.0075))


def test_mirrored_samples_have_mirrored_labels() -> None:
    rig = forward_rig()
    depth = depth_of(rig, 20.0)
    point = torch.zeros(1, 3)
    sample = TrainSample("ground", rig, depth, point[0], point, voxel_labels(rig, depth))
    other = mirrored(sample)
    fresh = voxel_labels(other.rig, other.depth_m)
    assert torch.equal(grid_of(fresh), grid_of(other.voxels))
    by_voxel = dict(zip(other.voxels.surface.tolist(), other.voxels.pixels.tolist(), strict=True))
    for voxel, pixel in zip(
        sample.voxels.surface.tolist(), sample.voxels.pixels.tolist(), strict=True
    ):
        x, y, z = voxel // 3200, voxel // 16 % 200, voxel % 16
        row, col = divmod(pixel, SIZE[1])
        assert by_voxel[(x * 200 + 199 - y) * 16 + z] == row * SIZE[1] + SIZE[1] - 1 - col


def test_a_lost_camera_takes_its_surfaces_along() -> None:
    rig = forward_rig()
    labels = voxel_labels(rig, depth_of(rig, 20.0))
    shape = (2, *SIZE)
    second = dataclasses.replace(labels, pixels=labels.pixels + SIZE[0] * SIZE[1])
    both = dataclasses.replace(
        labels,
        surface=torch.cat([labels.surface, second.surface]),
        pixels=torch.cat([labels.pixels, second.pixels]),
    )
    left = both.seen_by(torch.tensor([False, True]), shape)
    assert torch.equal(left.pixels, second.pixels)
    assert torch.equal(left.free, labels.free)


def test_a_voxel_shows_the_mean_of_the_pixels_that_meet_it() -> None:
    """Against a walk over the points of the filled-in surface, eight of a pixel."""
    rig, chance = forward_rig(), torch.Generator().manual_seed(3)
    depth = depth_of(rig, wall_m=20.0)
    labels = voxel_labels(rig, depth)
    maps = torch.rand(1, 5, *SIZE, generator=chance)
    features = surface_features(rig, depth, labels, maps)
    fine = (4 * SIZE[0], 2 * SIZE[1])
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, SIZE, fine)
    inside = fill_surface(depth, 4, 2).reshape(-1) + 0.03 / rays.lengths
    met = voxels_of(rays.at(inside.nan_to_num(1e6)[:, None])[:, 0])
    pixels = maps[0].flatten(1).T
    for row in range(0, len(labels.surface), 37):
        own = [
            point // fine[1] // 4 * SIZE[1] + point % fine[1] // 2
            for point in (met == labels.surface[row]).nonzero()[:, 0].tolist()
        ]
        wanted = pixels[own or [int(labels.pixels[row])]].mean(dim=0)
        assert torch.allclose(features[row], wanted, atol=1e-5)


def test_cameras_that_are_not_there_show_nothing() -> None:
    """Two cameras in one place: without the second, voxels show what the first sees."""
    one = forward_rig()
    rig = CameraRig(
        ("A", "B"),
        one.images.repeat(2, 1, 1, 1),
        one.intrinsics.repeat(2, 1, 1),
        one.ego_from_camera.repeat(2, 1, 1),
        torch.tensor([True, False]),
    )
    depth = depth_of(one, wall_m=20.0).repeat(2, 1, 1)
    labels = voxel_labels(one, depth[:1])
    maps = torch.stack([torch.ones(1, *SIZE), torch.full((1, *SIZE), 9.0)])
    assert (surface_features(rig, depth, labels, maps) == 1).all()
