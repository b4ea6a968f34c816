"""Stage 1: bins and the expected depth along a pixel's ray."""

import pytest
import torch

from distillnerf_ros.config import CoarseDepthConfig, tiny
from distillnerf_ros.lift.coarse_depth import CoarseDepthNet, depth_bin_edges


def test_bins_of_the_paper():
    edges = depth_bin_edges(CoarseDepthConfig(), 0.8)
    assert len(edges) == 287
    torch.testing.assert_close(
        edges[:251].diff(), torch.full((250,), 49.9 / 250), rtol=1e-3, atol=0
    )
    assert edges[0] == pytest.approx(0.1)
    assert edges[250] == pytest.approx(50.0)
    assert edges[-1] == pytest.approx(120.0, rel=1e-5)
    contracted = 1 - 0.2 * 50 / edges[250:].double()
    steps = contracted.diff()
    torch.testing.assert_close(steps, steps.mean().expand(36), rtol=1e-3, atol=0)


def test_bins_of_tiny_are_equally_fine_at_any_range_up_to_50_m():
    config = tiny().coarse_depth
    edges = depth_bin_edges(config, 0.8)
    assert len(edges) == config.inner_bins + config.outer_bins + 1
    ratio = (config.inner_m / config.near_m) ** (1 / config.inner_bins)
    inner = config.near_m * ratio ** torch.arange(config.inner_bins + 1)
    torch.testing.assert_close(edges[: config.inner_bins + 1], inner, rtol=1e-5, atol=0)
    contracted = 1 - 0.2 * config.inner_m / edges[config.inner_bins :].double()
    steps = contracted.diff()
    torch.testing.assert_close(steps, steps.mean().expand(len(steps)), rtol=1e-3, atol=0)


def net_of(logits: torch.Tensor) -> CoarseDepthNet:
    """A network that answers the same logits in every pixel."""
    net = CoarseDepthNet(tiny().coarse_depth, 4, 0.8)
    torch.nn.init.zeros_(net.logits.weight)
    with torch.no_grad():
        net.logits.bias.copy_(logits)
    return net


@pytest.mark.parametrize("surface", [0, 17, 49, 61])
def test_one_opaque_bin_is_the_depth(surface):
    logits = torch.full((62,), -100.0)
    logits[surface] = 100.0
    net = net_of(logits)
    coarse = net(torch.randn(2, 4, 3, 5))
    middle = float(net.edges_m[surface : surface + 2].mean())
    assert coarse.depth_m.shape == (2, 3, 5)
    torch.testing.assert_close(coarse.depth_m, torch.full((2, 3, 5), middle), rtol=0.03, atol=0.05)
    torch.testing.assert_close(coarse.opacity, torch.ones(2, 3, 5), atol=1e-3, rtol=0)


def test_the_first_of_two_surfaces_wins():
    logits = torch.full((62,), -100.0)
    logits[[10, 30]] = 100.0
    net = net_of(logits)
    assert net(torch.randn(1, 4, 1, 1)).depth_m.item() == pytest.approx(
        float(net.edges_m[10:12].mean()), rel=0.01
    )


def test_clear_air_has_no_opacity_and_a_finite_depth():
    coarse = net_of(torch.full((62,), -1000.0))(torch.randn(1, 4, 2, 2))
    assert (coarse.opacity < 0.01).all()
    assert coarse.depth_m.isfinite().all()


def test_weights_are_the_shares_of_the_opacity():
    torch.manual_seed(0)
    coarse = CoarseDepthNet(tiny().coarse_depth, 4, 0.8)(torch.randn(2, 4, 3, 5))
    assert coarse.weights.shape == (2, 3, 5, 62)
    torch.testing.assert_close(coarse.weights.sum(-1), coarse.opacity)


def test_the_median_has_the_least_expected_relative_error():
    """Against a search over depths, each bin's weight spread evenly over the bin."""
    net = CoarseDepthNet(tiny().coarse_depth, 4, 0.8)
    torch.manual_seed(1)
    torch.nn.init.normal_(net.logits.weight, std=2.0)
    coarse = net(torch.randn(1, 4, 3, 4))
    within = (torch.arange(50) + 0.5) / 50
    places = net.edges_m[:-1, None] + within * net.edges_m.diff()[:, None]
    middles = (net.edges_m[1:] + net.edges_m[:-1]) / 2
    depths = torch.linspace(0.5, 119.0, 4000)
    miss = (depths[:, None, None] - places).abs().mean(-1) / middles
    least = (coarse.weights[..., None, :] * miss).sum(-1)
    best = depths[least.argmin(-1)]
    torch.testing.assert_close(net.median_m(coarse), best, atol=0.04, rtol=0.01)
