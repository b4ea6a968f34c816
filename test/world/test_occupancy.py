"""Occupancy truth against the geometry and the rays."""

import math

import pytest
import torch

from distillnerf_ros.data.occ3d import GRID_SHAPE, ORIGIN_M, VOXEL_M, OccupancyTruth
from distillnerf_ros.taxonomy import FREE_LABEL
from distillnerf_ros.world.frames import lidar_sweep
from distillnerf_ros.world.occupancy import (
    cells,
    fill_ground,
    fill_solids,
    observe,
    occupancy_truth,
)
from distillnerf_ros.world.primitives import SolidTable, pose
from distillnerf_ros.world.scene import Scene
from distillnerf_ros.world.shapes import Shape


@pytest.fixture(scope="module")
def truth(street: Scene) -> OccupancyTruth:
    return occupancy_truth(street, 2.0)


def test_cells_of_corners_and_outside() -> None:
    points = torch.tensor([[-39.9, -39.9, -0.9], [39.9, 39.9, 5.3], [0.1, 0.1, 6.0]])
    assert cells(points).tolist() == [0, 200 * 200 * 16 - 1, -1]


def test_box_fills_exactly_its_voxels() -> None:
    shape = Shape()
    shape.box((0.8, 0.4, 1.0), (1.5, 0.7, 0.7), (0.5, 0.5, 0.5))
    table = SolidTable.from_shapes([shape], 0)
    posed = pose(table, torch.eye(4)[None], torch.zeros(1), -1)
    labels = fill_solids(posed, torch.tensor([4]), torch.eye(4)).view(GRID_SHAPE)
    full = (labels == 4).nonzero()
    assert full.amin(dim=0).tolist() == [100, 100, 4]
    assert full.amax(dim=0).tolist() == [103, 101, 5]
    assert len(full) == 4 * 2 * 2


def test_smaller_things_win_shared_voxels() -> None:
    big, small = Shape(), Shape()
    big.box((1, 1, 1), (4.0, 4.0, 2.0), (0.5, 0.5, 0.5))
    small.box((1.0, 1.0, 1.0), (0.3, 0.3, 0.3), (0.5, 0.5, 0.5))
    table = SolidTable.from_shapes([big, small], 0)
    posed = pose(table, torch.eye(4).repeat(2, 1, 1), torch.zeros(2), -1)
    labels = fill_solids(posed, torch.tensor([15, 7]), torch.eye(4))
    assert labels[cells(torch.tensor([[1.0, 1.0, 1.0]]))].item() == 7
    assert labels[cells(torch.tensor([[2.0, 2.0, 1.0]]))].item() == 15


def test_walk_visits_what_small_steps_visit() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        origin = torch.rand(1, 3, generator=generator) * torch.tensor([60.0, 60, 3]) - 30
        origin[:, 2] = 1.5
        direction = torch.randn(1, 3, generator=generator) * torch.tensor([1.0, 1, 0.1])
        distance = torch.rand(1, generator=generator) * 30 / direction.norm()
        seen, last = observe(origin, direction, distance)
        steps = torch.arange(0, float(distance), 0.002 / float(direction.norm()))
        stepped = cells(origin + steps[:, None] * direction)
        stepped = set(stepped[stepped >= 0].tolist())
        walked = set(seen.nonzero()[:, 0].tolist())
        assert stepped <= walked | {int(last)}
        assert len(walked - stepped) <= 2  # corners cut between two steps, and the end's nudge


def test_free_ray_stops_at_the_grid() -> None:
    seen, last = observe(
        torch.tensor([[0.1, 0.1, 1.1]]), torch.tensor([[1.0, 0, 0]]), torch.tensor([math.inf])
    )
    assert last.tolist() == [-1]
    assert int(seen.sum()) == 100


def test_ground_fills_one_or_two_voxels_per_column(street: Scene) -> None:
    map_from_ego = torch.from_numpy(street.ego_pose(2.0)).float()
    filled = fill_ground(street.layout.ground, map_from_ego).view(GRID_SHAPE) != FREE_LABEL
    below = filled[100, 100].nonzero()[:, 0]
    surface = int((0.0 - ORIGIN_M[2]) / VOXEL_M)
    assert surface in below.tolist() or surface - 1 in below.tolist()
    assert filled[80:120, 80:120].any(dim=2).all()
    assert filled.sum(dim=2).max() <= 8


def test_lidar_hits_lie_in_filled_voxels(street: Scene) -> None:
    """The geometry alone, without the help of rays, holds nearly every lidar hit."""
    map_from_ego = torch.from_numpy(street.ego_pose(2.0)).float()
    cpu = torch.device("cpu")
    posed = street.primitives_at([2.0], cpu)
    labels = street.labels_on(cpu)[posed.owner].long()
    solids = fill_solids(posed, labels, map_from_ego) != FREE_LABEL
    filled = solids | (fill_ground(street.layout.ground, map_from_ego) != FREE_LABEL)
    cell = cells(lidar_sweep(street, 2.0).points)
    assert filled[cell[cell >= 0]].float().mean() > 0.97


def test_masks_agree_with_what_was_seen(street: Scene, truth: OccupancyTruth) -> None:
    sweep = lidar_sweep(street, 2.0)
    cell = cells(sweep.points)
    inside = cell >= 0
    observed = torch.from_numpy(truth.mask_lidar).view(-1)[cell[inside]]
    assert observed.float().mean() > 0.98
    label = torch.from_numpy(truth.semantics).view(-1)[cell[inside]]
    assert (label == sweep.labels[inside]).float().mean() > 0.9
    assert 0.1 < truth.mask_lidar.mean() < truth.mask_camera.mean() < 0.9


def test_inside_of_solids_is_never_observed(truth: OccupancyTruth) -> None:
    """Deep inside filled space, nothing is in either mask."""
    full = torch.from_numpy(truth.occupied).float()[None, None]
    core = torch.nn.functional.avg_pool3d(full, 5, 1) > 0.999
    seen = torch.from_numpy(truth.mask_camera | truth.mask_lidar)[2:-2, 2:-2, 2:-2]
    assert core.sum() > 50
    assert seen[core[0, 0]].float().mean() < 0.02
