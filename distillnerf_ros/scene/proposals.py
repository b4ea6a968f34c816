"""Where a scene may be dense: coarse cells that place samples, and cells where things may move."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

DECAY = 0.9
"""What a cell's density shrinks by between two refreshes unless it is found again."""

COARSER = 4
"""Small cells per large cell and axis."""
DENSE = 0.1
"""Density per metre from which a cell is looked at again and again."""
_BITS = 2
BLOCK = 1 << _BITS
"""Cells of space and time along each axis of a block: a block has memory only where something may
move. A drive of 20 s over 200 m has 800 million such cells, of which 2 in 1000 are in use."""


class ProposalGrid(nn.Module):
    """Largest density found in each cell of the contracted space, and of space and time.

    Attributes:
        static: (X, Y, Z) density of what stands.
        coarse: static density in cells four times as large, each knowing its neighbours.
        moving_cells: larger cells along time, x, y, z.
        rows: (blocks,) row of each block of ``BLOCK ** 4`` of them; the last row, in which nothing
            ever moves, is that of all blocks without memory.
        moving: (rows, BLOCK ** 4) density of what moves.
        candidate: (rows, BLOCK ** 4) cells that the moving part may fill at all.
    """

    static: Tensor
    coarse: Tensor
    rows: Tensor
    moving: Tensor
    candidate: Tensor

    def __init__(
        self, cells: tuple[int, int, int], moving_cells: tuple[int, int, int, int]
    ) -> None:
        """Begin with everything a little dense, and everything allowed to move.

        Args:
            cells: cells along x, y, z.
            moving_cells: cells along time, x, y, z.
        """
        super().__init__()
        self.moving_cells = torch.Size(moving_cells)
        self._blocks = tuple(-(-count // BLOCK) for count in moving_cells)
        blocks = math.prod(self._blocks)
        self.register_buffer("static", torch.full(cells, 0.02))
        self.register_buffer("coarse", self._coarser())
        self.register_buffer("rows", torch.arange(blocks, dtype=torch.int32))
        self.register_buffer("moving", torch.full((blocks + 1, BLOCK**4), 0.02))
        self.register_buffer("candidate", torch.ones(blocks + 1, BLOCK**4, dtype=torch.bool))
        self.moving[-1], self.candidate[-1] = 0, False

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """How many blocks have memory is up to the state."""
        for name in ("moving", "candidate"):
            given = state_dict.get(prefix + name)
            if given is not None and given.shape[1:] == (BLOCK**4,):
                setattr(self, name, getattr(self, name).new_empty(given.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def summarise(self) -> None:
        """Tell the large cells what the small ones know."""
        self.coarse.copy_(self._coarser())

    def _coarser(self) -> Tensor:
        pooled = F.max_pool3d(self.static[None], COARSER, COARSER, ceil_mode=True)
        return F.max_pool3d(pooled, 3, stride=1, padding=1)[0]

    def cell(self, unit: Float[Tensor, "P 3"]) -> Int[Tensor, " P"]:
        """Flat cell of the static grid of points of the unit cube."""
        x, y, z = _whole(unit, self.static.shape)
        return (x * self.static.shape[1] + y) * self.static.shape[2] + z

    def coarse_cell(self, unit: Float[Tensor, "P 3"]) -> Int[Tensor, " P"]:
        """Flat cell of the coarse grid of points of the unit cube."""
        x, y, z = (axis // COARSER for axis in _whole(unit, self.static.shape))
        return (x * self.coarse.shape[1] + y) * self.coarse.shape[2] + z

    def moving_cell(
        self, unit: Float[Tensor, "P 3"], share: Float[Tensor, " P"]
    ) -> Int[Tensor, " P"]:
        """Place in ``moving``, flat; ``share`` is time from 0 (begin) to 1 (end)."""
        block, sub = self._block(self.spacetime_cell(unit, share))
        return self.rows[block].long() * BLOCK**4 + sub

    def spacetime_cell(
        self, unit: Float[Tensor, "P 3"], share: Float[Tensor, " P"]
    ) -> Int[Tensor, "P 4"]:
        """Cell along time, x, y, z."""
        times, *cells = self.moving_cells
        t = (share * times).long().clamp(0, times - 1)
        return torch.stack([t, *_whole(unit, torch.Size(cells))], dim=1)

    def _block(self, cells: Int[Tensor, "P 4"]) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
        """Block of each cell, and its place in it."""
        block = sub = torch.zeros_like(cells[:, 0])
        for axis, count in enumerate(self._blocks):
            block = block * count + (cells[:, axis] >> _BITS)
            sub = (sub << _BITS) + (cells[:, axis] & (BLOCK - 1))
        return block, sub

    def may_move(
        self, unit: Float[Tensor, "P 3"], share: Float[Tensor, " P"]
    ) -> Bool[Tensor, " P"]:
        """Whether the moving part may have density there."""
        return self.candidate.view(-1)[self.moving_cell(unit, share)]

    def density(
        self, unit: Float[Tensor, "P 3"], share: Float[Tensor, " P"] | None, wide: bool = False
    ) -> Float[Tensor, " P"]:
        """Largest density near points; without a time, of what stands.

        Args:
            unit: points of the unit cube.
            share: time from 0 (begin) to 1 (end).
            wide: look at large cells and their neighbours, for points that lie far apart.
        """
        if wide:
            found = self.coarse.view(-1)[self.coarse_cell(unit)]
        else:
            found = self.static.view(-1)[self.cell(unit)]
        if share is None:
            return found
        return torch.maximum(found, self.moving.view(-1)[self.moving_cell(unit, share)])

    @torch.no_grad()
    def restrict(self, cells: Int[Tensor, "K 4"]) -> None:
        """Let the moving part fill some cells only, along time, x, y, z; the others give way."""
        block, sub = self._block(cells)
        known = self.moving[self.rows[block].long(), sub]
        kept, row = block.unique(return_inverse=True)
        self.rows = torch.full_like(self.rows, len(kept))
        self.rows[kept] = torch.arange(len(kept), dtype=torch.int32, device=cells.device)
        self.moving = self.moving.new_zeros(len(kept) + 1, BLOCK**4)
        self.candidate = torch.zeros_like(self.moving, dtype=torch.bool)
        self.moving[row, sub], self.candidate[row, sub] = known, True

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "P 3"], Float[Tensor, " P"]]:
        """Points and times by chance: half of them anywhere, half in cells that are dense."""
        device = self.static.device
        unit = torch.rand(count, 3, generator=generator).to(device)
        share = torch.rand(count, generator=generator).to(device)
        dense = (self.static > DENSE).nonzero()
        if len(dense):
            half = count // 2
            chosen = torch.randint(len(dense), (half,), generator=generator).to(device)
            shape = torch.tensor(self.static.shape, device=device)
            unit[:half] = (dense[chosen] + unit[:half]) / shape
        return unit, share

    @torch.no_grad()
    def raise_to(
        self,
        unit: Float[Tensor, "P 3"],
        share: Float[Tensor, " P"],
        static: Float[Tensor, " P"],
        moving: Float[Tensor, " P"],
    ) -> None:
        """Keep the larger of what cells know and what was found at points in them."""
        self.static.view(-1).scatter_reduce_(0, self.cell(unit), static, "amax")
        cell = self.moving_cell(unit, share)
        self.moving.view(-1).scatter_reduce_(0, cell, moving, "amax")
        self.moving[-1] = 0

    @torch.no_grad()
    def fade(self) -> None:
        """Forget a little, so that what was cleared away is not looked for forever."""
        self.static *= DECAY
        self.moving *= DECAY


def _whole(unit: Float[Tensor, "P 3"], shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
    x, y, z = (
        (unit[:, axis] * count).long().clamp(0, count - 1) for axis, count in enumerate(shape)
    )
    return x, y, z
