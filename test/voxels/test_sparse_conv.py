"""Sparse convolutions against dense ones on the whole grid."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from distillnerf_ros.config import VoxelConfig
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid
from distillnerf_ros.voxels.sparse_conv import (
    CHUNK_VALUES,
    Around,
    BlockConv,
    SparseConv,
    SparseVoxelNet,
)

LAYOUT = GridLayout(Contraction((50.0, 50.0, 6.4), 0.8), (5, 4, 3), 4)
SMALL = VoxelConfig(4, 3, 8, 6, coarse_layers=1, fine_layers=1, completion=True)


def make_net(config: VoxelConfig = SMALL) -> SparseVoxelNet:
    return SparseVoxelNet(config, LAYOUT, 60)


def scattered_grid(count: int = 500) -> SparseGrid:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, 3, generator=generator) * torch.tensor([20.0, 20.0, 2.0])
    return build_grid(LAYOUT, points, torch.ones(count, dtype=torch.bool), 40, 9999)[0]


def fine_index(grid: SparseGrid) -> tuple[torch.Tensor, ...]:
    coarse = grid.coarse_cells[grid.fine_slots // 64]
    return LAYOUT.fine_xyz(coarse, grid.fine_slots % 64).unbind(-1)


def coarse_index(grid: SparseGrid) -> tuple[torch.Tensor, ...]:
    cell = grid.coarse_cells
    return cell // 12, cell // 3 % 4, cell % 3


def dense(values: torch.Tensor, index: tuple[torch.Tensor, ...], shape: tuple[int, ...]):
    volume = torch.zeros(values.shape[1], *shape, dtype=values.dtype)
    volume[(slice(None), *index)] = values.T
    return volume[None]


def activated(layer: SparseConv | BlockConv, linear: torch.Tensor) -> torch.Tensor:
    normed = F.layer_norm(linear, linear.shape[1:], layer.norm.weight, layer.norm.bias)
    return F.leaky_relu(normed, 0.2)


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_sparse_conv_is_a_dense_conv_read_at_the_voxels(level):
    grid = scattered_grid()
    index, shape, neighbors = {
        "coarse": (coarse_index(grid), (5, 4, 3), grid.coarse_neighbors()),
        "fine": (fine_index(grid), (20, 16, 12), grid.fine_neighbors(grid.coarse_neighbors())),
    }[level]
    layer = SparseConv(4, 6).double()
    values = torch.randn(len(index[0]), 4, dtype=torch.float64)
    weight = layer.linear.weight.reshape(6, 3, 3, 3, 4).permute(0, 4, 1, 2, 3)
    volume = F.conv3d(dense(values, index, shape), weight, layer.linear.bias, padding=1)
    expected = activated(layer, volume[0][(slice(None), *index)].T)
    torch.testing.assert_close(layer(values, neighbors), expected)


def test_block_conv_is_a_strided_dense_conv():
    grid = scattered_grid()
    layer = BlockConv(3, 5, 64).double()
    values = torch.randn(grid.fine_count, 3, dtype=torch.float64)
    weight = layer.linear.weight.reshape(5, 4, 4, 4, 3).permute(0, 4, 1, 2, 3)
    volume = dense(values, fine_index(grid), (20, 16, 12))
    volume = F.conv3d(volume, weight, layer.linear.bias, stride=4)
    expected = activated(layer, volume[0][(slice(None), *coarse_index(grid))].T)
    torch.testing.assert_close(layer(values, grid), expected)


def test_gradients_of_a_sparse_conv():
    grid, layer = scattered_grid(6), SparseConv(2, 3).double()
    values = torch.randn(grid.fine_count, 2, dtype=torch.float64, requires_grad=True)
    neighbors = grid.fine_neighbors(grid.coarse_neighbors())
    assert torch.autograd.gradcheck(lambda v: layer(v, neighbors), values)


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_what_is_gathered_backwards_is_what_an_index_would_scatter(level):
    grid = scattered_grid()
    around = grid.coarse_neighbors()
    neighbors = around if level == "coarse" else grid.fine_neighbors(around)
    values = torch.randn(len(neighbors), 5, dtype=torch.float64, requires_grad=True)
    padded = torch.cat([values, values.new_zeros(1, 5)])
    gathered, plain = Around.apply(values, neighbors), padded[neighbors.reshape(-1)]
    assert torch.equal(gathered, plain)
    weights = torch.randn_like(plain)
    fast, slow = (torch.autograd.grad((x * weights).sum(), values)[0] for x in (gathered, plain))
    assert (slow != 0).all()
    torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_levels_keep_their_shapes_with_any_number_of_layers(layers):
    """Without fine layers the fine head once took the width of the coarse ones."""
    grid = scattered_grid()
    net = make_net(dataclasses.replace(SMALL, fine_layers=layers, coarse_layers=layers))
    fine, coarse = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    fused = net(fine, coarse, grid)
    assert fused.fine.shape == fine.shape
    assert fused.coarse.shape == coarse.shape
    assert fused.completion.shape == (grid.coarse_count, 64)
    assert fused.grid is grid
    assert fused.block_logit is None


def test_completion_is_a_choice():
    grid = scattered_grid()
    net = make_net(dataclasses.replace(SMALL, completion=False))
    values = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    assert net(*values, grid).completion is None


def test_heads_add_to_what_was_pooled():
    grid, net = scattered_grid(), make_net()
    for head in (net.fine_head, net.coarse_head):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    fine, coarse = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    fused = net(fine, coarse, grid)
    assert (fused.fine == fine).all()
    assert (fused.coarse == coarse).all()


WITH_VIEW = dataclasses.replace(SMALL, birds_eye_channels=16, birds_eye_cell_channels=2)


def test_the_look_from_above_changes_nothing_at_first():
    grid = scattered_grid()
    torch.manual_seed(0)
    net = make_net(WITH_VIEW)
    fine, coarse = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    seen = net(fine, coarse, grid)
    assert seen.grid.coarse_count == grid.coarse_count
    assert seen.block_logit.shape == (LAYOUT.coarse_count,)
    net.birds_eye = None
    blind = net(fine, coarse, grid)
    assert torch.equal(seen.coarse, blind.coarse)
    assert torch.equal(seen.completion, blind.completion)


def test_proposed_voxels_join_without_disturbing_the_others():
    grid = scattered_grid()
    net = make_net(WITH_VIEW)
    torch.nn.init.constant_(net.birds_eye.logits.bias, 3.0)
    fine, coarse = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    fused = net(fine, coarse, grid)
    assert fused.grid.coarse_count == LAYOUT.coarse_count == 60  # every cell, and the ceiling
    assert fused.coarse.shape == (60, 4)
    assert fused.completion.shape == (60, 64)
    assert (fused.grid.coarse_cells[: grid.coarse_count] == grid.coarse_cells).all()
    assert fused.fine.shape == fine.shape
    fused.completion.sum().backward()
    assert net.birds_eye.widen.weight.grad.abs().sum() > 0


def test_no_voxels_at_all():
    """Zero rows once could not be reshaped."""
    layout = LAYOUT
    nothing = torch.zeros(3, dtype=torch.bool)
    grid = build_grid(layout, torch.randn(3, 3), nothing, 9, 9)[0]
    out = make_net(WITH_VIEW)(torch.zeros(0, 5), torch.zeros(0, 4), grid)
    shapes = [tuple(o.shape) for o in (out.fine, out.coarse, out.completion)]
    assert shapes == [(0, 5), (0, 4), (0, 64)]


def test_work_in_chunks_changes_nothing(monkeypatch):
    grid = scattered_grid()
    values, layer = torch.randn(grid.fine_count, 4), SparseConv(4, 6)
    whole = grid.fine_neighbors(grid.coarse_neighbors())
    expected = layer(values, whole)
    monkeypatch.setitem(CHUNK_VALUES, "cpu", 7 * 27 * 4)
    monkeypatch.setattr("distillnerf_ros.voxels.grid.NEIGHBOR_CHUNK", 7)
    assert grid.fine_count > 14
    assert torch.equal(grid.fine_neighbors(grid.coarse_neighbors()), whole)
    with torch.inference_mode():
        torch.testing.assert_close(layer(values, whole), expected)
        assert layer(values[:0], whole[:0]).shape == (0, 6)
