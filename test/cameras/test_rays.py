"""Rays: pixel centres, the pinhole model, and depth along the optical axis."""

import pytest
import torch

from distillnerf_ros.cameras.rays import Rays, camera_rays

K = torch.tensor([[50.0, 2.0, 33.0], [0.0, 60.0, 17.0], [0.0, 0.0, 1.0]])


def optical_points(rays: Rays, pose: torch.Tensor, depth_m: float) -> torch.Tensor:
    points = rays.at(torch.full((len(rays.origins), 1), depth_m))[:, 0]
    return (points - pose[:3, 3]) @ pose[:3, :3]


def test_the_principal_point_looks_along_the_optical_axis():
    k = torch.tensor([[[40.0, 0, 1.5], [0, 40.0, 0.5], [0, 0, 1]]])
    rays = camera_rays(k, torch.eye(4)[None], (1, 3), (1, 3))
    torch.testing.assert_close(rays.directions[1], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(rays.directions[2], torch.tensor([1 / 40, 0.0, 1.0]))


def test_projecting_a_ray_gives_its_pixel_centre_and_depth(make_rig):
    rig = make_rig((32, 64), count=2)
    rays = camera_rays(K.repeat(2, 1, 1), rig.ego_from_camera, (32, 64), (32, 64))
    optical = optical_points(rays.select(torch.arange(2048, 4096)), rig.ego_from_camera[1], 7.0)
    torch.testing.assert_close(optical[:, 2], torch.full((2048,), 7.0))
    pixel = (optical @ K.T) / 7.0
    v, u = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    torch.testing.assert_close(pixel[:, 0], u.reshape(-1), atol=1e-4, rtol=0)
    torch.testing.assert_close(pixel[:, 1], v.reshape(-1), atol=1e-4, rtol=0)


def test_parameter_is_depth_and_lengths_are_metres():
    rays = camera_rays(K[None], torch.eye(4)[None], (32, 64), (4, 4))
    near, far = rays.at(torch.tensor([[2.0, 3.0]]).expand(16, 2)).unbind(1)
    torch.testing.assert_close(far[:, 2] - near[:, 2], torch.ones(16))
    torch.testing.assert_close((far - near).norm(dim=-1), rays.lengths)


def test_a_coarse_grid_looks_through_the_centres_of_its_cells():
    fine = camera_rays(K[None], torch.eye(4)[None], (32, 64), (32, 64))
    coarse = camera_rays(K[None], torch.eye(4)[None], (32, 64), (16, 16))
    blocks = fine.directions.reshape(16, 2, 16, 4, 3).mean(dim=(1, 3))
    torch.testing.assert_close(coarse.directions, blocks.reshape(-1, 3))


def test_rays_start_at_the_camera():
    pose = torch.eye(4)[None]
    pose[0, :3, 3] = torch.tensor([1.0, 2.0, 3.0])
    rays = camera_rays(K[None], pose, (4, 4), (2, 2))
    assert (rays.origins == torch.tensor([1.0, 2.0, 3.0])).all()


def test_select_takes_indices_and_masks():
    rays = camera_rays(K[None], torch.eye(4)[None], (4, 4), (2, 2))
    mask = torch.tensor([False, True, False, True])
    for chosen in (rays.select(mask), rays.select(torch.tensor([1, 3]))):
        assert (chosen.directions == rays.directions[1::2]).all()
        assert (chosen.origins == rays.origins[1::2]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_of_the_calibration_is_kept(dtype):
    rays = camera_rays(K[None].to(dtype), torch.eye(4, dtype=dtype)[None], (4, 4), (2, 2))
    assert rays.directions.dtype == rays.origins.dtype == dtype


def test_missing_intrinsics_do_not_stop_the_others():
    """A general inverse of a missing camera's zero matrix raised for the whole rig."""
    k = torch.stack([K, torch.zeros(3, 3)])
    rays = camera_rays(k, torch.eye(4).repeat(2, 1, 1), (4, 4), (2, 2))
    assert rays.directions[:4].isfinite().all()
