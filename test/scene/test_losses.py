"""Each loss in closed form."""

import math

import pytest
import torch

from distillnerf_ros.scene import losses
from distillnerf_ros.scene.field import Parts
from distillnerf_ros.scene.march import Marched


def marched(weights: list[list[float]], moving: list[float]) -> Marched:
    w = torch.tensor(weights)
    depth = torch.tensor([[2.0, 5.0, 6.0]]).expand_as(w)
    nothing = torch.zeros(w.numel())
    parts = Parts(nothing, nothing, torch.zeros(w.numel(), 1), nothing)
    points = torch.zeros(*w.shape, 3)
    return Marched(w, depth, points, parts, w.sum(-1), torch.tensor(moving))


def test_depth_error_is_relative():
    seen = marched([[0.0, 1.0, 0.0]], [0.0])
    assert losses.depth_error(seen, torch.tensor([10.0])).item() == pytest.approx(math.log(2))


def test_line_of_sight_counts_fog_and_what_lacks_at_the_return():
    seen = marched([[0.2, 0.5, 0.1]], [0.0])
    loss = losses.line_of_sight(seen, torch.tensor([5.5]), 1.0)
    assert loss.item() == pytest.approx(0.2 + 0.4**2)


def test_beams_go_to_the_part_they_met():
    seen = marched([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], [0.25, 0.25])
    loss = losses.separation(seen, torch.tensor([True, False]), torch.tensor([True, True]))
    assert loss.item() == pytest.approx((0.75**2 + 0.25**2) / 2)
    assert losses.transience(seen).item() == 0.25


def test_returns_are_solid_and_what_is_before_them_free():
    density = torch.tensor([2.0, 3.0])
    parts = Parts(density, torch.tensor([0.5, 1.0]), torch.zeros(2, 1), torch.zeros(2))
    standing, known, at_return = (torch.tensor(v) for v in ([False], [True], [[True, False]]))
    loss = losses.returns(parts, standing, known, at_return)
    solid = -math.log(1 - math.exp(-2.0 * losses.VOXEL_M) + 1e-4)
    expected = (solid + 3 * losses.VOXEL_M) / 2 + (0.5 + 1) * losses.VOXEL_M / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    unknown = losses.returns(parts, standing, ~known, at_return)
    assert unknown.item() == pytest.approx((3 + 1) * losses.VOXEL_M / 2, rel=1e-5)


def test_sky_and_half_opacity():
    opacity = torch.tensor([0.25, 0.5, 0.9])
    sky = torch.tensor([1, 0, -1])  # of the last nobody knows
    expected = -(math.log(0.75) + math.log(0.5)) / 3
    assert losses.sky_loss(opacity, sky).item() == pytest.approx(expected)
    assert losses.half_opacity(opacity).item() == pytest.approx((0.1875 + 0.25 + 0.09) / 3)


def test_what_can_be_sky_is_left_to_it_and_what_points_down_hits():
    opacity = torch.tensor([0.25, 0.5, 0.5, 0.5])
    assert losses.clearness(opacity).item() == pytest.approx(1.75 / 4)
    slope = math.tan(math.radians(2))  # of any length, and just above and below two degrees down
    down = [[2.0, 0, -1.0], [1.0, 0, -1.01 * slope], [0, 3.0, -2.95 * slope], [0, 1.0, 0.5]]
    loss = losses.ground(opacity, torch.tensor(down))
    assert loss.item() == pytest.approx((math.log(4) + math.log(2)) / 4)


def test_features_are_asked_of_what_is_hit_where_they_are_known():
    said, wanted = torch.tensor([[1.0, 3.0]] * 3), torch.zeros(3, 2)
    opacity = torch.tensor([1.0, 0.5, 1.0], requires_grad=True)
    known = torch.tensor([True, True, False])
    error = losses.feature_error(said, wanted, known, opacity)
    assert error.item() == pytest.approx((2.0 + 1.0) / 2)
    assert not error.requires_grad  # nothing becomes clear for its features' sake
    assert losses.feature_error(said, wanted, known & False, opacity).item() == 0
