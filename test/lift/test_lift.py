"""Lifting: every candidate lies on its pixel's ray, at its depth."""

import pytest
import torch

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.lift.coarse_depth import CoarseDepth
from distillnerf_ros.lift.fine_depth import FineDepth
from distillnerf_ros.lift.lift import LiftedPoints, lift

SHAPE = (2, 4, 6)


def lifted(rig: CameraRig) -> tuple[CoarseDepth, FineDepth, LiftedPoints]:
    generator = torch.Generator().manual_seed(0)
    opacity = torch.rand(SHAPE, generator=generator)
    coarse = CoarseDepth(
        torch.ones(SHAPE), opacity, torch.zeros(2, 1, 4, 6), torch.zeros(*SHAPE, 1)
    )
    fine = FineDepth(
        1 + 30 * torch.rand(*SHAPE, 3, generator=generator),
        torch.rand(*SHAPE, 3, generator=generator),
        torch.randn(*SHAPE, 5, generator=generator),
    )
    return coarse, fine, lift(rig, coarse, fine, min_opacity=0.4)


def test_points_project_back_to_their_pixels_and_depths(make_rig):
    rig = make_rig((32, 48), count=2)
    _, fine, points = lifted(rig)
    per_camera = points.points_m.reshape(2, -1, 3)
    for camera in range(2):
        pose = rig.ego_from_camera[camera]
        optical = (per_camera[camera] - pose[:3, 3]) @ pose[:3, :3]
        torch.testing.assert_close(optical[:, 2], fine.depth_m[camera].reshape(-1))
        pixel = optical @ rig.intrinsics[camera].T / optical[:, 2:]
        v, u = torch.meshgrid(torch.arange(4) + 0.5, torch.arange(6) + 0.5, indexing="ij")
        expected = 8 * torch.stack([u, v], dim=-1).reshape(-1, 2).repeat_interleave(3, 0)
        torch.testing.assert_close(pixel[:, :2], expected, atol=1e-3, rtol=0)


def test_points_carry_the_features_of_their_pixel_and_a_probability_of_their_own(make_rig):
    _, fine, points = lifted(make_rig(count=2))
    assert torch.equal(points.features.reshape(*SHAPE, 5), fine.features)
    assert torch.equal(points.probability.reshape(*SHAPE, 3), fine.probability)


def test_sky_lifts_nothing(make_rig):
    coarse, _, points = lifted(make_rig(count=2))
    expected = (coarse.opacity >= 0.4).reshape(-1).repeat_interleave(3)
    assert (points.keep == expected).all()
    assert 0 < int(points.keep.sum()) < len(points.keep)


def test_another_number_of_cameras_is_refused(make_rig):
    with pytest.raises((TypeError, RuntimeError)):
        lifted(make_rig(count=3))
