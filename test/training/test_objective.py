"""The objective where targets are not known everywhere."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from distillnerf_ros.cameras import Rays, camera_rays
from distillnerf_ros.data.lidar import project
from distillnerf_ros.render.renderer import RayResult
from distillnerf_ros.training.losses import bin_loss, rgb_loss
from distillnerf_ros.training.objective import _Seen
from distillnerf_ros.training.samples import View

sys.path.insert(0, str(Path(__file__).parent))
from test_trainer import ground_glance, make_trainer


def seen(rgb: torch.Tensor, images: torch.Tensor) -> _Seen:
    ray = torch.zeros(1, 1)
    result = RayResult(ray[0], ray[0], None, ray, ray)
    rays = Rays(torch.zeros(4, 3), torch.ones(4, 3))
    return _Seen(result, torch.zeros(1, 2, 2, 1), rgb, torch.zeros(1, 2, 2), images, rays)


def test_colour_counts_where_it_is_known_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    rgb = torch.rand(1, 3, 16, 32, generator=generator).requires_grad_()
    images = torch.rand(1, 3, 16, 32, generator=generator)
    known = torch.zeros(1, 16, 32, dtype=torch.bool)
    known[..., :16] = True
    loss = seen(rgb, images).rgb_loss(known)
    loss.backward()
    # SSIM's windows that lie across the border see equal colours in their unknown half.
    inside = rgb_loss(rgb[..., :16], images[..., :16])
    assert loss.item() == pytest.approx(inside.item(), rel=0.1)
    assert rgb.grad[..., :12].abs().min() > 0
    assert rgb.grad[..., 24:].abs().max() < 1e-7
    wild = images.clone()
    wild[..., 16:] = 1 - wild[..., 16:]
    assert seen(rgb, wild).rgb_loss(known).item() == pytest.approx(loss.item())


def test_known_everywhere_is_the_plain_loss_and_known_nowhere_is_none() -> None:
    rgb, images = torch.rand(2, 1, 3, 16, 32)
    known = torch.ones(1, 16, 32, dtype=torch.bool)
    assert seen(rgb, images).rgb_loss(known) == seen(rgb, images).rgb_loss() > 0.1
    assert seen(rgb, images).rgb_loss(~known).item() == pytest.approx(0, abs=1e-3)


def test_what_a_moved_camera_could_not_see_changes_nothing() -> None:
    sample = ground_glance()
    trainer = make_trainer()

    def terms(images: torch.Tensor, depth: torch.Tensor) -> dict[str, torch.Tensor]:
        rig = dataclasses.replace(sample.rig, images=images)
        with_view = dataclasses.replace(sample, virtual=(View(rig, depth),))
        chance = torch.Generator().manual_seed(0)
        return trainer.objective(trainer.model, with_view, chance)

    depth = sample.depth_m.clone()
    depth[..., 32:] = torch.nan
    images = sample.rig.images.clone()
    images[..., 32:] = 1 - images[..., 32:]
    one, other = terms(sample.rig.images, depth), terms(images, depth)
    assert one["virtual_rgb"] > 0.1
    assert one["virtual_rgb"].item() == pytest.approx(other["virtual_rgb"].item())
    assert one["virtual_depth"].isfinite()


def test_a_glance_without_lidar_has_no_lidar_terms_and_trains() -> None:
    unknown = torch.full((3,), torch.nan)
    sample = dataclasses.replace(
        ground_glance(), lidar_origin_m=unknown, lidar_points_m=torch.empty(0, 3)
    )
    trainer = make_trainer()
    terms = trainer.train_step([sample])
    assert {"depth", "rgb", "occupancy"} <= set(terms)
    assert not any("lidar" in name or "sight" in name for name in terms)
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_stage_1_is_judged_where_lidar_points_fell_and_nowhere_else() -> None:
    sample, trainer = ground_glance(), make_trainer()
    model = trainer.model
    coarse, fine, _ = model.depth_stages(sample.rig)
    coarse = dataclasses.replace(coarse, depth_m=coarse.depth_m.detach().requires_grad_())
    camera, row, col = 1, 5, 7
    rows, cols = coarse.depth_m.shape[1:]
    rig = sample.rig
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (rows, cols))
    ray = rays.select(torch.tensor([(camera * rows + row) * cols + col]))
    points = ray.at(torch.tensor([[6.0, 9.0]]))[0]
    sample = dataclasses.replace(sample, lidar_points_m=points)
    chance = torch.Generator().manual_seed(0)
    term = trainer.objective._image_terms(model, coarse, fine, sample, chance)
    term["lidar_coarse_depth"].backward()
    said = coarse.depth_m[camera, row, col]  # the nearer of the two points is what can be seen
    wanted = (said.log() - torch.tensor(6.0).log()).abs().item()
    assert term["lidar_coarse_depth"].item() == pytest.approx(wanted, abs=1e-4)
    grad = torch.zeros_like(coarse.depth_m)
    grad[camera, row, col] = (said - 6).sign() / said
    torch.testing.assert_close(coarse.depth_m.grad, grad.detach())
    target = torch.full(coarse.depth_m.shape, torch.nan)
    target[camera, row, col] = 6.0
    bins = bin_loss(coarse.weights, target, model.coarse_depth.edges_m)
    assert term["lidar_bins"].item() == pytest.approx(bins.item(), rel=1e-3)


def test_cameras_that_share_no_view_train() -> None:
    sample = ground_glance()
    rays = camera_rays(sample.rig.intrinsics, sample.rig.ego_from_camera, (32, 64), (32, 64))
    points = rays.at(sample.depth_m.reshape(-1, 1))[:, 0].reshape(2, -1, 3)
    for camera in range(2):
        seen_by_other = points[1 - camera][points[1 - camera].isfinite().all(1)]
        assert (project(seen_by_other, sample.rig, camera)[1] < 0).all()  # all lie behind it
    trainer = make_trainer()
    terms = [trainer.train_step([sample]) for _ in range(3)]
    assert all(value < float("inf") for value in terms[-1].values())
    assert terms[-1]["coarse_depth"] > 0
    assert all(p.isfinite().all() for p in trainer.model.parameters())
