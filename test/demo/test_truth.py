"""Recorded occupancy is compared where the truth is, not where the glance was."""

import math

import numpy as np
import pytest

from distillnerf_ros.data.occ3d import GRID_SHAPE, ORIGIN_M, VOXEL_M
from distillnerf_ros.demo.snapshot import Voxels
from distillnerf_ros.demo.truth import grid_in_frame
from distillnerf_ros.taxonomy import FREE_LABEL


def voxel_at(*indices, label=4):
    """Voxels with a label at grid indices."""
    points = np.array(indices) * VOXEL_M + np.array(ORIGIN_M) + VOXEL_M / 2
    return Voxels(points, np.full(len(points), label, np.uint8), np.ones(len(points)))


def occupied(grid):
    return {tuple(index) for index in np.argwhere(grid != FREE_LABEL).tolist()}


def test_the_same_pose_gives_the_same_grid():
    grid = grid_in_frame(voxel_at((3, 5, 7), (199, 199, 15)), np.eye(4))
    assert grid.shape == GRID_SHAPE
    assert occupied(grid) == {(3, 5, 7), (199, 199, 15)}
    assert grid[3, 5, 7] == 4


def test_a_vehicle_that_drove_on_sees_things_nearer():
    moved = np.eye(4)
    moved[0, 3] = 3 * VOXEL_M  # the keyframe is 1.2 m ahead of the glance
    assert occupied(grid_in_frame(voxel_at((100, 5, 7)), moved)) == {(97, 5, 7)}


def test_a_quarter_turn():
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]  # the keyframe looks along the glance's left
    assert occupied(grid_in_frame(voxel_at((120, 100, 4)), turned)) == {(100, 79, 4)}


def test_what_leaves_the_grid_is_free():
    moved = np.eye(4)
    moved[0, 3] = 90.0
    assert not occupied(grid_in_frame(voxel_at((3, 5, 7)), moved))


def test_without_semantics_occupied_is_class_0():
    voxels = voxel_at((1, 2, 3))
    plain = Voxels(voxels.points_m, None, voxels.probability)
    grid = grid_in_frame(plain, np.eye(4))
    assert grid[1, 2, 3] == 0
    assert (grid == FREE_LABEL).sum() == math.prod(GRID_SHAPE) - 1


@pytest.mark.parametrize("shift", [0.05, -0.05])
def test_small_shifts_leave_no_holes(shift):
    block = np.stack(np.meshgrid(*[np.arange(4, 12)] * 3, indexing="ij"), -1).reshape(-1, 3)
    moved = np.eye(4)
    moved[:3, 3] = shift
    assert len(occupied(grid_in_frame(voxel_at(*block.tolist()), moved))) == len(block)
