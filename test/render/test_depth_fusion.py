"""Depth fusion: what goes in, what comes out without training, and what training can learn."""

import math

import pytest
import torch

from distillnerf_ros.cameras.visibility import Told
from distillnerf_ros.render.depth_fusion import DepthFusion, log_moments
from distillnerf_ros.render.renderer import RayResult
from distillnerf_ros.training.losses import relative_depth_loss


def rays_of(depth_m: torch.Tensor) -> RayResult:
    """Rays that are stopped at one depth."""
    one = torch.ones(len(depth_m), 1)
    return RayResult(depth_m, one[:, 0], None, one, depth_m[:, None])


def told_of(
    depth_m: torch.Tensor, deviation: torch.Tensor, shown: torch.Tensor | None = None
) -> Told:
    one = torch.ones_like(depth_m)
    doubts = torch.stack([depth_m.nan_to_num(1, 1).log(), deviation, one, 0 * one], dim=-1)
    return Told(depth_m, doubts, (0 * one if shown is None else shown)[:, None])


def test_moments_of_two_depths() -> None:
    mean, deviation = log_moments(torch.tensor([0.3, 0.1]), torch.tensor([1.0, math.e**4]))
    assert mean.item() == pytest.approx(1.0)  # 3/4 of ln 1, 1/4 of ln e^4
    assert deviation.item() == pytest.approx(math.sqrt(3 / 4 * 1 + 1 / 4 * 9))
    assert [x.item() for x in log_moments(torch.zeros(3), torch.rand(3))] == [0, 0]


def test_depths_that_all_share_give_the_same_as_depths_of_each() -> None:
    weights, depth = torch.rand(4, 5, 7), 50 * torch.rand(7)
    own = log_moments(weights, depth.expand(4, 5, 7))
    with torch.autocast("cpu", torch.bfloat16):  # a difference of squares has no digits to lose
        shared = log_moments(weights, depth)
    torch.testing.assert_close(shared, own, rtol=1e-4, atol=1e-4)


def test_untrained_it_is_the_geometric_mean_and_leaves_sky_and_the_unknown() -> None:
    seen = torch.tensor([4.0, 9.0, torch.inf, torch.nan])
    said = DepthFusion(1)(told_of(seen, torch.zeros(4)), rays_of(torch.tensor([9.0, 9, 5, 5])))
    torch.testing.assert_close(
        said, torch.tensor([6.0, 9.0, torch.inf, torch.nan]), equal_nan=True
    )


def test_rays_without_a_surface_do_not_spoil_the_gradient() -> None:
    fusion = DepthFusion(1)
    seen = torch.tensor([4.0, torch.inf, torch.nan, 7.0])
    said = fusion(told_of(seen, torch.zeros(4)), rays_of(torch.tensor([9.0, 9, 5, 7])))
    relative_depth_loss(said, torch.tensor([8.0, 8.0, 8.0, torch.nan])).backward()
    assert all(p.grad.isfinite().all() for p in fusion.parameters())
    assert fusion.factor.bias.grad.item() == pytest.approx(-6 / 8)  # d/db of |6 e^b / 8 - 1|


def test_it_learns_whom_to_believe() -> None:
    """Where the picture is sure it is right, where it is not the field is."""
    torch.manual_seed(0)
    fusion = DepthFusion(1)
    optimizer = torch.optim.Adam(fusion.parameters(), 1e-2)

    def glance() -> tuple[torch.Tensor, RayResult, torch.Tensor]:
        truth = 3 * 20 ** torch.rand(512)
        wrong = truth * (0.4 * torch.randn(512)).exp()
        sure = torch.rand(512) < 0.5
        seen, field = torch.where(sure, truth, wrong), torch.where(sure, wrong, truth)
        return told_of(seen, torch.where(sure, 0.05, 0.5)), rays_of(field), truth

    for _ in range(300):
        told, result, truth = glance()
        optimizer.zero_grad()
        relative_depth_loss(fusion(told, result), truth).backward()
        optimizer.step()
    told, result, truth = glance()
    before = relative_depth_loss(DepthFusion(1)(told, result), truth)
    with torch.no_grad():
        assert relative_depth_loss(fusion(told, result), truth) < 0.3 * before


def test_it_learns_from_what_a_pixel_shows() -> None:
    """Both are a quarter too far where the feature is 1, and right where it is 0."""
    torch.manual_seed(0)
    fusion = DepthFusion(1)
    optimizer = torch.optim.Adam(fusion.parameters(), 1e-2)
    truth, shown = 3 * 20 ** torch.rand(512), (torch.rand(512) < 0.5).float()
    seen = truth * (1 + 0.25 * shown)
    told = told_of(seen, torch.full((512,), 0.1), shown)
    for _ in range(200):
        optimizer.zero_grad()
        relative_depth_loss(fusion(told, rays_of(seen)), truth).backward()
        optimizer.step()
    with torch.no_grad():
        assert relative_depth_loss(fusion(told, rays_of(seen)), truth) < 0.02
