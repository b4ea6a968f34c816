"""Edits of two balls, at points and in pictures, and of edited fields."""

import math

import pytest
import torch

from distillnerf_ros.config import RenderConfig
from distillnerf_ros.query.edit import (
    copied,
    deleted,
    extracted,
    moved,
    recolored,
    tinted,
)
from distillnerf_ros.query.region import Region
from distillnerf_ros.render.picture import render_field
from distillnerf_ros.render.renderer import march_edges
from distillnerf_ros.voxels.field import Field

EDGES = march_edges(RenderConfig(far_m=60.0, coarse_samples=256), 0.8, 50.0)
RED, GREEN = torch.tensor([10.5, 0.0, 1.6]), torch.tensor([0.0, 10.5, 1.6])
AHEAD = Region.box(torch.tensor([8.0, -2.5, -1.0]), torch.tensor([13.0, 2.5, 4.0]))
"""Holds the red ball."""


def pose(degrees: float, x_m: float = 0.0) -> torch.Tensor:
    """A turn about the vertical, then a shift."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    matrix = torch.eye(4)
    matrix[:2, :2] = torch.tensor([[cosine, -sine], [sine, cosine]])
    matrix[0, 3] = x_m
    return matrix


def centre(field: Field, rig, camera: int):
    """Depth and colour in the middle of a camera's picture."""
    seen = render_field(field, rig.select(torch.tensor([camera])), (33, 65), EDGES, 64, 0.5)
    return seen.depth_m[0, 16, 32].item(), seen.rgb[0, :, 16, 32].tolist()


@pytest.fixture
def rig(make_rig):
    return make_rig(size=(33, 65), count=4)


def test_an_edited_field_is_a_field(two_balls):
    assert isinstance(deleted(two_balls, AHEAD), Field)


def test_what_is_deleted_is_sky_and_the_rest_stays(two_balls, rig):
    field = deleted(two_balls, AHEAD)
    depth, rgb = centre(field, rig, 0)
    assert math.isnan(depth)
    assert rgb == [0, 0, 1]
    assert centre(field, rig, 3) == centre(two_balls, rig, 3)


def test_what_is_extracted_stands_alone_before_white(two_balls, rig):
    field = extracted(two_balls, AHEAD)
    assert centre(field, rig, 0) == centre(two_balls, rig, 0)
    depth, rgb = centre(field, rig, 3)
    assert math.isnan(depth)
    assert rgb == [1, 1, 1]


def test_a_tint_colours_the_part_alone_and_keeps_its_shade(two_balls, rig):
    field = recolored(two_balls, AHEAD, tinted(torch.tensor([0.5, 0.0, 1.0])))
    assert centre(field, rig, 0)[1] == pytest.approx([0.5, 0.0, 1.0])
    assert centre(field, rig, 0)[0] == centre(two_balls, rig, 0)[0]
    assert centre(field, rig, 3) == centre(two_balls, rig, 3)
    dark = tinted(torch.tensor([0.2, 0.4, 0.0]))(torch.tensor([0.3, 0.1, 0.0]))
    torch.testing.assert_close(dark, torch.tensor([0.15, 0.3, 0.0]))
    black = tinted(torch.zeros(3))(torch.rand(5, 3))
    assert (black == 0).all()


def test_what_is_moved_is_as_deep_as_it_was_moved(two_balls, rig):
    depth, rgb = centre(moved(two_balls, AHEAD, pose(0, 5.0)), rig, 0)
    assert depth == pytest.approx(13.0, abs=0.1)
    assert rgb == pytest.approx([1, 0, 0])


def test_a_turn_takes_the_thing_round_the_vehicle_and_its_directions_with_it(two_balls, rig):
    """A quarter to the right, from ahead of the vehicle to its right: camera 1 sees it there."""
    seen_from = []

    class Watched(type(two_balls)):
        def __call__(self, points_m, directions=None, time=None):
            seen_from.append(directions)
            return super().__call__(points_m, directions, time)

    watched = Watched(*vars(two_balls).values())
    field = moved(watched, AHEAD, pose(-90))
    depth, rgb = centre(field, rig, 1)
    assert depth == pytest.approx(8.0, abs=0.1)
    assert rgb == pytest.approx([1, 0, 0])
    assert math.isnan(centre(field, rig, 0)[0])
    seen_from.clear()
    right = torch.tensor([[0.0, -1.0, 0.0]])
    field(torch.tensor([[0.0, -10.5, 1.6]]), right)
    torch.testing.assert_close(seen_from[0], right)
    torch.testing.assert_close(seen_from[1], torch.tensor([[1.0, 0.0, 0.0]]))


def test_a_copy_leaves_the_thing_where_it_was(two_balls, rig):
    field = copied(two_balls, AHEAD, pose(180))
    depth, rgb = centre(field, rig, 2)
    assert depth == pytest.approx(8.0, abs=0.1)
    assert rgb == pytest.approx([1, 0, 0])
    assert centre(field, rig, 0) == centre(two_balls, rig, 0)


def test_where_two_things_overlap_they_mix_by_density(two_balls):
    """The red ball, put into the green one of the same density."""
    field = moved(two_balls, AHEAD, pose(90))
    sample = field(GREEN[None])
    torch.testing.assert_close(sample.density, torch.tensor([2000.0]))
    torch.testing.assert_close(sample.rgb, torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(sample.features, torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(field.density(GREEN[None]), sample.density)
    assert field.proposal_density(GREEN[None]) >= sample.density
    assert field(RED[None]).density == 0


def test_edits_follow_one_another(two_balls, rig):
    """Taken away and back, and painted on the way: all of it is one field."""
    there = moved(two_balls, AHEAD, pose(180))
    behind = Region.box(torch.tensor([-13.0, -2.5, -1.0]), torch.tensor([-8.0, 2.5, 4.0]))
    painted = recolored(there, behind, tinted(torch.tensor([0.0, 1.0, 1.0])))
    back = moved(painted, behind, pose(180))
    depth, rgb = centre(back, rig, 0)
    assert depth == pytest.approx(8.0, abs=0.1)
    assert rgb == pytest.approx([0, 1, 1])
    assert math.isnan(centre(back, rig, 2)[0])
