"""The sparse grid against brute-force loops over coordinates."""

import itertools
import math

import pytest
import torch

from distillnerf_ros.config import tiny
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid, gather_rows

LAYOUT = GridLayout(Contraction((50.0, 50.0, 6.4), 0.8), (5, 4, 3), 4)
FINE_SHAPE = (20, 16, 12)


def some_points(count: int = 400, seed: int = 0) -> torch.Tensor:
    """Near and far points, clumped enough to share voxels and to have neighbours."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.tensor([30.0, 30.0, 3.0]) * torch.rand(count, 1, generator=generator) * 2
    return torch.randn(count, 3, generator=generator) * spread


def fine_coordinate(point: list[float]) -> tuple[int, ...]:
    """Integer fine cell of a point, from the equations."""
    cell = []
    for x, inner, n in zip(point, (50.0, 50.0, 6.4), FINE_SHAPE, strict=True):
        r = abs(x) / inner
        s = math.copysign(0.8 * r if r <= 1 else 1 - 0.2 / r, x)
        cell.append(min(math.floor((s + 1) / 2 * n), n - 1))
    return tuple(cell)


def numbers(xyz: tuple[int, ...]) -> tuple[int, int]:
    """Flat coarse cell and sub-cell of a fine coordinate."""
    (x, i), (y, j), (z, k) = (divmod(c, 4) for c in xyz)
    return (x * 4 + y) * 3 + z, (i * 4 + j) * 4 + k


def all_cells() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.meshgrid(torch.arange(5 * 4 * 3), torch.arange(64), indexing="ij")


def test_locate_follows_the_equations():
    points = some_points()
    coarse, sub = LAYOUT.locate(points)
    expected = [numbers(fine_coordinate(p)) for p in points.tolist()]
    assert list(zip(coarse.tolist(), sub.tolist(), strict=True)) == expected


def test_every_cell_contains_its_centre():
    coarse, sub = all_cells()
    found_coarse, found_sub = LAYOUT.locate(LAYOUT.centers_m(coarse, sub))
    assert (found_coarse == coarse).all()
    assert (found_sub == sub).all()


def test_fine_xyz_names_every_cell_once():
    coarse, sub = all_cells()
    xyz = LAYOUT.fine_xyz(coarse, sub).reshape(-1, 3)
    assert [numbers(c) for c in map(tuple, xyz[::7].tolist())] == list(
        zip(coarse.reshape(-1)[::7].tolist(), sub.reshape(-1)[::7].tolist(), strict=True)
    )
    assert len({*map(tuple, xyz.tolist())}) == math.prod(FINE_SHAPE)


@pytest.mark.parametrize("far", [1e3, 1e9, math.inf])
def test_the_far_end_of_the_world_lies_in_the_border_cells(far):
    points = torch.tensor([[far, far, far], [-far, -far, -far]])
    coarse, sub = LAYOUT.locate(points)
    assert LAYOUT.fine_xyz(coarse, sub).tolist() == [[19, 15, 11], [0, 0, 0]]


def test_cell_size_in_the_linear_part():
    x, y, z = GridLayout.from_config(tiny().grid).fine_cell_size_m()
    assert (x, y, z) == pytest.approx((0.4, 0.4, 0.2))  # an Occ3D voxel is two of them high
    size = torch.tensor(LAYOUT.fine_cell_size_m())
    middle = LAYOUT.centers_m(torch.tensor([[28], [28]]), torch.tensor([[0], [21]]))[:, 0]
    torch.testing.assert_close(middle[1] - middle[0], size)


def build(
    points: torch.Tensor, keep: torch.Tensor | None = None, max_coarse: int = 999, fine: int = 9999
) -> tuple[SparseGrid, torch.Tensor, torch.Tensor]:
    keep = torch.ones(len(points), dtype=torch.bool) if keep is None else keep
    return build_grid(LAYOUT, points, keep, max_coarse, fine)


def test_grid_holds_exactly_the_cells_of_the_kept_points():
    points = some_points()
    keep = torch.rand(len(points), generator=torch.Generator().manual_seed(1)) < 0.7
    grid, coarse_rows, fine_rows = build(points, keep)
    cells = [numbers(fine_coordinate(p)) for p in points[keep].tolist()]
    assert grid.coarse_cells.tolist() == sorted({coarse for coarse, _ in cells})
    fine = [(int(grid.coarse_cells[s // 64]), s % 64) for s in grid.fine_slots.tolist()]
    assert fine == sorted(set(cells))
    for row, cell in zip(coarse_rows[keep].tolist(), cells, strict=True):
        assert grid.coarse_cells[row] == cell[0]
    assert [fine[row] for row in fine_rows[keep].tolist()] == cells
    assert (coarse_rows[~keep] == grid.coarse_count).all()
    assert (fine_rows[~keep] == grid.fine_count).all()
    assert grid.dropped_points == 0


def test_tables_lead_back_to_their_rows():
    grid, _, _ = build(some_points())
    assert (grid.coarse_table[grid.coarse_cells] == torch.arange(grid.coarse_count)).all()
    assert (grid.fine_rows(grid.fine_slots) == torch.arange(grid.fine_count)).all()
    assert int((grid.coarse_table < grid.coarse_count).sum()) == grid.coarse_count
    assert int((grid.fine_table < grid.fine_count).sum()) == grid.fine_count
    beyond = torch.arange(64) + grid.coarse_count * 64
    assert (grid.fine_rows(beyond) == grid.fine_count).all()


def test_slots_of_points_in_voxels_and_in_empty_space():
    points = some_points()
    grid, _, fine_rows = build(points)
    slots = grid.slots(*LAYOUT.locate(points))
    assert (grid.fine_slots[fine_rows] == slots).all()
    free = int((grid.coarse_table == grid.coarse_count).nonzero()[0, 0])
    slot = grid.slots(torch.tensor([free]), torch.tensor([5]))
    assert slot.tolist() == [grid.coarse_count * 64 + 5]


def brute_force(coordinates: list[tuple[int, ...]]) -> list[list[int]]:
    """Rows around each coordinate, x slowest; the count of rows where there is none."""
    row_of = {c: row for row, c in enumerate(coordinates)}
    offsets = list(itertools.product((-1, 0, 1), repeat=3))
    return [
        [row_of.get((x + i, y + j, z + k), len(coordinates)) for i, j, k in offsets]
        for x, y, z in coordinates
    ]


def test_neighbours_against_coordinates():
    grid, _, _ = build(some_points())
    coarse = [(c // 12, c // 3 % 4, c % 3) for c in grid.coarse_cells.tolist()]
    assert grid.coarse_neighbors().tolist() == brute_force(coarse)
    slots = grid.fine_slots
    fine = LAYOUT.fine_xyz(grid.coarse_cells[slots // 64], slots % 64)
    assert grid.fine_neighbors(grid.coarse_neighbors()).tolist() == brute_force(
        [*map(tuple, fine.tolist())]
    )


def test_ceilings_drop_the_lightest_voxels_and_count_their_points():
    heavy = LAYOUT.centers_m(torch.tensor([17, 30, 44]), torch.tensor([3, 4, 5]))
    points = heavy.repeat_interleave(torch.tensor([5, 2, 7]), dim=0)
    grid, coarse_rows, fine_rows = build(points, max_coarse=2)
    assert grid.coarse_cells.tolist() == [17, 44]
    assert grid.dropped_points == 2
    assert coarse_rows.tolist() == [0] * 5 + [2] * 2 + [1] * 7
    assert fine_rows.tolist() == [0] * 5 + [2] * 2 + [1] * 7
    grid, coarse_rows, fine_rows = build(points, fine=1)
    assert grid.coarse_count == 3
    assert grid.dropped_points == 7
    assert coarse_rows.tolist() == [0] * 5 + [1] * 2 + [2] * 7
    assert fine_rows.tolist() == [1] * 7 + [0] * 7


@pytest.mark.parametrize("count", [0, 30])
def test_a_grid_of_nothing(count):
    """All cameras may see nothing but sky."""
    points = some_points(count)
    grid, coarse_rows, fine_rows = build(points, torch.zeros(count, dtype=torch.bool))
    assert (grid.coarse_count, grid.fine_count, grid.dropped_points) == (0, 0, 0)
    assert grid.fine_table.shape == (0, 64)
    assert coarse_rows.tolist() == fine_rows.tolist() == [0] * count
    assert grid.coarse_neighbors().shape == (0, 27)
    assert grid.fine_neighbors(grid.coarse_neighbors()).shape == (0, 27)
    slots = grid.slots(*LAYOUT.locate(some_points(9)))
    assert (slots < 64).all()
    assert grid.fine_rows(slots).tolist() == [0] * 9


def test_locate_agrees_with_the_contraction_written_out():
    layout = GridLayout.from_config(tiny().grid)
    points = torch.cat([50 * some_points(), torch.tensor([[50.0, -50.0, 6.4], [0.0, -0.0, -6.4]])])
    cells = torch.tensor(layout.coarse_shape) * 4
    scaled = (layout.contraction.contract(points) + 1) * (cells / 2)
    expected = torch.minimum(scaled.long().clamp(min=0), cells - 1)
    assert layout.fine_xyz(*layout.locate(points)).tolist() == expected.tolist()


def test_points_that_are_not_numbers_lie_in_the_first_cell():
    coarse, sub = LAYOUT.locate(torch.full((2, 3), torch.nan))
    assert coarse.tolist() == sub.tolist() == [0, 0]


@pytest.mark.parametrize("factor", [1, 3, 6])
def test_factors_that_cannot_be_halved_are_refused(factor):
    with pytest.raises(ConfigError, match="fine_factor"):
        GridLayout(LAYOUT.contraction, (5, 4, 3), factor)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
@pytest.mark.parametrize("channels", [(), (4,)])
def test_gathered_rows_are_the_indexed_ones(shape, channels):
    table = torch.randn(7, *channels)
    rows = torch.randint(7, shape)
    assert torch.equal(gather_rows(table, rows), table[rows])


def test_further_coarse_voxels_hold_nothing_fine_and_move_nobody():
    points = some_points(60)
    grid = build_grid(LAYOUT, points, torch.ones(60, dtype=torch.bool), 20, 999)[0]
    missing = (grid.coarse_table == grid.coarse_count).nonzero()[:, 0][[3, 1]]
    more = grid.with_coarse(missing)
    assert more.coarse_cells.tolist() == grid.coarse_cells.tolist() + missing.tolist()
    assert more.coarse_rows(more.coarse_cells).tolist() == list(range(more.coarse_count))
    others = (more.coarse_table == more.coarse_count).sum()
    assert others == LAYOUT.coarse_count - more.coarse_count
    centers = LAYOUT.centers_m(missing[:, None].expand(-1, 64), torch.arange(64).expand(2, -1))
    assert more.holds(centers).all()
    assert not grid.holds(centers).any()
    assert (more.fine_rows(more.slots(*LAYOUT.locate(centers))) == grid.fine_count).all()
    slots, before = more.slots(*LAYOUT.locate(points)), grid.slots(*LAYOUT.locate(points))
    held = grid.holds(points)
    assert held.any()
    assert (slots[held] == before[held]).all()
    assert torch.equal(grid.with_coarse(missing[:0]).coarse_table, grid.coarse_table)
