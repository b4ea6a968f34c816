"""Contraction: closed forms, inverse, and gradients on both branches."""

import math

import pytest
import torch

from distillnerf_ros.voxels.contraction import Contraction, contracted_depths

SPACE = Contraction((50.0, 50.0, 6.4), 0.8)


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((25.0, -25.0, 3.2), (0.4, -0.4, 0.4)),
        ((50.0, -50.0, 6.4), (0.8, -0.8, 0.8)),
        ((100.0, -100.0, 12.8), (0.9, -0.9, 0.9)),
        ((math.inf, -math.inf, math.inf), (1.0, -1.0, 1.0)),
    ],
)
def test_closed_forms(point, expected):
    torch.testing.assert_close(SPACE.contract(torch.tensor(point)), torch.tensor(expected))


def test_axes_do_not_mix():
    far_along_x = SPACE.contract(torch.tensor([[500.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
    assert (far_along_x[0, 1:] == far_along_x[1, 1:]).all()


def test_expand_inverts_contract_from_millimetres_to_ten_kilometres():
    sizes = torch.logspace(-3, 4, 200, dtype=torch.float64)
    points = torch.cat([sizes, -sizes, torch.zeros(1)])[:, None].expand(-1, 3)
    torch.testing.assert_close(SPACE.expand(SPACE.contract(points)), points, rtol=1e-9, atol=0)


def test_contraction_is_monotone_and_within_the_unit_cube():
    line = torch.linspace(-1e4, 1e4, 100_001, dtype=torch.float64)
    contracted = SPACE.contract(line[:, None].expand(-1, 3))
    assert (contracted.diff(dim=0) > 0).all()
    assert contracted.abs().max() < 1


def test_gradient_at_the_origin_is_that_of_the_linear_part():
    origin = torch.zeros(1, 3, requires_grad=True)
    SPACE.contract(origin).sum().backward()
    torch.testing.assert_close(origin.grad, 0.8 / torch.tensor([[50.0, 50.0, 6.4]]))


def test_gradients_of_both_branches():
    points = [[0.0, 0.0, 0.0], [10.0, -20.0, 3.0], [80.0, -300.0, 9.0], [49.0, 51.0, -6.5]]
    points = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SPACE.contract, points)
    contracted = SPACE.contract(points).detach().requires_grad_()
    assert torch.autograd.gradcheck(SPACE.expand, contracted)


def test_contracted_depths_are_even_in_contracted_depth():
    depths = contracted_depths(0.5, 50.0, 120.0, 0.8, 65)
    assert depths[0] == pytest.approx(0.5, rel=1e-5)
    assert depths[-1] == pytest.approx(120.0, rel=1e-5)
    ratio = depths.double() / 50.0
    contracted = torch.where(ratio <= 1, 0.8 * ratio, 1 - 0.2 / ratio)
    steps = contracted.diff()
    torch.testing.assert_close(steps, steps.mean().expand_as(steps), rtol=1e-3, atol=0)
