"""Sparse 3x3x3 convolutions within a level and strided ones from the fine to the coarse level."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillnerf_ros.config import VoxelConfig
from distillnerf_ros.voxels.grid import SparseGrid

CHUNK_VALUES = 1 << 19
"""Gathered values that a convolution works on at a time: 2 MB stay in a CPU core's cache, which is
four times faster than gathering 100,000 voxels' neighbours into memory."""


class GatheredLinear(nn.Module):
    """A linear map of several voxels' features side by side, LayerNorm and LeakyReLU."""

    def __init__(self, voxels: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(voxels * in_channels, out_channels)
        self.norm = nn.LayerNorm(out_channels)

    def gather(
        self, values: Float[Tensor, "V C"], rows: Int[Tensor, "N K"]
    ) -> Float[Tensor, "N D"]:
        """Map the values at K rows each; row V is empty space and reads zeros."""
        padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
        if torch.is_grad_enabled() or values.is_cuda:
            return self._map(padded, rows)
        chunk = max(1, CHUNK_VALUES // self.linear.in_features)
        return torch.cat([self._map(padded, some) for some in rows.split(chunk)])

    def _map(self, padded: Tensor, rows: Tensor) -> Tensor:
        gathered = padded.index_select(0, rows.reshape(-1))
        gathered = gathered.reshape(rows.shape[0], self.linear.in_features)
        return nn.functional.leaky_relu(self.norm(self.linear(gathered)), 0.2)


class SparseConv(GatheredLinear):
    """A 3x3x3 convolution over occupied voxels, LayerNorm and LeakyReLU (paper appendix)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(27, in_channels, out_channels)
        nn.init.kaiming_uniform_(self.linear.weight, a=0.2)

    def forward(
        self, values: Float[Tensor, "V C"], neighbors: Int[Tensor, "V 27"]
    ) -> Float[Tensor, "V D"]:
        """Convolve; ``neighbors`` holds rows, V where there is no voxel."""
        return self.gather(values, neighbors)


class BlockConv(GatheredLinear):
    """A strided convolution: all fine cells of a coarse voxel become one coarse vector."""

    def __init__(self, in_channels: int, out_channels: int, subcells: int) -> None:
        super().__init__(subcells, in_channels, out_channels)

    def forward(self, values: Float[Tensor, "V_f C"], grid: SparseGrid) -> Float[Tensor, "V_c D"]:
        """Lay the fine values out block by block (zero where empty) and multiply once."""
        return self.gather(values, grid.fine_table)


class SparseVoxelNet(nn.Module):
    """Sparse convolutions within and across the two levels (paper sec. 3.1, multi-view fusion).

    Pooled fine and coarse values (features + density logit) go in; fused ones come out, with the
    optional completion logits of every fine cell of a coarse voxel.
    """

    def __init__(self, config: VoxelConfig, subcells: int) -> None:
        super().__init__()
        fine, hidden = config.fine_hidden_channels, config.hidden_channels
        widths = [config.fine_channels + 1] + [fine] * config.fine_layers
        self.fine = nn.ModuleList(map(SparseConv, widths[:-1], widths[1:]))
        self.down = BlockConv(widths[-1], hidden, subcells)
        self.fine_head = nn.Linear(widths[-1], config.fine_channels + 1)
        self.coarse_in = SparseConv(config.coarse_channels + 1, hidden)
        widths = [2 * hidden] + [hidden] * config.coarse_layers
        self.coarse = nn.ModuleList(map(SparseConv, widths[:-1], widths[1:]))
        self.coarse_head = nn.Linear(widths[-1], config.coarse_channels + 1)
        self.completion = nn.Linear(widths[-1], subcells) if config.completion else None

    def forward(
        self,
        fine: Float[Tensor, "V_f C_f"],
        coarse: Float[Tensor, "V_c C_c"],
        grid: SparseGrid,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Fuse both levels; residual on the pooled values, so that the raw lift stays legible."""
        x = fine
        neighbors = grid.fine_neighbors() if self.fine else None
        for layer in self.fine:
            x = layer(x, neighbors)
        neighbors = grid.coarse_neighbors()
        y = torch.cat([self.coarse_in(coarse, neighbors), self.down(x, grid)], dim=1)
        for layer in self.coarse:
            y = layer(y, neighbors)
        completion = None if self.completion is None else self.completion(y)
        return fine + self.fine_head(x), coarse + self.coarse_head(y), completion
