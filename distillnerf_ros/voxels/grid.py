"""The sparse two-level grid: which voxels exist, and where each point falls. No features here."""

import dataclasses
import functools

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Int32, Shaped
from torch import Tensor

from distillnerf_ros.config import GridConfig
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.voxels.contraction import Contraction


@dataclasses.dataclass(frozen=True)
class GridLayout:
    """The dense frame a sparse grid lives in, with three coordinate systems.

    - ego: metres in base_link;
    - contracted: each axis in (-1, 1);
    - cell: integer fine cells; ``factor`` fine cells per coarse cell and axis.

    A *slot* numbers a fine cell within the occupied coarse voxels: ``block * factor**3 + sub``.
    """

    contraction: Contraction
    coarse_shape: tuple[int, int, int]
    factor: int

    def __post_init__(self) -> None:
        """Check what `locate` relies on.

        Raises:
            ConfigError: a coarse cell cannot be halved down to its fine cells.
        """
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise ConfigError(f"grid.fine_factor is {self.factor}, expected 2, 4, 8 or 16")

    @classmethod
    def from_config(cls, config: GridConfig) -> "GridLayout":
        """Build the layout that a configuration describes."""
        inner = (config.inner_xy_m, config.inner_xy_m, config.inner_z_m)
        contraction = Contraction(inner, 1.0 if config.linear else config.alpha)
        return cls(contraction, config.coarse_shape, config.fine_factor)

    @property
    def bounded(self) -> bool:
        """Whether space ends with the linear part.

        What lies beyond is then located in the outermost coarse cells, which hold no voxel.
        """
        return self.contraction.alpha == 1.0

    def reachable(self, coarse: Int[Tensor, "*s"]) -> Bool[Tensor, "*s"]:
        """Coarse cells that may hold a voxel."""
        if not self.bounded:
            return torch.ones_like(coarse, dtype=torch.bool)
        axes = zip(self.coarse_xyz(coarse), self.coarse_shape, strict=True)
        x, y, z = ((cell > 0) & (cell < count - 1) for cell, count in axes)
        return x & y & z

    @property
    def subcells(self) -> int:
        """Fine cells in one coarse cell."""
        return self.factor**3

    @property
    def coarse_count(self) -> int:
        """Coarse cells in the whole layout."""
        x, y, z = self.coarse_shape
        return x * y * z

    def fine_cell_size_m(self) -> tuple[float, float, float]:
        """Size of a fine cell in the linear part, metres along x, y, z."""
        scale = [2 / (n * self.factor) / self.contraction.alpha for n in self.coarse_shape]
        x, y, z = (s * r for s, r in zip(scale, self.contraction.inner_m, strict=True))
        return x, y, z

    @torch.no_grad()
    def locate(
        self, points_m: Float[Tensor, "*shape 3"]
    ) -> tuple[Int32[Tensor, "*shape"], Int32[Tensor, "*shape"]]:
        """Flat coarse cell and fine sub-cell of each point; a NaN point lies in the first cell.

        Seven times faster than `Contraction.contract` and integer division: this runs for every
        sample of every ray.
        """
        shift, below = self.factor.bit_length() - 1, self.factor - 1
        coarse: Tensor | None = None
        sub: Tensor | None = None
        for coordinate, inner_m, count in zip(
            points_m.unbind(-1), self.contraction.inner_m, self.coarse_shape, strict=True
        ):
            cells = count * self.factor
            scaled = self._scaled(coordinate, inner_m, cells)
            fine = scaled.int().clamp_(0, cells - 1)
            block = fine >> shift
            coarse = block if coarse is None else block.add_(coarse, alpha=count)
            within = fine.bitwise_and_(below)
            sub = within if sub is None else within.add_(sub, alpha=self.factor)
        assert coarse is not None
        assert sub is not None
        return coarse, sub

    @torch.no_grad()
    def places(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Where each point lies, in fine cells along each axis: whole numbers are borders."""
        axes = zip(points_m.unbind(-1), self.contraction.inner_m, self.coarse_shape, strict=True)
        return torch.stack([self._scaled(x, r, n * self.factor) for x, r, n in axes], dim=-1)

    def _scaled(self, coordinate: Tensor, inner_m: float, cells: int) -> Tensor:
        """Metres along an axis to fine cells.

        One formula holds on both sides of r: with q = x / r,
        s = c - (1 - a) c / max(|q|, 1) where c = clamp(q, -1, 1). Here q, c and s are in cells, of
        which there are `half` on each side of the middle: each pass over the points less counts.
        """
        half = cells / 2
        q = coordinate * (half / inner_m)
        outside = q.abs().clamp_(min=half)
        inside = q.clamp_(-half, half)
        scaled = inside.addcdiv(inside, outside, value=(self.contraction.alpha - 1) * half)
        return scaled.add_(half)

    def coarse_xyz(self, coarse: Int[Tensor, "*s"]) -> tuple[Tensor, Tensor, Tensor]:
        """Integer coordinates of coarse cells."""
        _, ny, nz = self.coarse_shape
        return coarse // (ny * nz), coarse // nz % ny, coarse % nz

    def fine_xyz(self, coarse: Int[Tensor, "*s"], sub: Int[Tensor, "*s"]) -> Int[Tensor, "*s 3"]:
        """Integer fine coordinates of a fine cell; the inverse of the numbering of `locate`."""
        f = self.factor
        corner = torch.stack(self.coarse_xyz(coarse), dim=-1) * f
        return corner + torch.stack([sub // (f * f), sub // f % f, sub % f], dim=-1)

    def neighbor_tables(
        self, device: torch.device
    ) -> tuple[Int[Tensor, "subcells 27"], Int[Tensor, "subcells 27"]]:
        """For each sub-cell and offset: the coarse side it leads to, and the sub-cell there."""
        f = self.factor
        sub = torch.arange(self.subcells, device=device)
        x, y, z = _around(sub // (f * f), sub // f % f, sub % f)
        side = (x // f + 1) * 9 + (y // f + 1) * 3 + (z // f + 1)
        return side.int(), (x % f * (f * f) + y % f * f + z % f).int()

    def octants(self, device: torch.device) -> Int32[Tensor, " subcells"]:
        """Which eighth of its coarse cell each sub-cell lies in (x slowest)."""
        half = torch.arange(self.factor, device=device) // (self.factor // 2)
        x, y, z = torch.meshgrid(half, half, half, indexing="ij")
        return (x * 4 + y * 2 + z).reshape(-1).int()

    def centers_m(
        self, coarse: Int[Tensor, "*s"], sub: Int[Tensor, "*s"]
    ) -> Float[Tensor, "*s 3"]:
        """Centres of fine cells in ego metres."""
        fine_shape = torch.tensor(self.coarse_shape, device=coarse.device) * self.factor
        contracted = (self.fine_xyz(coarse, sub) + 0.5) / fine_shape * 2 - 1
        return self.contraction.expand(contracted)


NEIGHBOR_CHUNK = 4096
"""Voxels whose neighbours a CPU finds at a time: what it works on then stays in a core's cache."""


@dataclasses.dataclass(frozen=True)
class SparseGrid:
    """Immutable topology of one glance: V_c occupied coarse voxels and V_f fine voxels in them.

    Row numbers equal to the count of rows mean "not there", so that a table padded by one row
    answers for empty space. Rows may be spare (see `sized_by_ceilings`): no table leads to them.

    Attributes:
        layout: the dense frame.
        coarse_table: (coarse cells,) coarse cell -> coarse row.
        coarse_cells: (V_c,) coarse row -> coarse cell, -1 for a spare row.
        fine_table: (V_c, subcells) coarse row and sub-cell -> fine row.
        fine_slots: (V_f,) fine row -> slot, -1 for a spare row.
        dropped: () points that found no place because a ceiling was reached.
    """

    layout: GridLayout
    coarse_table: Int[Tensor, " cells"]
    coarse_cells: Int[Tensor, " V_c"]
    fine_table: Int[Tensor, "V_c subcells"]
    fine_slots: Int[Tensor, " V_f"]
    dropped: Int[Tensor, ""]

    @property
    def dropped_points(self) -> int:
        """How many points found no place because a ceiling was reached."""
        return int(self.dropped)

    def with_coarse(self, cells: Int[Tensor, " P"]) -> "SparseGrid":
        """This grid with further coarse voxels, which hold no fine ones; rows that exist stay.

        Args:
            cells: (P,) coarse cells without a voxel, no two alike, or -1 for a spare row.
        """
        before, after = self.coarse_count, self.coarse_count + len(cells)
        table = torch.where(self.coarse_table == before, after, self.coarse_table)
        table = _numbered(table, cells, torch.arange(before, after, device=cells.device))
        empty = self.fine_table.new_full((len(cells), self.layout.subcells), self.fine_count)
        return dataclasses.replace(
            self,
            coarse_table=table,
            coarse_cells=torch.cat([self.coarse_cells, cells]),
            fine_table=torch.cat([self.fine_table, empty]),
        )

    @property
    def coarse_count(self) -> int:
        """Rows of coarse voxels."""
        return self.coarse_cells.shape[0]

    @property
    def fine_count(self) -> int:
        """Rows of fine voxels."""
        return self.fine_slots.shape[0]

    def coarse_neighbors(self) -> Int[Tensor, "V_c 27"]:
        """Coarse rows around each coarse voxel (itself in the middle, column 13)."""
        _, ny, nz = self.layout.coarse_shape
        coordinates = _around(*self.layout.coarse_xyz(self.coarse_cells))
        axes = zip(coordinates, self.layout.coarse_shape, strict=True)
        inside_x, inside_y, inside_z = ((a >= 0) & (a < count) for a, count in axes)
        inside = inside_x & inside_y & inside_z
        x, y, z = coordinates
        rows = self.coarse_table[torch.where(inside, (x * ny + y) * nz + z, 0)]
        return torch.where(inside, rows, self.coarse_count)

    def fine_neighbors(self, coarse_neighbors: Int[Tensor, "V_c 27"]) -> Int[Tensor, "V_f 27"]:
        """Fine rows around each fine voxel (itself in the middle, column 13).

        A neighbour lies in one of the 27 coarse voxels around; which, and where in it, depends on
        the sub-cell alone: two small tables replace coordinates (4x faster than they).
        """
        side, neighbor_sub = self.layout.neighbor_tables(self.fine_slots.device)
        first_slots = (coarse_neighbors * self.layout.subcells).int().reshape(-1)
        chunk = NEIGHBOR_CHUNK if self.fine_slots.device.type == "cpu" else max(1, self.fine_count)
        rows = []
        for slots in self.fine_slots.clamp(min=0).split(chunk):
            block, sub = slots // self.layout.subcells, slots % self.layout.subcells
            around = gather_rows(side, sub).add_(block.int()[:, None], alpha=27)
            rows.append(self.fine_rows(gather_rows(first_slots, around) + neighbor_sub[sub]))
        return torch.cat(rows)

    def slots(self, coarse: Int[Tensor, "*s"], sub: Int[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """Slot of each fine cell; slots from ``V_c * subcells`` on lie in empty coarse cells."""
        return gather_rows(self._first_slots, coarse) + sub

    def fine_rows(self, slots: Int[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """Fine row at each slot (``fine_count`` where there is none)."""
        return gather_rows(self._fine_rows, slots.clamp(max=self.fine_table.numel()))

    def holds(self, points_m: Float[Tensor, "*s 3"]) -> Bool[Tensor, "*s"]:
        """Whether each point lies in a coarse voxel."""
        return self.coarse_rows(self.layout.locate(points_m)[0]) < self.coarse_count

    def coarse_rows(self, coarse: Int[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """Coarse row of each coarse cell (``coarse_count`` where there is none)."""
        return gather_rows(self._coarse_rows, coarse)

    # Tables of the size of the grid, made once per glance; int32 halves what look-ups move.

    @functools.cached_property
    def _coarse_rows(self) -> Int32[Tensor, " cells"]:
        return self.coarse_table.int()

    @functools.cached_property
    def _first_slots(self) -> Int32[Tensor, " cells"]:
        return (self.coarse_table * self.layout.subcells).int()

    @functools.cached_property
    def _fine_rows(self) -> Int32[Tensor, " slots"]:
        empty = self.fine_table.new_full((1,), self.fine_count)
        return torch.cat([self.fine_table.reshape(-1), empty]).int()


def gather_rows(
    table: Shaped[Tensor, " rows *channels"], rows: Int[Tensor, "*shape"]
) -> Shaped[Tensor, "..."]:
    """``table[rows]``, twice as fast, and three times as fast backwards, on a CPU."""
    return table.index_select(0, rows.reshape(-1)).reshape((*rows.shape, *table.shape[1:]))


def build_grid(
    layout: GridLayout,
    points_m: Float[Tensor, "P 3"],
    keep: Bool[Tensor, " P"],
    max_coarse: int,
    max_fine: int,
) -> tuple[SparseGrid, Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Find the voxels that points occupy.

    Where more voxels are occupied than the ceilings allow, those with the fewest points go.

    Args:
        layout: the dense frame.
        points_m: (P, 3) ego metres.
        keep: (P,) points that count; the others occupy nothing.
        max_coarse: ceiling on coarse voxels.
        max_fine: ceiling on fine voxels.

    Returns:
        The grid, the coarse row of each point and the fine row of each point (the respective
        count of rows where the point has no voxel).
    """
    coarse, sub = layout.locate(points_m)
    keep = keep & layout.reachable(coarse)
    coarse_table, coarse_cells = _occupied(coarse, keep, layout.coarse_count, max_coarse)
    blocks = coarse_table[coarse]
    in_block = keep & (blocks < coarse_cells.shape[0])
    slots = torch.where(in_block, blocks * layout.subcells + sub, 0)
    slot_count = coarse_cells.shape[0] * layout.subcells
    fine_table, fine_slots = _occupied(slots, in_block, slot_count, max_fine)
    fine = fine_table[slots] if slot_count else slots
    coarse_rows = torch.where(in_block, blocks, coarse_cells.shape[0])
    fine_rows = torch.where(in_block, fine, fine_slots.shape[0])
    dropped = (keep & (fine_rows >= fine_slots.shape[0])).sum()
    fine_table = fine_table.reshape(-1, layout.subcells)
    grid = SparseGrid(layout, coarse_table, coarse_cells, fine_table, fine_slots, dropped)
    return grid, coarse_rows, fine_rows


def sized_by_ceilings(values: Tensor) -> bool:
    """Whether what has as many rows as voxels were found gets as many as there may be.

    The host then knows every size before a GPU has found anything, and never waits for it. The
    spare rows are work for nothing: a CPU, which has no one to wait for, does without them, and
    so does training, which keeps all rows for its gradients.
    """
    return values.device.type != "cpu" and not torch.is_grad_enabled()


def _occupied(
    cells: Int[Tensor, " P"], keep: Bool[Tensor, " P"], count: int, ceiling: int
) -> tuple[Tensor, Tensor]:
    """Number the cells that kept points occupy: table cell -> row, and row -> cell."""
    hits = torch.zeros(count, dtype=torch.int32, device=cells.device)
    if count:
        hits.index_add_(0, cells, keep.int())
    occupied = heaviest(hits > 0, hits, ceiling)
    table = hits.new_full((count,), len(occupied), dtype=torch.long)
    return _numbered(table, occupied, torch.arange(len(occupied), device=cells.device)), occupied


def heaviest(
    wanted: Bool[Tensor, " cells"],
    weight: Shaped[Tensor, " cells"],
    ceiling: int,
    taken: int | Int[Tensor, ""] = 0,
) -> Int[Tensor, " N"]:
    """The cells that are wanted in their order, the heaviest of them if there are too many.

    Args:
        wanted: which cells.
        weight: what a cell counts.
        ceiling: how many there may be.
        taken: how many there are already.

    Returns:
        (N,) cells; -1 in the spare rows that a GPU gets.
    """
    if sized_by_ceilings(wanted):
        rows = min(ceiling, len(wanted))
        cells = weight.float().masked_fill(~wanted, -torch.inf).topk(rows).indices
        there = wanted[cells] & (torch.arange(rows, device=cells.device) < ceiling - taken)
        cells = torch.where(there, cells, len(wanted)).sort().values
        return torch.where(cells < len(wanted), cells, -1)
    cells, room = wanted.nonzero()[:, 0], max(0, ceiling - int(taken))
    if len(cells) > room:
        cells = cells[weight[cells].topk(room, sorted=False).indices].sort().values
    return cells


def _numbered(
    table: Int[Tensor, " cells"], cells: Int[Tensor, " N"], rows: Int[Tensor, " N"]
) -> Int[Tensor, " cells"]:
    """The table with the cells' rows written into it; -1 is no cell."""
    padded = F.pad(table, (0, 1))
    padded[cells] = rows
    return padded[:-1]


def _around(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates of the 27 cells in the 3x3x3 neighbourhood of each cell, x slowest."""
    line = torch.arange(-1, 2, device=x.device)
    steps = torch.cartesian_prod(line, line, line).unbind(-1)
    return x[:, None] + steps[0], y[:, None] + steps[1], z[:, None] + steps[2]
