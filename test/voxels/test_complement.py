"""Density complement: fine where a fine voxel exists, else coarse, else nothing."""

import pytest
import torch

from distillnerf_ros.voxels.complement import complement_density, pad_row
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.field import density_from_logit
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid

LAYOUT = GridLayout(Contraction((50.0, 50.0, 6.4), 0.8), (5, 4, 3), 4)


def grid_of(coarse: list[int], sub: list[int]) -> SparseGrid:
    points = LAYOUT.centers_m(torch.tensor(coarse), torch.tensor(sub))
    return build_grid(LAYOUT, points, torch.ones(len(coarse), dtype=torch.bool), 9, 99)[0]


@pytest.mark.parametrize("completed", [False, True])
def test_every_slot_against_the_rule(completed):
    grid = grid_of([7, 7, 31], [0, 63, 20])
    fine, coarse = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, -2.0])
    completion = torch.randn(2, 64) if completed else None
    density = complement_density(grid, fine, coarse, completion)
    assert density.shape == (3 * 64,)
    own = {(0, 0): 1.0, (0, 63): 2.0, (1, 20): 3.0}
    for block in range(2):
        for sub in range(64):
            logit = own.get((block, sub), float(coarse[block]))
            logit += float(completion[block, sub]) if completed else 0.0
            expected = density_from_logit(torch.tensor(logit))
            torch.testing.assert_close(density[block * 64 + sub], expected)
    assert (density[128:] == 0).all()


def test_without_complement_only_fine_voxels_are_dense():
    grid = grid_of([7, 31], [5, 20])
    density = complement_density(grid, torch.ones(2), torch.ones(2), None, complement=False)
    assert density.nonzero()[:, 0].tolist() == [5, 64 + 20]


def test_nothing_but_empty_space():
    grid = build_grid(LAYOUT, torch.zeros(0, 3), torch.zeros(0, dtype=torch.bool), 9, 9)[0]
    density = complement_density(grid, torch.zeros(0), torch.zeros(0), torch.zeros(0, 64))
    assert density.tolist() == [0.0] * 64


def test_gradient_reaches_both_levels():
    grid = grid_of([7, 31], [0, 20])
    fine, coarse = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    density = complement_density(grid, fine, coarse, None)
    density.sum().backward()
    slope = torch.tensor(-1.0).exp()  # of exp(x - 1) at 0
    torch.testing.assert_close(fine.grad, slope.expand(2))
    torch.testing.assert_close(coarse.grad, 63 * slope.expand(2))


def test_density_is_bounded_however_sure_the_network_is():
    logits = torch.tensor([-1e6, -10.0, 0.0, 10.0, 1e6])
    density = density_from_logit(logits)
    torch.testing.assert_close(density[2], torch.tensor(-1.0).exp())
    torch.testing.assert_close(density[-1], torch.tensor(9.0).exp())
    assert (density.diff() > 0).all()


def test_pad_row_appends_zeros():
    assert pad_row(torch.ones(2, 3)).tolist() == [[1.0] * 3, [1.0] * 3, [0.0] * 3]
