"""Stage 2: candidates around the coarse depth."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from distillnerf_ros.config import FineDepthConfig
from distillnerf_ros.lift.coarse_depth import CoarseDepth
from distillnerf_ros.lift.fine_depth import DepthTaps, FineDepthNet, candidate_depths


@pytest.mark.parametrize(
    ("coarse_m", "step_m"), [(1.0, 0.05), (4.0, 0.1), (10.0, 0.25), (12.0, 0.3), (90.0, 0.3)]
)
def test_candidates_of_the_paper(coarse_m, step_m):
    """15 candidates, clamp(0.025 d, 0.05, 0.3) m apart, the coarse depth in the middle."""
    candidates = candidate_depths(torch.tensor([coarse_m]), FineDepthConfig())[0]
    expected = [coarse_m + k * step_m for k in range(-7, 8)]
    assert candidates.tolist() == pytest.approx(expected, rel=1e-5)


def test_no_candidate_lies_behind_the_camera():
    candidates = candidate_depths(torch.tensor([0.1, 0.2]), FineDepthConfig())
    assert candidates.min() == pytest.approx(0.1)


def test_taps_are_a_convolution_along_the_candidates():
    taps = DepthTaps(4, 3).double()
    x = torch.randn(2, 5, 7, 4, dtype=torch.float64)
    weight = taps.linear.weight.reshape(3, 3, 4).permute(0, 2, 1)
    flat = x.reshape(10, 7, 4).transpose(1, 2)
    expected = F.conv1d(flat, weight, taps.linear.bias, padding=1).transpose(1, 2)
    torch.testing.assert_close(taps(x), expected.reshape(2, 5, 7, 3))


def some_coarse(depth_m: torch.Tensor) -> CoarseDepth:
    features = torch.randn(1, 6, 2, 3, generator=torch.Generator().manual_seed(0))
    return CoarseDepth(depth_m, torch.ones(1, 2, 3), features, torch.zeros(1, 2, 3, 1))


def test_shapes_and_ranges():
    net = FineDepthNet(dataclasses.replace(FineDepthConfig(), candidates=5), 6, 9)
    fine = net(some_coarse(torch.full((1, 2, 3), 7.0)))
    assert fine.depth_m.shape == fine.probability.shape == (1, 2, 3, 5)
    assert fine.features.shape == (1, 2, 3, 9)
    assert ((fine.probability > 0) & (fine.probability < 1)).all()
    assert fine.features.abs().max() <= 5


def test_probability_depends_on_the_depth_of_the_candidate():
    torch.manual_seed(0)
    net = FineDepthNet(FineDepthConfig(), 6, 9)
    near, far = (net(some_coarse(torch.full((1, 2, 3), d))).probability for d in (3.0, 60.0))
    assert not torch.allclose(near, far, atol=1e-3)


def test_positions_carry_no_gradient_to_the_first_stage():
    depth = torch.full((1, 2, 3), 7.0, requires_grad=True)
    fine = FineDepthNet(FineDepthConfig(), 6, 9)(some_coarse(depth))
    assert not fine.depth_m.requires_grad
    fine.probability.sum().backward()
    assert depth.grad is None
