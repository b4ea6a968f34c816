"""Sparse 3x3x3 convolutions within a level and strided ones from the fine to the coarse level."""

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillnerf_ros.config import VoxelConfig
from distillnerf_ros.voxels.birds_eye import BirdsEyeNet, proposed_cells
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid

CHUNK_VALUES = {"cpu": 1 << 21, "cuda": 1 << 26}
"""Gathered values that a convolution works on at a time, by kind of device. Of a CPU 4 MB in
bfloat16 stay in a cache; in smaller pieces its cores wait for each other more often than they gain
(encode took a tenth longer with a quarter of it). A GPU is kept busy by 256 MB; all neighbours at
once would be 17 GB in ``base``."""


class Around(torch.autograd.Function):
    """Values of the 27 voxels around each; three to eight times faster backwards than an index.

    A voxel's k-th neighbour has it for its own (26 - k)-th: what would be scattered to a voxel is
    gathered by it.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Float[Tensor, "V C"], neighbors: Int[Tensor, "V 27"]
    ) -> Float[Tensor, "gathered C"]:
        """Gather, zeros where there is no voxel."""
        ctx.save_for_backward(neighbors)
        return _padded(values).index_select(0, neighbors.reshape(-1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Sum of what each voxel's neighbours say of it."""
        (neighbors,) = ctx.saved_tensors
        mirrored = neighbors.flip(1)
        there = mirrored < len(neighbors)
        own = torch.arange(27, device=neighbors.device, dtype=neighbors.dtype)
        place = torch.where(there, mirrored * 27, 0) + own
        weights = there.to(gradient.dtype)
        return F.embedding_bag(place, gradient, mode="sum", per_sample_weights=weights), None


def _padded(values: Float[Tensor, "V C"]) -> Float[Tensor, "rows C"]:
    """With a last row of zeros: empty space."""
    return torch.cat([values, values.new_zeros(1, values.shape[1])])


def _multiplied_in(values: Tensor) -> torch.dtype:
    """What autocast would convert an operand of a matrix product to."""
    kind = values.device.type
    if kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return values.dtype


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
        if torch.is_grad_enabled():
            mapped = self.linear(self._side_by_side(self._gathered(values, rows)))
        else:
            mapped = self._mapped_in_pieces(values, rows)
        return F.leaky_relu(self.norm(mapped), 0.2)

    def _gathered(self, values: Tensor, rows: Tensor) -> Tensor:
        """The values at all rows, for a gradient."""
        return _padded(values).index_select(0, rows.reshape(-1))

    def _mapped_in_pieces(self, values: Tensor, rows: Tensor) -> Tensor:
        """The linear map alone, for a few rows at a time.

        What autocast would convert in every piece, 27 times each voxel, is converted once.
        """
        kind = "cpu" if values.device.type == "cpu" else "cuda"
        chunk = max(1, CHUNK_VALUES[kind] // self.linear.in_features)
        dtype = _multiplied_in(values)
        padded = _padded(values.to(dtype))
        weight, bias = self.linear.weight.to(dtype), self.linear.bias.to(dtype)
        gathered = (padded.index_select(0, some.reshape(-1)) for some in rows.split(chunk))
        return torch.cat([F.linear(self._side_by_side(g), weight, bias) for g in gathered])

    def _side_by_side(self, gathered: Tensor) -> Tensor:
        return gathered.reshape(-1, self.linear.in_features)


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

    def _gathered(self, values: Tensor, rows: Tensor) -> Tensor:
        return Around.apply(values, rows)


class BlockConv(GatheredLinear):
    """A strided convolution: all fine cells of a coarse voxel become one coarse vector."""

    def __init__(self, in_channels: int, out_channels: int, subcells: int) -> None:
        super().__init__(subcells, in_channels, out_channels)

    def forward(self, values: Float[Tensor, "V_f C"], grid: SparseGrid) -> Float[Tensor, "V_c D"]:
        """Lay the fine values out block by block (zero where empty) and multiply once."""
        return self.gather(values, grid.fine_table)


@dataclasses.dataclass(frozen=True)
class FusedVoxels:
    """What the sparse network makes of pooled voxels.

    Attributes:
        grid: the voxels, with those that were proposed.
        fine: (V_f, C_f + 1) features and density logit of the fine voxels.
        coarse: (V_c, C_c + 1) the same of the coarse voxels.
        completion: (V_c, subcells) logits to add to every fine cell, or None.
        block_logit: (coarse cells,) that something is in each coarse cell, or None.
    """

    grid: SparseGrid
    fine: Float[Tensor, "V_f C_f"]
    coarse: Float[Tensor, "V_c C_c"]
    completion: Float[Tensor, "V_c subcells"] | None
    block_logit: Float[Tensor, " cells"] | None


class SparseVoxelNet(nn.Module):
    """Sparse convolutions within and across the two levels (paper sec. 3.1, multi-view fusion)."""

    def __init__(self, config: VoxelConfig, layout: GridLayout, ceiling: int) -> None:
        """Build the layers.

        Args:
            config: widths and depths.
            layout: the grid's frame.
            ceiling: on coarse voxels, proposed ones included.
        """
        super().__init__()
        self.config, self.ceiling = config, ceiling
        fine, hidden = config.fine_hidden_channels, config.hidden_channels
        widths = [config.fine_channels + 1] + [fine] * config.fine_layers
        self.fine = nn.ModuleList(map(SparseConv, widths[:-1], widths[1:]))
        self.down = BlockConv(widths[-1], hidden, layout.subcells)
        self.fine_head = nn.Linear(widths[-1], config.fine_channels + 1)
        self.coarse_in = SparseConv(config.coarse_channels + 1, hidden)
        self.birds_eye = (
            BirdsEyeNet(config, 2 * hidden, layout.coarse_shape)
            if config.birds_eye_channels
            else None
        )
        widths = [2 * hidden] + [hidden] * config.coarse_layers
        self.coarse = nn.ModuleList(map(SparseConv, widths[:-1], widths[1:]))
        self.coarse_head = nn.Linear(widths[-1], config.coarse_channels + 1)
        self.completion = nn.Linear(widths[-1], layout.subcells) if config.completion else None

    def forward(
        self,
        fine: Float[Tensor, "V_f C_f"],
        coarse: Float[Tensor, "V_c C_c"],
        grid: SparseGrid,
    ) -> FusedVoxels:
        """Fuse both levels; residual on the pooled values, so that the raw lift stays legible.

        Args:
            fine: (V_f, C_f + 1) pooled features and density logit.
            coarse: (V_c, C_c + 1) the same of the coarse level.
            grid: which voxels exist.
        """
        x = fine
        around = grid.coarse_neighbors()
        if self.fine:
            neighbors = grid.fine_neighbors(around)
            for layer in self.fine:
                x = layer(x, neighbors)
            del neighbors
        y = self.coarse_in(coarse, around)
        y = torch.cat([y, self.down(x, grid)], dim=1)
        block_logit = None
        if self.birds_eye is not None:
            context, block_logit = self.birds_eye(y, grid)
            grid, y, coarse = self._propose(self.birds_eye, context, block_logit, grid, y, coarse)
            around = grid.coarse_neighbors()
        for layer in self.coarse:
            y = layer(y, around)
        completion = None if self.completion is None else self.completion(y)
        return FusedVoxels(
            grid, fine + self.fine_head(x), coarse + self.coarse_head(y), completion, block_logit
        )

    def _propose(
        self,
        birds_eye: BirdsEyeNet,
        context: Tensor,
        logit: Tensor,
        grid: SparseGrid,
        y: Tensor,
        coarse: Tensor,
    ) -> tuple[SparseGrid, Tensor, Tensor]:
        """Add the proposed voxels, empty but for what the look from above says of them."""
        cells = proposed_cells(logit, grid, self.config.propose_probability, self.ceiling)
        grid = grid.with_coarse(cells)
        y = torch.cat([y, y.new_zeros(len(cells), y.shape[1])])
        coarse = torch.cat([coarse, coarse.new_zeros(len(cells), coarse.shape[1])])
        return grid, y + birds_eye.widen(context[grid.coarse_cells]), coarse
