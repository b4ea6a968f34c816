"""Sparse convolutions against dense ones on the whole grid."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from distillnerf_ros.config import VoxelConfig
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid
from distillnerf_ros.voxels.sparse_conv import BlockConv, SparseConv, SparseVoxelNet

LAYOUT = GridLayout(Contraction((50.0, 50.0, 6.4), 0.8), (5, 4, 3), 4)
SMALL = VoxelConfig(4, 3, 8, 6, coarse_layers=1, fine_layers=1, completion=True)


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
        "fine": (fine_index(grid), (20, 16, 12), grid.fine_neighbors()),
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
    neighbors = grid.fine_neighbors()
    assert torch.autograd.gradcheck(lambda v: layer(v, neighbors), values)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_levels_keep_their_shapes_with_any_number_of_layers(layers):
    """Without fine layers the fine head once took the width of the coarse ones."""
    grid = scattered_grid()
    net = SparseVoxelNet(dataclasses.replace(SMALL, fine_layers=layers, coarse_layers=layers), 64)
    fine, coarse = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    out_fine, out_coarse, completion = net(fine, coarse, grid)
    assert out_fine.shape == fine.shape
    assert out_coarse.shape == coarse.shape
    assert completion.shape == (grid.coarse_count, 64)


def test_completion_is_a_choice():
    grid = scattered_grid()
    net = SparseVoxelNet(dataclasses.replace(SMALL, completion=False), 64)
    values = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    assert net(*values, grid)[2] is None


def test_heads_add_to_what_was_pooled():
    grid, net = scattered_grid(), SparseVoxelNet(SMALL, 64)
    for head in (net.fine_head, net.coarse_head):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    fine, coarse = torch.randn(grid.fine_count, 5), torch.randn(grid.coarse_count, 4)
    out_fine, out_coarse, _ = net(fine, coarse, grid)
    assert (out_fine == fine).all()
    assert (out_coarse == coarse).all()


def test_no_voxels_at_all():
    """Zero rows once could not be reshaped."""
    layout = LAYOUT
    nothing = torch.zeros(3, dtype=torch.bool)
    grid = build_grid(layout, torch.randn(3, 3), nothing, 9, 9)[0]
    out = SparseVoxelNet(SMALL, 64)(torch.zeros(0, 5), torch.zeros(0, 4), grid)
    assert [tuple(o.shape) for o in out] == [(0, 5), (0, 4), (0, 64)]


def test_work_in_chunks_changes_nothing(monkeypatch):
    grid = scattered_grid()
    values, layer = torch.randn(grid.fine_count, 4), SparseConv(4, 6)
    whole = grid.fine_neighbors()
    expected = layer(values, whole)
    monkeypatch.setattr("distillnerf_ros.voxels.sparse_conv.CHUNK_VALUES", 7 * 27 * 4)
    monkeypatch.setattr("distillnerf_ros.voxels.grid.NEIGHBOR_CHUNK", 7)
    assert grid.fine_count > 14
    assert torch.equal(grid.fine_neighbors(), whole)
    with torch.inference_mode():
        torch.testing.assert_close(layer(values, whole), expected)
        assert layer(values[:0], whole[:0]).shape == (0, 6)
