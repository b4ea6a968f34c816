"""Colour of surfaces: exact where colour is linear, by cell, and only where something was seen."""

import numpy as np
import torch

from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid
from distillnerf_ros.voxels.paint import RIDGE, SKY_CELLS, Paint, RayEnds

LAYOUT = GridLayout(Contraction((8.0, 8.0, 4.0), 0.8), (10, 10, 5), 4)


def scattered(count: int, seed: int) -> torch.Tensor:
    """Points in a box that lies in the linear part."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([8.0, 8.0, 2.0])


def ends(points: torch.Tensor, hit: torch.Tensor | None = None) -> RayEnds:
    """Rays from the origin."""
    return RayEnds(
        points, points, torch.ones(len(points), dtype=torch.bool) if hit is None else hit
    )


def grid_around(points: torch.Tensor) -> SparseGrid:
    return build_grid(LAYOUT, points, torch.ones(len(points), dtype=torch.bool), 500, 9999)[0]


def test_a_colour_that_is_linear_in_place_is_kept() -> None:
    points = scattered(60_000, 0)
    slope = torch.tensor([[0.04, 0.0, -0.02], [0.0, 0.05, 0.01], [0.1, -0.1, 0.05]])
    paint = Paint.fit(grid_around(points), ends(points), 0.5 + points @ slope)
    rgb, known = paint(ends(points[:500]))
    assert known.all()
    torch.testing.assert_close(rgb, 0.5 + points[:500] @ slope, atol=5e-3, rtol=0)


def test_every_cell_is_the_ridge_regression_of_its_points() -> None:
    points, generator = scattered(2000, 2), torch.Generator().manual_seed(3)
    rgb = torch.rand(2000, 3, generator=generator)
    grid = grid_around(points)
    paint = Paint.fit(grid, ends(points), rgb)
    slots = grid.slots(*LAYOUT.locate(points))
    for slot in slots[:20].tolist():
        own = slots == slot
        middle = LAYOUT.centers_m(*(part[own][0] for part in LAYOUT.locate(points)))
        offset = (points[own] - middle) / torch.tensor(LAYOUT.fine_cell_size_m())
        basis = np.concatenate([np.ones((len(offset), 1)), offset.double().numpy()], axis=1)
        normal = basis.T @ basis + np.diag([1e-6, RIDGE, RIDGE, RIDGE])
        fit = np.linalg.solve(normal, basis.T @ rgb[own].double().numpy())
        told, _ = paint(ends(points[own]))
        low, high = rgb[own].min(0).values.numpy(), rgb[own].max(0).values.numpy()
        np.testing.assert_allclose(told.numpy(), (basis @ fit).clip(low, high), atol=2e-3)


def test_a_slope_seen_in_a_corner_does_not_run_on_across_the_cell() -> None:
    size = torch.tensor(LAYOUT.fine_cell_size_m())
    corner = (0.05 + 0.2 * torch.rand(50, 3, generator=torch.Generator().manual_seed(8))) * size
    rgb = 0.4 + 0.2 * corner[:, :1].expand(-1, 3) / size[0]  # from 0.41 to 0.45
    paint = Paint.fit(grid_around(corner), ends(corner), rgb)
    told, known = paint(ends(0.95 * size[None]))
    assert known.all()
    torch.testing.assert_close(told[0], rgb.max(0).values)


def test_what_nobody_saw_has_no_colour() -> None:
    points = scattered(3000, 4)
    grid = grid_around(points)
    left = points[:, 1] > 0
    paint = Paint.fit(grid, ends(points[left]), torch.ones(int(left.sum()), 3))
    slots = grid.slots(*LAYOUT.locate(points))
    rgb, known = paint(ends(points))
    assert (known == torch.isin(slots, slots[left])).all()
    assert (rgb[~known] == 0).all()
    outside = torch.tensor([[500.0, 0.0, 0.0], [torch.nan, 0.0, 0.0]])
    assert not paint(ends(outside))[1].any()


def test_the_sky_has_the_colour_of_its_direction() -> None:
    generator = torch.Generator().manual_seed(5)
    directions = torch.randn(400_000, 3, generator=generator)
    clear = torch.zeros(len(directions), dtype=torch.bool)
    nowhere = torch.full_like(directions, torch.nan)
    rgb = 0.5 + 0.4 * torch.nn.functional.normalize(directions, dim=-1)
    paint = Paint.fit(grid_around(scattered(10, 6)), RayEnds(nowhere, directions, clear), rgb)
    told, known = paint(RayEnds(nowhere[:1000], 7 * directions[:1000], clear[:1000]))
    assert known.all()
    degree = 180 / SKY_CELLS[1] * torch.pi / 180
    assert (told - rgb[:1000]).abs().max() < 0.4 * degree
    torch.testing.assert_close(told, rgb[:1000], atol=2e-3, rtol=0)


def test_nothing_at_all_paints_nothing() -> None:
    empty = torch.zeros(0, 3)
    paint = Paint.fit(grid_around(empty), ends(empty), empty)
    rgb, known = paint(ends(scattered(5, 7)))
    assert not known.any()
    assert (rgb == 0).all()
