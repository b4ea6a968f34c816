"""Where a scene may be dense: coarse cells that place samples, and cells where things may move."""

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


class ProposalGrid(nn.Module):
    """Largest density found in each cell of the contracted space, and of space and time.

    Attributes:
        static: (X, Y, Z) density of what stands.
        moving: (T, x, y, z) density of what moves, in larger cells.
        candidate: (T, x, y, z) cells that the moving part may fill at all.
        coarse: static density in cells four times as large, each knowing its neighbours.
    """

    static: Tensor
    coarse: Tensor
    moving: Tensor
    candidate: Tensor

    def __init__(
        self, cells: tuple[int, int, int], moving_cells: tuple[int, int, int, int]
    ) -> None:
        """Begin with everything a little dense.

        Args:
            cells: cells along x, y, z.
            moving_cells: cells along time, x, y, z.
        """
        super().__init__()
        self.register_buffer("static", torch.full(cells, 0.02))
        self.register_buffer("moving", torch.full(moving_cells, 0.02))
        self.register_buffer("candidate", torch.ones(moving_cells, dtype=torch.bool))
        self.register_buffer("coarse", self._coarser())

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
        """Flat cell of the moving grid; ``share`` is time from 0 (begin) to 1 (end)."""
        times, *cells = self.moving.shape
        x, y, z = _whole(unit, torch.Size(cells))
        t = (share * times).long().clamp(0, times - 1)
        return ((t * cells[0] + x) * cells[1] + y) * cells[2] + z

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
    def restrict(self, candidate: Bool[Tensor, "T x y z"]) -> None:
        """Let the moving part fill some cells only."""
        self.candidate.copy_(candidate)
        self.moving *= candidate

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
