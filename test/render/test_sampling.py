"""Importance sampling: intervals of equal probability, against a brute-force integral."""

import pytest
import torch

from distillnerf_ros.render.sampling import importance_edges, interval_probability

EDGES = torch.tensor([0.5, 1.0, 3.0, 4.0, 10.0, 50.0])


def cumulative(probability: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Probability before each depth, by adding up the intervals one by one."""
    total = torch.zeros_like(depth)
    for low, high, p in zip(EDGES[:-1], EDGES[1:], probability, strict=True):
        total += p * ((depth - low) / (high - low)).clamp(0, 1)
    return total


@pytest.mark.parametrize("count", [1, 4, 24])
def test_intervals_hold_equal_probability(count):
    probability = torch.rand(20, 5, generator=torch.Generator().manual_seed(0)) + 0.01
    probability = probability / probability.sum(-1, keepdim=True)
    edges = importance_edges(EDGES, probability, count)
    assert edges.shape == (20, count + 1)
    for p, e in zip(probability, edges, strict=True):
        shares = cumulative(p, e).diff()
        torch.testing.assert_close(shares, torch.full((count,), 1 / count), atol=1e-5, rtol=0)


def test_edges_ascend_from_the_first_to_the_last_depth():
    probability = interval_probability(torch.rand(50, 5) ** 8)
    edges = importance_edges(EDGES, probability, 16)
    assert (edges.diff(dim=-1) > 0).all()
    torch.testing.assert_close(edges[:, 0], torch.full((50,), 0.5))
    torch.testing.assert_close(edges[:, -1], torch.full((50,), 50.0), rtol=1e-3, atol=0)


def test_certainty_puts_every_sample_into_its_interval():
    probability = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]])
    edges = importance_edges(EDGES, probability, 4)
    torch.testing.assert_close(edges[0, 1:-1], torch.tensor([3.25, 3.5, 3.75]))


def test_no_finding_spreads_samples_evenly_over_the_intervals():
    probability = interval_probability(torch.zeros(3, 8))
    torch.testing.assert_close(probability, torch.full((3, 8), 1 / 8))


def test_probability_reaches_over_the_border_and_everywhere_a_little():
    weights = torch.tensor([[0.0, 0.0, 0.9, 0.0, 0.0, 0.0]])
    probability = interval_probability(weights)[0]
    assert probability.sum() == pytest.approx(1)
    assert probability[1:4].tolist() == pytest.approx([float(probability[2])] * 3)
    assert (probability[[0, 4, 5]] > 0).all()
    assert (probability[[0, 4, 5]] < 0.01 * probability[2]).all()
