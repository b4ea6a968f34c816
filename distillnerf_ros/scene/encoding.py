"""Multi-resolution grids in tables of bounded size, interpolated over simplices.

A D-dimensional cell is cut into D! simplices by the order of the fractional coordinates
(Freudenthal 1942). A point then needs D + 1 corners instead of 2^D: 4 instead of 8 in space, 5
instead of 16 in space and time. Levels too fine for their table share rows by hashing (Mueller et
al. 2022).
"""

import dataclasses
import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

_PRIMES = (-1_640_531_535, 805_459_861, -620_313_867)
"""Odd factors of the hash for all axes but the first, as 32-bit numbers that overflow."""

_NEGLIGIBLE = 3e-3
"""Share of the mean gradient up to which that of a point counts as none."""


class _GatherSum(torch.autograd.Function):
    """Weighted sums of table rows.

    The gradient is scattered as single numbers: 20 times faster on a CPU than the gradient of
    ``embedding_bag``, which sorts (640 k corners of 4 channels: 3 ms instead of 69 ms).

    Most points of a ray lie in what is empty or hidden. In a scene fitted for half an hour 15 in
    100 have more than 3 thousandths of the mean gradient, and all but a billionth of its squares:
    the others are not scattered.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, weights)
        return F.embedding_bag(index, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, every_index, every_weight = ctx.saved_tensors
        size, channels = grads[0].abs().amax(dim=1), table.shape[1]
        kept = (~(size <= _NEGLIGIBLE * size.mean())).nonzero()[:, 0]  # a NaN must not be hidden
        grad, index, weights = (
            t.index_select(0, kept) for t in (grads[0], every_index, every_weight)
        )
        grad_table = grad_weights = None
        if ctx.needs_input_grad[0]:
            places = index[..., None].long() * channels
            places = places + torch.arange(channels, device=index.device)
            values = grad[:, None] * weights[..., None]
            flat = torch.zeros(table.numel(), dtype=table.dtype, device=table.device)
            grad_table = flat.scatter_add_(0, places.reshape(-1), values.reshape(-1))
            grad_table = grad_table.view_as(table)
        if ctx.needs_input_grad[2]:
            rows = table.index_select(0, index.reshape(-1)).view(*index.shape, channels)
            felt = (rows * grad[:, None]).sum(dim=-1)
            grad_weights = torch.zeros_like(every_weight).index_copy_(0, kept, felt)
        return grad_table, None, grad_weights


def gather_sum(
    table: Float[Tensor, "rows C"], index: Int[Tensor, "P K"], weights: Float[Tensor, "P K"]
) -> Float[Tensor, "P C"]:
    """Sum over K of weight times row, differentiable in the table and the weights."""
    return _GatherSum.apply(table, index, weights)


def simplex(
    position: Float[Tensor, "D P"],
) -> tuple[Int[Tensor, "corners D P"], Float[Tensor, "corners P"]]:
    """Corners of the simplex around each point of the unit lattice, and their weights.

    Args:
        position: (D, P) coordinates in units of cells.

    Returns:
        (D + 1, D, P) lattice points; (D + 1, P) barycentric weights, which sum to 1.
    """
    dims = len(position)
    base = position.detach().floor()
    fraction = position - base
    ordered = _descending(fraction)
    inner = [larger - smaller for larger, smaller in itertools.pairwise(ordered)]
    weights = torch.stack([1 - ordered[0], *inner, ordered[-1]])
    # How many axes step before each; of equal fractions the first.
    rank = torch.zeros_like(base, dtype=torch.int32)
    for a in range(dims):
        for b in range(a + 1, dims):
            later = (fraction[b] > fraction[a]).int()
            rank[a] += later
            rank[b] += 1 - later
    steps = torch.arange(dims + 1, device=rank.device, dtype=torch.int32)[:, None, None]
    return base.int() + (rank < steps).int(), weights


def _descending(rows: Float[Tensor, "D P"]) -> list[Float[Tensor, " P"]]:
    """Each column sorted, by comparing neighbours D times: for few rows faster than a sort."""
    ordered = list(rows)
    for turn in range(len(ordered)):
        for place in range(turn % 2, len(ordered) - 1, 2):
            one, other = ordered[place], ordered[place + 1]
            ordered[place] = torch.maximum(one, other)
            ordered[place + 1] = torch.minimum(one, other)
    return ordered


class SimplexGrid(nn.Module):
    """Features at points: one table of learnt rows per level.

    Attributes:
        table: (rows, C) all levels' rows.
        cells: (levels, D) cells along each axis.
        channels: features per level.
    """

    def __init__(self, cells: list[tuple[int, ...]], rows: int, channels: int) -> None:
        """Make small random features.

        Args:
            cells: cells along each axis, per level.
            rows: most rows per level, a power of two; levels with more corners are hashed.
            channels: features per level.
        """
        super().__init__()
        self.channels = channels
        own = [math.prod(count + 1 for count in level) for level in cells]
        sizes = [min(rows, count) for count in own]
        self._levels = [
            _Level(sum(sizes[:i]), size, _strides(level) if size == count else None)
            for i, (size, count, level) in enumerate(zip(sizes, own, cells, strict=True))
        ]
        self.table = nn.Parameter(torch.empty(sum(sizes), channels).uniform_(-1e-2, 1e-2))
        self.cells: Tensor
        self.register_buffer("cells", torch.tensor(cells), persistent=False)

    @property
    def width(self) -> int:
        """Channels of the answer."""
        return len(self._levels) * self.channels

    def forward(self, unit: Float[Tensor, "P D"]) -> Float[Tensor, "P C"]:
        """Features at points of the unit cube (beyond it, of its border)."""
        position = unit.clamp(0, 1 - 1e-6).T
        rows, shares = [], []
        for level, cells in zip(self._levels, self.cells, strict=True):
            corners, weights = simplex(position * cells[:, None])
            rows.append(level.rows(corners).T)
            shares.append(weights.T)
        # One gather for all levels: each would make a gradient of the whole table.
        found = gather_sum(self.table, torch.cat(rows), torch.cat(shares))
        return found.view(len(rows), len(unit), self.channels).transpose(0, 1).flatten(1)


@dataclasses.dataclass(frozen=True)
class _Level:
    """Rows of the table that belong to a level.

    Attributes:
        begin: its first row.
        size: how many.
        strides: of the lattice, if each corner has a row of its own; None if they are hashed.
    """

    begin: int
    size: int
    strides: tuple[int, ...] | None

    def rows(self, corners: Int[Tensor, "K D P"]) -> Int[Tensor, "K P"]:
        """Row of each corner."""
        axes = corners.unbind(1)
        if self.strides is not None:
            places = [axis * stride for axis, stride in zip(axes, self.strides, strict=True)]
            return torch.stack(places).sum(dim=0, dtype=torch.int32) + self.begin
        mixed = axes[0]
        for axis, prime in zip(axes[1:], _PRIMES, strict=False):
            mixed = mixed ^ (axis * prime)
        return (mixed & (self.size - 1)) + self.begin


def _strides(cells: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(count + 1 for count in cells[:axis]) for axis in range(len(cells)))
