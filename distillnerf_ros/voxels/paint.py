"""Colour of surfaces and of the sky: in every cell a linear function of place.

A cell of 0.4 m next to the vehicle covers hundreds of pixels. One colour per cell limits the
pictures of a street to 25 dB even where all geometry is known; a linear function, to 29.7 dB.
"""

import dataclasses
import math

import torch
from jaxtyping import Bool, Float, Int, Int32
from torch import Tensor

from distillnerf_ros.voxels.grid import SparseGrid, gather_rows, sized_by_ceilings

RIDGE = 0.005
"""Added to the sum of squared offsets (in cells) of a fit: a slope must be borne out by pixels
that are apart."""
SKY_CELLS = (240, 120)
"""Cells of the sky by azimuth and by elevation: 1.5 degrees each."""


@dataclasses.dataclass(frozen=True)
class RayEnds:
    """Where P rays end.

    Attributes:
        points_m: (P, 3) ego metres; any number where a ray ends in the sky.
        directions: (P, 3) in the ego frame, of any length.
        hit: (P,) False where a ray ends in the sky.
    """

    points_m: Float[Tensor, "P 3"]
    directions: Float[Tensor, "P 3"]
    hit: Bool[Tensor, " P"]


@dataclasses.dataclass(frozen=True)
class Paint:
    """Colour where rays end, of all that some camera saw.

    The fine cells of the occupied coarse voxels are numbered by their slots; those of the sky
    follow.

    Attributes:
        grid: the voxels.
        rows: (slots + sky cells + 1,) row of each cell; the last row where there is no colour.
        fits: (R + 1, 4, 3) colour in the middle of each cell, then its slopes across the cell.
        low: (R + 1, 3) darkest value of each channel among the cell's pixels.
        high: (R + 1, 3) brightest: slopes borne out in a corner must not run on across the cell.
    """

    grid: SparseGrid
    rows: Int32[Tensor, " cells"]
    fits: Float[Tensor, "R 4 3"]
    low: Float[Tensor, "R 3"]
    high: Float[Tensor, "R 3"]

    @classmethod
    @torch.no_grad()
    def fit(cls, grid: SparseGrid, ends: RayEnds, rgb: Float[Tensor, "P 3"]) -> "Paint":
        """Least squares in every cell in which rays end.

        Args:
            grid: the voxels.
            ends: of the rays of pixels.
            rgb: the pixels' colour in 0..1.
        """
        cells, basis = _places(grid, ends)
        last = _cell_count(grid)
        seen = torch.zeros(last + 1, dtype=torch.bool, device=rgb.device)
        seen[cells] = True
        seen[last] = False
        painted = min(len(cells), last) if sized_by_ceilings(rgb) else int(seen.sum())
        rows = torch.where(seen, seen.cumsum(0) - 1, painted).int()
        count, row = painted + 1, rows[cells].long()
        products = basis[:, :, None] * torch.cat([basis, rgb], dim=1)[:, None, :]
        sums = basis.new_zeros(count, 4, 7).index_add_(0, row, products)
        ridge = RIDGE * torch.eye(4, device=rgb.device)
        ridge[0, 0] = 1e-6
        fits = torch.linalg.solve_ex(sums[..., :4] + ridge, sums[..., 4:]).result
        rows_of_rgb = row[:, None].expand(-1, 3)
        low = rgb.new_ones(count, 3).scatter_reduce_(0, rows_of_rgb, rgb, "amin")
        high = rgb.new_zeros(count, 3).scatter_reduce_(0, rows_of_rgb, rgb, "amax")
        return cls(grid, rows, fits, low, high)

    @torch.no_grad()
    def __call__(self, ends: RayEnds) -> tuple[Float[Tensor, "P 3"], Bool[Tensor, " P"]]:
        """Colour in 0..1, and whether there is any; black where there is none."""
        cells, basis = _places(self.grid, ends)
        rows = gather_rows(self.rows, cells)
        known = rows < len(self.fits) - 1
        rgb = torch.einsum("pb,pbc->pc", basis, gather_rows(self.fits, rows))
        rgb = rgb.clamp(gather_rows(self.low, rows), gather_rows(self.high, rows))
        return rgb * known[:, None], known


def _cell_count(grid: SparseGrid) -> int:
    return grid.fine_table.numel() + math.prod(SKY_CELLS)


def _places(grid: SparseGrid, ends: RayEnds) -> tuple[Int[Tensor, " P"], Float[Tensor, "P 4"]]:
    """Cell of each end, and one and its offsets from the middle of the cell, in cells."""
    slots = grid.fine_table.numel()
    cell = grid.slots(*grid.layout.locate(ends.points_m)).long()
    cell = torch.where(cell < slots, cell, _cell_count(grid))
    x, y, z = ends.directions.unbind(-1)
    column = (torch.atan2(y, x) / math.tau + 0.5) * SKY_CELLS[0]
    line = (torch.atan2(z, x.hypot(y)) / math.pi + 0.5) * SKY_CELLS[1]
    columns, lines = (
        p.long().clamp(0, n - 1) for p, n in zip((column, line), SKY_CELLS, strict=True)
    )
    sky_cell = slots + columns * SKY_CELLS[1] + lines
    sky = torch.stack([column, line, torch.full_like(line, 0.5)], dim=-1)
    place = torch.where(ends.hit[:, None], grid.layout.places(ends.points_m), sky)
    offsets = (place - place.floor() - 0.5).nan_to_num(0.0)
    basis = torch.cat([torch.ones_like(offsets[:, :1]), offsets], dim=1)
    return torch.where(ends.hit, cell, sky_cell), basis
