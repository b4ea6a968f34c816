"""The look from above: where it puts what, and what it proposes."""

import torch

from distillnerf_ros.config import VoxelConfig
from distillnerf_ros.voxels.birds_eye import BirdsEyeNet, proposed_cells
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid

LAYOUT = GridLayout(Contraction((50.0, 50.0, 6.4), 0.8), (9, 7, 3), 4)
CONFIG = VoxelConfig(4, 3, 8, 6, birds_eye_channels=16, birds_eye_cell_channels=2)


def some_grid() -> SparseGrid:
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * 20
    return build_grid(LAYOUT, points, torch.ones(60, dtype=torch.bool), 40, 999)[0]


class LastChannels(torch.nn.Module):
    """Passes the short cut on and drops what came from below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, -16:]


def test_scatter_and_read_out_agree_on_where_a_cell_lies() -> None:
    """Without its 3x3 convolutions the network sees each column by itself."""
    torch.manual_seed(0)
    grid, net = some_grid(), BirdsEyeNet(CONFIG, 5, LAYOUT.coarse_shape)
    net.at_full, net.to_full = torch.nn.Identity(), LastChannels()
    values = torch.randn(grid.coarse_count, 5, requires_grad=True)
    context, logit = net(values, grid)
    assert context.shape == (LAYOUT.coarse_count, 2)
    columns = grid.coarse_cells // 3
    for row in range(0, grid.coarse_count, 5):
        cell = grid.coarse_cells[row]
        told = logit[cell] + context[cell].sum()
        (gradient,) = torch.autograd.grad(told, values, retain_graph=True)
        felt = gradient.abs().sum(dim=1) > 0
        assert torch.equal(felt, columns == columns[row])


def test_only_likely_cells_without_a_voxel_are_proposed() -> None:
    grid = some_grid()
    logits = torch.full((LAYOUT.coarse_count,), -5.0)
    assert len(proposed_cells(logits, grid, 0.3, 999)) == 0
    logits[grid.coarse_cells] = 5.0
    assert len(proposed_cells(logits, grid, 0.3, 999)) == 0
    missing = (grid.coarse_table == grid.coarse_count).nonzero()[:, 0]
    logits[missing[:3]] = torch.tensor([1.0, 3.0, 2.0])
    assert set(proposed_cells(logits, grid, 0.3, 999).tolist()) == set(missing[:3].tolist())
    best = proposed_cells(logits, grid, 0.3, grid.coarse_count + 2)
    assert set(best.tolist()) == {int(missing[1]), int(missing[2])}
    assert len(proposed_cells(logits, grid, 0.3, grid.coarse_count - 1)) == 0
