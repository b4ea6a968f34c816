"""The losses on cases whose value or gradient is known."""

import math

import pytest
import torch

from distillnerf_ros.cameras import Rays
from distillnerf_ros.cameras.visibility import Visibility
from distillnerf_ros.training import losses
from distillnerf_ros.training.surface import VoxelLabels, voxels_of
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.field import FieldHeads, FieldSample, VoxelField
from distillnerf_ros.voxels.grid import GridLayout, build_grid


def test_line_of_sight_wants_all_weight_at_the_surface() -> None:
    samples, target = torch.tensor([[4.0, 9.5, 10.5, 20.0]]), torch.tensor([10.0])
    perfect = losses.line_of_sight_loss(torch.tensor([[0.0, 0.5, 0.5, 0.0]]), samples, target)
    assert perfect.item() == pytest.approx(0)
    early = losses.line_of_sight_loss(torch.tensor([[0.6, 0.4, 0.0, 0.0]]), samples, target)
    assert early.item() == pytest.approx(0.6**2 + (1 - 0.4) ** 2)
    late = losses.line_of_sight_loss(torch.tensor([[0.0, 0.0, 0.0, 1.0]]), samples, target)
    assert late.item() == pytest.approx(1.0)
    weights = torch.tensor([[0.6, 0.4, 0.0, 0.0]], requires_grad=True)
    losses.line_of_sight_loss(weights, samples, target).backward()
    assert weights.grad[0].tolist() == pytest.approx([1.2, -1.2, -1.2, 0.0])


NOWHERE = torch.zeros(0, dtype=torch.long)


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

    def sky(self, directions: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(directions)


def forward_rays(count: int) -> Rays:
    return Rays(torch.zeros(count, 3), torch.tensor([[1.0, 0.0, 0.0]]).expand(count, 3))


def test_log_depth_loss_is_the_log_of_a_constant_factor() -> None:
    target = torch.tensor([[2.0, 40.0, torch.nan]])
    assert losses.log_depth_loss(target * 1.1, target).item() == pytest.approx(math.log(1.1))


def test_log_depth_loss_of_nothing_known_is_zero_with_finite_gradient() -> None:
    depth = torch.ones(3, requires_grad=True)
    losses.log_depth_loss(depth, torch.full((3,), torch.nan)).backward()
    assert torch.equal(depth.grad, torch.zeros(3))


def test_relative_depth_loss_is_the_share_that_a_depth_is_off() -> None:
    depth = torch.tensor([3.0, 9.0, torch.inf, 5.0], requires_grad=True)
    loss = losses.relative_depth_loss(depth, torch.tensor([4.0, 6.0, 7.0, torch.nan]))
    loss.backward()
    assert loss.item() == pytest.approx((1 / 4 + 1 / 2) / 2)
    torch.testing.assert_close(depth.grad, torch.tensor([-1 / 8, 1 / 12, 0.0, 0.0]))


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
    sky = torch.tensor([torch.inf])
    assert losses.bin_loss(torch.zeros(1, 2), sky, edges).item() == pytest.approx(0, abs=1e-4)
    half = losses.bin_loss(torch.tensor([[0.25, 0.25]]), sky, edges)
    assert half.item() == pytest.approx(math.log(2), abs=1e-4)


def test_bin_loss_misses_a_sky_sooner_than_a_surface() -> None:
    edges = torch.tensor([0.0, 2.0, 4.0])  # middles 1, 3
    target = torch.tensor([1.0, torch.inf])  # the same pixel shows either, as often

    def loss(opacity: float) -> float:
        return losses.bin_loss(torch.tensor([[opacity, 0.0]] * 2), target, edges).item()

    best = 1 / (1 + losses.SKY_WEIGHT)
    assert loss(best) < min(loss(best - 0.02), loss(best + 0.02))


def test_bin_loss_asks_nothing_where_nothing_is_known() -> None:
    edges = torch.tensor([0.0, 2.0, 4.0])
    weights = torch.tensor([[0.25, 0.25], [0.5, 0.5]])
    both = losses.bin_loss(weights, torch.tensor([torch.inf, torch.nan]), edges)
    assert both.item() == pytest.approx(math.log(2), abs=1e-4)


def test_candidate_loss_knows_free_surface_and_unknown() -> None:
    candidates = torch.tensor([[4.0, 5.0, 6.0]])
    target = torch.tensor([5.0])
    # 4 m is free, 5 m is the surface, 6 m is behind it by more than a voxel: unknown.
    perfect = losses.candidate_loss(torch.tensor([[0.0, 1.0, 0.3]]), candidates, target)
    assert perfect.item() == pytest.approx(0, abs=1e-3)
    half = losses.candidate_loss(torch.tensor([[0.5, 0.5, 0.9]]), candidates, target)
    assert half.item() == pytest.approx(math.log(2))


def test_a_single_candidate_is_judged_within_a_voxel() -> None:
    candidate = torch.tensor([[5.3], [4.0]])
    loss = losses.candidate_loss(torch.tensor([[1.0], [0.0]]), candidate, torch.full((2,), 5.0))
    assert loss.item() == pytest.approx(0, abs=1e-3)


def test_opacity_and_entropy_losses() -> None:
    target = torch.tensor([7.0, torch.inf, torch.nan])
    half = losses.opacity_loss(torch.tensor([0.5, 0.5, 0.9]), target)
    assert half.item() == pytest.approx(math.log(2))
    right = losses.opacity_loss(torch.tensor([1.0, 0.0, 0.9]), target)
    assert right.item() == pytest.approx(0, abs=1e-3)
    spread = torch.full((1, 4), 0.25)
    assert losses.entropy_loss(spread).item() == pytest.approx(math.log(4), abs=1e-4)
    assert losses.entropy_loss(torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0, abs=1e-4)


def test_a_sure_answer_in_bfloat16_costs_as_little_as_in_float32() -> None:
    sure = torch.tensor([1.0, 1.0, 0.0], dtype=torch.bfloat16)
    loss = losses.opacity_loss(sure, torch.tensor([5.0, 7.0, math.inf]))
    assert loss.item() == pytest.approx(1e-4, rel=1e-2)


def test_occupancy_rays_are_content_with_the_truth_and_push_towards_it() -> None:
    generator = torch.Generator().manual_seed(0)
    depth = torch.full((64,), 10.0)
    solid = HalfSpace(50.0)
    assert losses.occupancy_ray_loss(solid, forward_rays(64), depth, NOWHERE, generator) < 1e-3
    thin = HalfSpace(0.1)
    losses.occupancy_ray_loss(thin, forward_rays(64), depth, NOWHERE, generator).backward()
    assert thin.value.grad < 0  # more density would lower the loss
    late = losses.occupancy_ray_loss(solid, forward_rays(64), depth + 4, NOWHERE, generator)
    assert late > 0.5  # the near samples (3 m before 14 m) fall into the solid


def test_points_in_voxels_with_a_surface_are_not_called_free() -> None:
    """Rays along a road cross the road's own voxels before they hit it."""
    depth = torch.full((64,), 20.0)
    road = HalfSpace(50.0)  # from x = 10 m on the rays run through what they hit at 20 m
    wrong = losses.occupancy_ray_loss(
        road, forward_rays(64), depth, NOWHERE, torch.Generator().manual_seed(0)
    )
    line = torch.zeros(400, 3)
    line[:, 0] = torch.linspace(9.9, 21, 400)
    surface = voxels_of(line).unique()
    right = losses.occupancy_ray_loss(
        road, forward_rays(64), depth, surface, torch.Generator().manual_seed(0)
    )
    assert wrong > 2
    assert right < 1e-3


def glance_field(density: float) -> VoxelField:
    """A field with one density wherever it has a voxel: x in 8 .. 16 m ahead, two coarse cells."""
    layout = GridLayout(Contraction((40.0, 40.0, 4.0), 0.8), (10, 10, 2), 2)
    points = torch.tensor([[12.0, 1.0, -0.1], [22.0, 1.0, -0.1]])
    grid = build_grid(layout, points, torch.ones(2, dtype=torch.bool), 9, 9)[0]
    slots = torch.full((3 * 8,), density)
    slots[16:] = 0
    rows = torch.zeros(3, 1)
    sky = Visibility(torch.eye(3)[None], torch.eye(4)[None], (2, 2), torch.ones(1, 2, 2))
    logit = torch.zeros(layout.coarse_count)
    heads = FieldHeads(2, 2, 1)
    return VoxelField(
        grid,
        slots.requires_grad_(),
        rows,
        rows,
        heads,
        torch.zeros(1),
        sky,
        block_logit=logit.requires_grad_(),
    )


def line_labels(surface_x_m: float, free_x_m: float) -> VoxelLabels:
    ends = voxels_of(torch.tensor([[surface_x_m, 1.0, -0.1], [free_x_m, 1.0, -0.1]]))
    return VoxelLabels(ends[:1], torch.zeros(1, dtype=torch.long), ends[1:])


def test_voxel_occupancy_counts_an_occupied_voxel_three_times() -> None:
    field = glance_field(math.log(4) / 0.4)  # probability 3/4 in both voxels
    loss = losses.voxel_occupancy_loss(
        field, line_labels(12.0, 22.0), 8, torch.Generator().manual_seed(0)
    )
    assert loss.item() == pytest.approx((3 * -math.log(0.75) - math.log(0.25)) / 4, rel=1e-4)
    loss.backward()
    gradient = field.slot_density.grad
    assert gradient[:8].sum() < 0 < gradient[8:16].sum()


def test_voxel_occupancy_leaves_out_what_no_block_can_get_wrong() -> None:
    loss = losses.voxel_occupancy_loss(
        glance_field(1.0), line_labels(12.0, -30.0), 8, torch.Generator().manual_seed(0)
    )
    assert loss.item() == pytest.approx(-math.log(1 - math.exp(-0.4)), rel=1e-4)


def test_voxels_that_nobody_saw_count_a_little_as_free() -> None:
    field, nothing = glance_field(1.0), torch.zeros(0, dtype=torch.long)
    hidden = losses.voxel_occupancy_loss(
        field, VoxelLabels(nothing, nothing, nothing), 2000, torch.Generator().manual_seed(0)
    )
    assert hidden.item() == pytest.approx(0.4, rel=1e-3)  # - ln exp(-sigma * 0.4 m)
    hidden.backward()
    assert (field.slot_density.grad[:16] >= 0).all()
    assert field.slot_density.grad[:16].sum() > 0


def test_block_loss_takes_a_surface_for_more_than_the_space_before_it() -> None:
    field = glance_field(1.0)
    labels = line_labels(12.0, 22.0)
    surface, clear = torch.tensor([[60.0, 0.0, 1.0]]), torch.tensor([[12.2, 1.0, -0.1]])
    loss = losses.block_loss(field, labels, surface, clear)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    cells = field.grid.layout.locate(torch.tensor([[12.0, 1, -0.1], [22, 1, -0.1], [60, 0, 1]]))[0]
    gradient = field.block_logit.grad
    assert gradient[cells.long()].sign().tolist() == [-1, 1, -1]
    # Both voxels stand astride z = 0, where coarse cells meet; the far point lies in one cell.
    known = gradient.abs() > gradient.abs().max() / 2
    assert known.sum() == 5
    assert gradient[~known].tolist() == pytest.approx(
        [losses.UNSEEN_WEIGHT * float(gradient.max())] * int((~known).sum())
    )


def test_relevancy_loss_is_the_divergence_of_two_answers() -> None:
    target = torch.tensor([[0.1, 0.0]])
    assert losses.relevancy_loss(target, target).item() == pytest.approx(0, abs=1e-6)
    p = 1 / (1 + math.exp(-2))  # softmax of 20 * (0.1, 0)
    expected = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert losses.relevancy_loss(torch.zeros(1, 2), target).item() == pytest.approx(expected)


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
