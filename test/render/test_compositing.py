"""Compositing: the slab's closed form, a loop, and gradients."""

import math

import pytest
import torch

from distillnerf_ros.render.compositing import composite, ray_weights


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.7, 30.0])
@pytest.mark.parametrize("samples", [1, 7, 400])
def test_opacity_of_a_uniform_slab(sigma, samples):
    """1 - exp(-sigma d), however finely the slab is cut."""
    lengths = torch.rand(samples, dtype=torch.float64)
    lengths = lengths / lengths.sum() * 3.0
    opacity = ray_weights(torch.full((2, samples), sigma, dtype=torch.float64), lengths).sum(-1)
    assert opacity.tolist() == pytest.approx([1 - math.exp(-3.0 * sigma)] * 2, rel=1e-12)


def test_weights_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    density = 3 * torch.rand(5, 9, generator=generator, dtype=torch.float64)
    lengths = torch.rand(5, 9, generator=generator, dtype=torch.float64)
    weights = ray_weights(density, lengths)
    for ray in range(5):
        light = 1.0
        for i in range(9):
            alpha = 1 - math.exp(-float(density[ray, i] * lengths[ray, i]))
            assert weights[ray, i] == pytest.approx(light * alpha, abs=1e-12)
            light *= 1 - alpha


def test_a_wall_hides_what_is_behind_it():
    weights = ray_weights(torch.tensor([[0.0, 8000.0, 8000.0, 5.0]]), torch.ones(4))
    assert weights.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_shares_never_exceed_one():
    weights = ray_weights(1e4 * torch.rand(50, 300), torch.rand(50, 300))
    assert (weights >= 0).all()
    assert (weights.sum(-1) <= 1 + 1e-6).all()


def test_gradients():
    density = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    lengths = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ray_weights, (density, lengths))


def test_gradients_stay_finite_behind_a_wall():
    density = torch.tensor([[0.0, 8000.0, 8000.0]], requires_grad=True)
    ray_weights(density, torch.ones(3)).sum().backward()
    assert density.grad.isfinite().all()


def test_composite_is_a_weighted_sum():
    weights = torch.tensor([[0.25, 0.5], [1.0, 0.0]])
    values = torch.tensor([[[4.0, 8.0], [2.0, 0.0]], [[1.0, 3.0], [9.0, 9.0]]])
    assert composite(weights, values).tolist() == [[2.0, 2.0], [1.0, 3.0]]
