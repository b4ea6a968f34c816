"""Parts of space: in closed form, against brute force, and found by what is asked."""

import pytest
import torch

from distillnerf_ros.errors import QueryError
from distillnerf_ros.query.region import Region, find_things, occupied_cells, union

LOW, HIGH = torch.tensor([-16.0, -16.0, -2.0]), torch.tensor([16.0, 16.0, 6.0])


def cube(low: tuple[int, int, int], high: tuple[int, int, int], cell_m: float = 0.5):
    """Centres of the cells from one to the other."""
    axes = [torch.arange(a, b) for a, b in zip(low, high, strict=True)]
    return (torch.cartesian_prod(*axes) + 0.5) * cell_m


def test_a_box_holds_what_lies_between_its_corners():
    low, high = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, 2.0, 0.75])
    box = Region.box(low, high)
    points = torch.rand(4, 500, 3) * 6 - 2
    inside = ((points >= low) & (points < high)).all(dim=-1)
    assert inside.any()
    assert torch.equal(box.holds(points), inside)
    torch.testing.assert_close(box.bounds_m, (low, high))
    far = torch.tensor([[1e30, 0.0, 0.6], [torch.inf, 0.0, 0.6], [torch.nan, 0.0, 0.6]])
    assert box.holds(far).tolist() == [False, False, False]


@pytest.mark.parametrize("high", [(1.0, 1.0, 0.0), (-1.0, 1.0, 1.0), (float("nan"), 1.0, 1.0)])
def test_a_box_inside_out_is_refused(high):
    with pytest.raises(QueryError, match="lowest corner first"):
        Region.box(torch.zeros(3), torch.tensor(high))


def test_cells_that_hold_something_are_those_of_the_balls(two_balls):
    found = occupied_cells(two_balls, LOW, HIGH, 0.5)
    every = cube((-32, -32, -4), (32, 32, 12))
    expected = every[two_balls.density(every) > 0]
    assert len(found) == len(expected) > 200
    assert {tuple(p) for p in found.tolist()} == {tuple(p) for p in expected.tolist()}


def test_each_ball_is_a_thing_and_only_what_answers_is_one(two_balls):
    points = occupied_cells(two_balls, LOW, HIGH, 0.5)
    green = two_balls(points).features[:, 1]
    (thing,) = find_things(points, green, 0.5, 0.5)
    assert thing.score == 1
    assert thing.count == int(green.sum())
    torch.testing.assert_close(thing.low_m, torch.tensor([-2.0, 8.5, -0.5]))
    torch.testing.assert_close(thing.high_m, torch.tensor([2.0, 12.5, 3.5]))
    assert thing.region.holds(points[green > 0]).all()
    assert not thing.region.holds(points[green == 0]).any()
    both = find_things(points, torch.ones(len(points)), 0.5, 0.5)
    assert len(both) == 2
    assert union(both).holds(points).all()


def test_the_largest_thing_comes_first_and_nothing_is_no_error():
    small, large = cube((0, 0, 0), (1, 1, 1)), cube((5, 5, 0), (7, 7, 2))
    points = torch.cat([small, large])
    things = find_things(points, torch.full((9,), 0.7), 0.6, 0.5)
    assert [thing.count for thing in things] == [8, 1]
    assert find_things(points, torch.full((9,), 0.5), 0.6, 0.5) == []
    assert find_things(points[:0], torch.zeros(0), 0.6, 0.5) == []


def test_a_thing_takes_its_panes_but_not_the_ground_nor_its_neighbour():
    """Cells of 0.5 m: a car of 4x4x3 with a pane in its roof, on a road, beside a wall."""
    car, road = cube((0, 0, 0), (4, 4, 3)), cube((-3, -3, -1), (7, 7, 0))
    wall = cube((5, 0, 0), (6, 4, 3))
    points = torch.cat([car, road, wall])
    pane = torch.tensor([0.75, 0.75, 1.25])
    scores = torch.cat([torch.ones(len(car)), torch.zeros(len(road) + len(wall))])
    scores[(points == pane).all(dim=1)] = 0.0
    (thing,) = find_things(points, scores, 0.5, 0.5)
    assert thing.region.holds(car).all()
    assert thing.region.holds(pane)
    assert not thing.region.holds(road).any()
    assert not thing.region.holds(wall).any()
    beside = torch.tensor([[-0.25, 0.75, 0.25], [0.75, 0.75, 1.75]])
    assert thing.region.holds(beside).all()  # empty, next to it: a fitted surface may be thick
    assert not thing.region.holds(beside + torch.tensor([-1.0, 0.0, 1.0])).any()


def test_what_nearly_answers_beside_a_thing_is_part_of_it():
    points = torch.tensor([[0.25, 0.25, 0.25], [0.75, 0.25, 0.25], [0.25, 0.75, 0.25]])
    (thing,) = find_things(points, torch.tensor([0.9, 0.5, 0.4]), 0.6, 0.5)
    assert thing.region.holds(points).tolist() == [True, True, False]
    assert thing.count == 1


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_thresholds_outside_the_scores_are_refused(threshold):
    with pytest.raises(QueryError, match="from 0 to 1"):
        find_things(torch.zeros(1, 3), torch.ones(1), threshold, 0.5)
