"""The losses on cases whose value or gradient is known."""

import math

import pytest
import torch

from distillnerf_ros.cameras import Rays
from distillnerf_ros.training import losses
from distillnerf_ros.voxels.field import FieldSample


class HalfSpace:
    """Solid beyond x = 10 m, empty before it."""

    def __init__(self, density: float) -> None:
        self.value = torch.tensor(density, requires_grad=True)

    def __call__(self, points_m, directions=None, time=None) -> FieldSample:
        nothing = points_m.new_zeros(*points_m.shape)
        return FieldSample(self.density(points_m), nothing, nothing)

    def density(self, points_m: torch.Tensor) -> torch.Tensor:
        return (points_m[..., 0] >= 10).float() * self.value

    def proposal_density(self, points_m: torch.Tensor) -> torch.Tensor:
        return self.density(points_m).detach()


def forward_rays(count: int) -> Rays:
    return Rays(torch.zeros(count, 3), torch.tensor([[1.0, 0.0, 0.0]]).expand(count, 3))


def test_log_depth_loss_is_the_log_of_a_constant_factor() -> None:
    target = torch.tensor([[2.0, 40.0, torch.nan]])
    assert losses.log_depth_loss(target * 1.1, target).item() == pytest.approx(math.log(1.1))


def test_log_depth_loss_of_nothing_known_is_zero_with_finite_gradient() -> None:
    depth = torch.ones(3, requires_grad=True)
    losses.log_depth_loss(depth, torch.full((3,), torch.nan)).backward()
    assert torch.equal(depth.grad, torch.zeros(3))


def test_bin_loss_is_least_where_the_expectation_is_exact() -> None:
    edges = torch.tensor([0.0, 2.0, 4.0, 6.0])  # middles 1, 3, 5
    target = torch.tensor([2.5])  # a quarter in bin 0, three quarters in bin 1
    exact = losses.bin_loss(torch.tensor([[0.25, 0.75, 0.0]]), target, edges)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert exact.item() == pytest.approx(entropy, abs=1e-3)
    for other in ([0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.7, 0.1]):
        assert losses.bin_loss(torch.tensor([other]), target, edges) > exact


def test_bin_loss_of_sky_asks_for_transparency() -> None:
    edges = torch.tensor([0.0, 2.0, 4.0])
    sky = torch.tensor([torch.nan])
    assert losses.bin_loss(torch.zeros(1, 2), sky, edges).item() == pytest.approx(0, abs=1e-4)
    half = losses.bin_loss(torch.tensor([[0.25, 0.25]]), sky, edges)
    assert half.item() == pytest.approx(math.log(2), abs=1e-4)


def test_candidate_loss_knows_free_surface_and_unknown() -> None:
    candidates = torch.tensor([[4.0, 5.0, 6.0]])
    target = torch.tensor([5.0])
    # 4 m is free, 5 m is the surface, 6 m is behind it by more than a voxel: unknown.
    perfect = losses.candidate_loss(torch.tensor([[0.0, 1.0, 0.3]]), candidates, target)
    assert perfect.item() == pytest.approx(0, abs=1e-3)
    half = losses.candidate_loss(torch.tensor([[0.5, 0.5, 0.9]]), candidates, target)
    assert half.item() == pytest.approx(math.log(2))


def test_opacity_and_entropy_losses() -> None:
    hit = torch.tensor([True, False])
    half = losses.opacity_loss(torch.tensor([0.5, 0.5]), hit)
    assert half.item() == pytest.approx(math.log(2))
    spread = torch.full((1, 4), 0.25)
    assert losses.entropy_loss(spread).item() == pytest.approx(math.log(4), abs=1e-4)
    assert losses.entropy_loss(torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0, abs=1e-4)


def test_occupancy_rays_are_content_with_the_truth_and_push_towards_it() -> None:
    generator = torch.Generator().manual_seed(0)
    depth = torch.full((64,), 10.0)
    solid = HalfSpace(50.0)
    assert losses.occupancy_ray_loss(solid, forward_rays(64), depth, generator) < 1e-3
    thin = HalfSpace(0.1)
    losses.occupancy_ray_loss(thin, forward_rays(64), depth, generator).backward()
    assert thin.value.grad < 0  # more density would lower the loss
    late = losses.occupancy_ray_loss(solid, forward_rays(64), depth + 4, generator)
    assert late > 0.5  # the near samples (3 m before 14 m) fall into the solid


def test_rgb_loss_is_zero_for_equal_images_and_ssim_is_one() -> None:
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert losses.ssim(image, image).item() == pytest.approx(1)
    assert losses.rgb_loss(image, image).item() == pytest.approx(0, abs=1e-6)
    shifted = (image * 0.5 + 0.25).clamp(0, 1)
    assert losses.rgb_loss(shifted, image) > (shifted - image).abs().mean()


def test_feature_loss_counts_length_and_direction() -> None:
    target = torch.tensor([[3.0, 4.0]])
    assert losses.feature_loss(target, target, 1.0).item() == pytest.approx(0, abs=1e-6)
    opposite = losses.feature_loss(-target, target, 2.0).item()
    assert opposite == pytest.approx(7.0 / 2 + 2)
