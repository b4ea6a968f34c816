"""A look at the whole scene from above: context for every coarse voxel, and blocks to add.

Lifting puts voxels where a pixel's depth says. Far away that leaves gaps (a road is met every
few metres) and errors, which sparse convolutions cannot mend where no voxel is. Columns seen from
above are few, so a dense 2D network over them is cheap, sees everything at once, and can propose
blocks that lifting missed.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from distillnerf_ros.config import VoxelConfig
from distillnerf_ros.voxels.grid import SparseGrid, heaviest, sized_by_ceilings


class _Block(nn.Module):
    """Two 3x3 convolutions with a shortcut; GroupNorm, since a glance is a batch of one."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.GroupNorm(8, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.GroupNorm(8, out_channels),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "1 C H W"]) -> Float[Tensor, "1 D h w"]:
        """Apply the block."""
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


class BirdsEyeNet(nn.Module):
    """A small U-Net over the columns of the coarse grid."""

    def __init__(self, config: VoxelConfig, in_channels: int, layout_shape: tuple[int, int, int]):
        super().__init__()
        self.layers = layout_shape[2]
        self.cell, width = config.birds_eye_cell_channels, config.birds_eye_channels
        self.squeeze = nn.Linear(in_channels, self.cell)
        self.enter = nn.Conv2d(self.layers * self.cell + 2, width, 1)
        self.at_full = _Block(width, width)
        self.at_half = _Block(width, width * 3 // 2, stride=2)
        self.at_quarter = _Block(width * 3 // 2, width * 2, stride=2)
        self.deep = _Block(width * 2, width * 2)
        self.to_half = _Block(width * 7 // 2, width * 3 // 2)
        self.to_full = _Block(width * 5 // 2, width)
        self.features = nn.Conv2d(width, self.layers * self.cell, 1)
        self.logits = nn.Conv2d(width, self.layers, 1)
        self.widen = nn.Linear(self.cell, in_channels, bias=False)
        nn.init.zeros_(self.widen.weight)  # at first it changes nothing
        assert self.logits.bias is not None
        nn.init.constant_(self.logits.bias, -3.0)

    def forward(
        self, values: Float[Tensor, "V_c C"], grid: SparseGrid
    ) -> tuple[Float[Tensor, "cells K"], Float[Tensor, " cells"]]:
        """Context of every coarse cell, and the logit that something is in it.

        Args:
            values: (V_c, C) features of the occupied coarse voxels.
            grid: which those are.
        """
        nx, ny, nz = grid.layout.coarse_shape
        cells = values.new_zeros(nx * ny * nz + 1, self.cell)  # the last is of spare rows
        cells = cells.index_put((grid.coarse_cells,), self.squeeze(values))
        columns = cells[:-1].reshape(1, nx, ny, nz * self.cell).permute(0, 3, 1, 2)
        x = self.enter(torch.cat([columns, _position(columns)], dim=1))
        full = self.at_full(x.contiguous(memory_format=torch.channels_last))
        half = self.at_half(full)
        x = self.deep(self.at_quarter(half))
        x = self.to_half(torch.cat([_grown(x, half), half], dim=1))
        x = self.to_full(torch.cat([_grown(x, full), full], dim=1))
        features = self.features(x).permute(0, 2, 3, 1).reshape(-1, self.cell)
        return features, self.logits(x).permute(0, 2, 3, 1).reshape(-1)


def _position(columns: Tensor) -> Tensor:
    """Where each column stands, -1..1 along x and y of the vehicle."""
    _, _, nx, ny = columns.shape
    x = torch.linspace(-1, 1, nx, device=columns.device, dtype=columns.dtype)
    y = torch.linspace(-1, 1, ny, device=columns.device, dtype=columns.dtype)
    return torch.stack(torch.meshgrid(x, y, indexing="ij"))[None]


def _grown(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, (like.shape[2], like.shape[3]), mode="nearest")


@torch.no_grad()
def proposed_cells(
    logits: Float[Tensor, " cells"], grid: SparseGrid, probability: float, ceiling: int
) -> Int[Tensor, " P"]:
    """Cells without a voxel that probably hold something, the likeliest if there are too many.

    Args:
        logits: of every coarse cell.
        grid: which voxels exist.
        probability: from which a cell is proposed.
        ceiling: on the voxels in all.

    Returns:
        (P,) cells; -1 in spare rows (see `sized_by_ceilings`).
    """
    missing = grid.coarse_table == grid.coarse_count
    wanted: Bool[Tensor, " cells"] = missing & (torch.sigmoid(logits) > probability)
    every = torch.arange(len(logits), device=logits.device)
    taken = (~missing).sum() if sized_by_ceilings(logits) else grid.coarse_count
    return heaviest(wanted & grid.layout.reachable(every), logits, ceiling, taken)
