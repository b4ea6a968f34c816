"""Training samples: augmentation keeps geometry, pooling keeps planes."""

import dataclasses

import pytest
import torch

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.training.augment import augment, blanked, boarded, mirrored
from distillnerf_ros.training.samples import TrainSample, View, pool_depth
from distillnerf_ros.training.surface import voxel_labels


def ground_sample() -> TrainSample:
    """One camera 1.5 m above flat ground, looking ahead and 20 degrees left."""
    turn = torch.tensor(0.35)
    forward = torch.tensor([turn.cos(), turn.sin(), 0.0])
    right = torch.tensor([turn.sin(), -turn.cos(), 0.0])
    pose = torch.eye(4)
    pose[:3, :3] = torch.stack([right, torch.tensor([0.0, 0.0, -1.0]), forward], dim=1)
    pose[:3, 3] = torch.tensor([1.0, 0.5, 1.5])
    k = torch.tensor([[20.0, 0.0, 15.0], [0.0, 20.0, 8.0], [0.0, 0.0, 1.0]])
    images = torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    rig = CameraRig(("CAM",), images, k[None], pose[None], torch.ones(1, dtype=torch.bool))
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, (16, 32), (16, 32))
    depth = -rays.origins[:, 2] / rays.directions[:, 2]
    depth = torch.where(depth > 0, depth, torch.inf).reshape(1, 16, 32)
    points = rays.at(depth.reshape(-1, 1))[:, 0]
    points = points[points.isfinite().all(dim=1)]
    lidar = torch.tensor([0.9, 0.0, 1.8])
    return TrainSample("ground", rig, depth, lidar, points, voxel_labels(rig, depth))


def surface(sample: TrainSample) -> torch.Tensor:
    """Points that the depth map describes, in image order."""
    rig = sample.rig
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, rig.image_size)
    return rays.at(sample.depth_m.reshape(-1, 1)).reshape(*sample.depth_m.shape, 3)


def test_mirrored_images_see_the_mirrored_world() -> None:
    sample = ground_sample()
    expected = surface(sample).flip(2) * torch.tensor([1.0, -1.0, 1.0])
    torch.testing.assert_close(surface(mirrored(sample)), expected, equal_nan=True)
    torch.testing.assert_close(mirrored(mirrored(sample)).rig.intrinsics, sample.rig.intrinsics)


def test_blanks_cover_things_alone_and_half_of_the_pictures() -> None:
    sample = ground_sample()
    sky = sample.depth_m.isinf()
    painted, overcast = [], sample.rig.images[:, :, sky[0]].mean(dim=(0, 2))
    in_its_colour = 0
    for seed in range(60):
        changed = blanked(sample, torch.Generator().manual_seed(seed))
        assert changed.depth_m is sample.depth_m
        difference = (changed.rig.images - sample.rig.images).abs().amax(dim=1)
        assert not difference[sky].any()
        painted.append(float((difference > 0).float().mean()))
        if painted[-1]:
            nearer = (changed.rig.images - overcast[:, None, None]).abs()
            nearer = nearer <= (sample.rig.images - overcast[:, None, None]).abs() + 1e-6
            in_its_colour += bool(nearer.all())
    share = sum(p > 0 for p in painted) / len(painted)
    assert 0.2 < share < 0.6  # some fall on the sky alone
    assert max(painted) > 0.1
    assert in_its_colour > 3


def test_a_board_is_one_upright_plane_to_camera_and_lidar() -> None:
    sample = ground_sample()
    before, lidar = surface(sample), sample.lidar_origin_m
    seen_ones = hit_ones = 0
    for seed in range(40):
        changed = boarded(sample, torch.Generator().manual_seed(seed))
        seen = changed.depth_m != sample.depth_m
        assert (changed.depth_m <= sample.depth_m).all()
        assert torch.equal((changed.rig.images != sample.rig.images).any(dim=1), seen)
        assert torch.equal(surface(changed)[~seen].nan_to_num(), before[~seen].nan_to_num())
        moved = (changed.lidar_points_m - sample.lidar_points_m).norm(dim=1) > 1e-3
        was, now = sample.lidar_points_m[moved] - lidar, changed.lidar_points_m[moved] - lidar
        assert (now.norm(dim=1) < was.norm(dim=1)).all()  # cut short on the way
        torch.testing.assert_close(
            torch.linalg.cross(was, now), torch.zeros_like(was), atol=1e-2, rtol=0
        )
        board = torch.cat([surface(changed)[seen], changed.lidar_points_m[moved]])
        if seen.sum() > 9:
            flat = board - board.mean(dim=0)
            normal = torch.linalg.svd(flat.double())[2][2]
            assert (flat.double() @ normal).abs().max() < 2e-3
            assert normal[2].abs() < 1e-2  # upright
            distance = (board.mean(dim=0).double() @ normal).abs()
            assert 0.3 < distance < 18
            seen_ones, hit_ones = seen_ones + 1, hit_ones + bool(moved.any())
    assert seen_ones > 5
    assert hit_ones > 5


def test_augment_is_repeatable() -> None:
    sample = ground_sample()
    once = augment(sample, torch.Generator().manual_seed(3), drop_camera=0.0)
    again = augment(sample, torch.Generator().manual_seed(3), drop_camera=0.0)
    assert torch.equal(once.rig.images, again.rig.images)
    assert once.rig.valid.all()


def test_a_camera_can_be_lost_but_never_the_last() -> None:
    sample = ground_sample()
    first, pair = sample.rig, {}
    for field in ("images", "intrinsics", "ego_from_camera", "valid"):
        pair[field] = torch.cat([getattr(first, field)] * 2)
    both = CameraRig(("CAM", "OTHER"), **pair)
    depth_m = torch.cat([sample.depth_m] * 2)
    for rig, depths in ((first, sample.depth_m), (both, depth_m), (both.without("CAM"), depth_m)):
        given = dataclasses.replace(sample, rig=rig, depth_m=depths)
        for seed in range(6):
            changed = augment(given, torch.Generator().manual_seed(seed), drop_camera=1.0)
            assert changed.rig.valid.sum() == 1


@pytest.mark.parametrize("seed", range(4))
def test_virtual_views_are_recoloured_like_the_cameras(seed) -> None:
    """A virtual view that shows what a camera shows still does."""
    sample = ground_sample()
    sample = dataclasses.replace(sample, virtual=(View(sample.rig, sample.depth_m),))
    changed = augment(sample, torch.Generator().manual_seed(seed), drop_camera=0.0)
    assert not torch.equal(changed.rig.images, sample.rig.images)
    (virtual,) = changed.virtual
    torch.testing.assert_close(virtual.rig.images, changed.rig.images)
    torch.testing.assert_close(virtual.rig.intrinsics, changed.rig.intrinsics)


def test_a_step_looks_through_two_cameras_of_any_place() -> None:
    sample = ground_sample()
    assert sample.through(2, torch.Generator().manual_seed(0)) is sample
    rig, places = sample.rig, []
    for metres in (1.0, 2.0):
        pose = rig.ego_from_camera.repeat(3, 1, 1)
        pose[:, 2, 3] = metres
        same = [x.repeat(3, *[1] * (x.dim() - 1)) for x in (rig.images, rig.intrinsics)]
        cameras = CameraRig(("a", "b", "c"), *same, pose, rig.valid.repeat(3))
        depth = metres + torch.arange(3.0)[:, None, None].expand(3, 16, 32) / 10
        places.append(View(cameras, depth))
    sample = dataclasses.replace(sample, virtual=tuple(places))
    drawn = set()
    for seed in range(60):
        (view,) = sample.through(2, torch.Generator().manual_seed(seed)).virtual
        metres = float(view.rig.ego_from_camera[0, 2, 3])
        assert view.rig.ego_from_camera[:, 2, 3].tolist() == [metres] * 2
        expected = [metres + "abc".index(name) / 10 for name in view.rig.names]
        assert view.depth_m[:, 0, 0].tolist() == pytest.approx(expected)
        drawn |= {(metres, name) for name in view.rig.names}
    assert len(drawn) == 6


def test_pooled_depth_of_a_plane_is_exact_at_cell_centres() -> None:
    sample = ground_sample()
    fine = dataclasses.replace(sample, depth_m=sample.depth_m.clone())
    pooled = pool_depth(fine.depth_m, (8, 16))
    rig = sample.rig
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, (16, 32), (8, 16))
    exact = (-rays.origins[:, 2] / rays.directions[:, 2]).reshape(1, 8, 16)
    smooth = pooled.isfinite() & (exact > 0) & (exact < 4.5)
    assert smooth.sum() > 15
    torch.testing.assert_close(pooled[smooth], exact[smooth])


def test_pooled_depth_keeps_the_nearer_side_of_an_edge_and_drops_sky() -> None:
    sky, unknown = torch.inf, torch.nan
    depth = torch.tensor(
        [[[5.0, 50.0, sky, sky, unknown, unknown], [5.0, 50.0, sky, 9.0, unknown, 7.0]]]
    )
    pooled = pool_depth(depth, (1, 3))[0, 0]
    assert pooled[0].item() == pytest.approx(5.0)
    assert pooled[1].isinf()
    assert pooled[2].item() == pytest.approx(7.0)  # one lidar point says more than nothing
    assert pool_depth(torch.full((1, 2, 2), unknown), (1, 1)).isnan().all()
