"""Occupancy on the Occ3D grid, from fields that are formulas."""

import dataclasses
import math

import pytest
import torch

from distillnerf_ros.cameras.visibility import Visibility
from distillnerf_ros.query.occupancy import (
    GRID_SHAPE,
    Occupancy,
    label_grid,
    observed_voxels,
    occupancy_density,
    occupancy_probability,
    voxel_centers_m,
)
from distillnerf_ros.taxonomy import OCC3D_CLASSES

CPU = torch.device("cpu")


class Formula:
    """A field of a density that is a formula."""

    def __init__(self, formula):
        self.density = self.proposal_density = formula

    def __call__(self, points_m, directions=None, time=None):
        raise AssertionError("occupancy asks for density alone")

    def sky(self, directions):
        raise AssertionError("nor for the sky")


def test_centres_span_the_range_of_occ3d():
    centers = voxel_centers_m(CPU)
    assert centers.shape == (200, 200, 16, 3)
    torch.testing.assert_close(centers[0, 0, 0], torch.tensor([-39.8, -39.8, -0.8]))
    torch.testing.assert_close(centers[-1, -1, -1], torch.tensor([39.8, 39.8, 5.2]))
    torch.testing.assert_close(centers[3, 2, 1] - centers[0, 0, 0], torch.tensor([1.2, 0.8, 0.4]))


def test_centres_first_asked_for_in_inference_mode_can_be_trained_with():
    voxel_centers_m.cache_clear()
    with torch.inference_mode():
        assert not voxel_centers_m(CPU).is_inference()


@pytest.mark.parametrize("density", [0.0, 0.5, math.log(2) / 0.4, 8000.0])
def test_probability_is_the_opacity_of_a_voxel(density):
    probability = occupancy_probability(torch.tensor([density]))
    assert probability.item() == pytest.approx(1 - math.exp(-0.4 * density))


def test_a_box_fills_its_voxels():
    def box(points):
        low, high = points.new_tensor([4.0, -2.0, 0.2]), points.new_tensor([8.0, 0.0, 1.8])
        return 100.0 * ((points > low) & (points < high)).all(dim=-1)

    occupied = occupancy_probability(occupancy_density(Formula(box), CPU)) > 0.5
    expected = torch.zeros(GRID_SHAPE, dtype=torch.bool)
    expected[110:120, 95:100, 3:7] = True
    assert torch.equal(occupied, expected)


@pytest.mark.parametrize(("low_m", "high_m"), [(-0.25, 0.0), (0.0, 0.25)])
def test_a_road_thinner_than_a_voxel_is_not_lost(low_m, high_m):
    """Sampled at the centres alone, a sheet of one fine cell fell between them."""
    road = Formula(lambda p: 100.0 * ((p[..., 2] > low_m) & (p[..., 2] < high_m)))
    probability = occupancy_probability(occupancy_density(road, CPU))
    assert (probability > 0.5).any(dim=2).all()


def some_occupancy() -> Occupancy:
    probability = torch.zeros(GRID_SHAPE)
    probability[0, 0, 0], probability[3, 2, 1], probability[9, 9, 9] = 0.5, 0.9, 0.49
    return Occupancy(probability, None, torch.ones(GRID_SHAPE, dtype=torch.bool))


def test_points_are_the_centres_of_the_occupied_voxels_in_their_order():
    occupancy = some_occupancy()
    assert occupancy.occupied.nonzero().tolist() == [[0, 0, 0], [3, 2, 1]]
    torch.testing.assert_close(
        occupancy.points_m(), voxel_centers_m(CPU)[occupancy.occupied], atol=1e-5, rtol=0
    )


def test_labels_go_to_the_occupied_voxels_in_their_order():
    occupied = some_occupancy().occupied
    labels = label_grid(occupied, torch.tensor([4, 11], dtype=torch.uint8))
    assert (labels[0, 0, 0], labels[3, 2, 1]) == (4, 11)
    assert (labels[~occupied] == 17).all()


def test_where_labels_are_known_they_say_what_is_occupied():
    labels = torch.full(GRID_SHAPE, 17, dtype=torch.uint8)
    labels[9, 9, 9] = OCC3D_CLASSES.index("vegetation")
    occupancy = dataclasses.replace(some_occupancy(), labels=labels)
    assert occupancy.occupied.nonzero().tolist() == [[9, 9, 9]]


def test_blocks_of_voxels_before_a_wall_are_observed():
    """One camera at the ego origin, 1.5 m up, looks along x at a wall 20 m away."""
    pose = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    k = torch.tensor([[50.0, 0, 50], [0, 50, 25], [0, 0, 1]])
    view = Visibility(k[None], pose[None], (50, 100), torch.full((1, 5, 10), 20.0))
    observed = observed_voxels(view, CPU)
    each = view.seen(voxel_centers_m(CPU).reshape(-1, 3), margin_m=0.4).reshape(GRID_SHAPE)
    assert observed.float().mean() > 0.02
    assert (observed == each).float().mean() > 0.99
    assert torch.equal(observed[::2, ::2, ::2], observed[1::2, 1::2, 1::2])
    assert not observed[:100].any()
    assert not observed[152:].any()


def test_a_road_is_observed_although_its_voxels_lie_half_below_it():
    pose = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    k = torch.tensor([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]])
    rows = (torch.arange(400) + 0.5) / 4 - 50  # of a fine depth map, from the horizon, in pixels
    ground = torch.where(rows > 0, (1.5 + 0.1) * 100 / rows, 200.0)  # z = -0.1 m
    view = Visibility(k[None], pose[None], (100, 100), ground[None, :, None].expand(1, 400, 400))
    observed = observed_voxels(view, CPU)
    assert observed[110:190, 96:104, 2].all()  # x 4 .. 36 m, the layer of the road
    assert not observed[130:, 96:104, 0].any()  # 0.8 m below it
