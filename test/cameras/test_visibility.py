"""Visibility: inside some image and not behind the surface seen there."""

import pytest
import torch

from distillnerf_ros.cameras import Rays, camera_rays
from distillnerf_ros.cameras.visibility import Told, Visibility

# One camera at (0, 0, 1.5) that looks along ego x; 90 degrees wide, 53 degrees high.
POSE = torch.tensor(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 1.5], [0.0, 0.0, 0.0, 1.0]]
)
K = torch.tensor([[50.0, 0.0, 50.0], [0.0, 50.0, 25.0], [0.0, 0.0, 1.0]])


def view(depth_m: torch.Tensor) -> Visibility:
    return Visibility(K[None], POSE[None], (50, 100), depth_m[None])


WALL = view(torch.full((5, 10), 20.0))


@pytest.mark.parametrize(
    ("point", "seen"),
    [
        ((10.0, 0.0, 1.5), True),
        ((20.3, 0.0, 1.5), True),  # within the margin behind the wall
        ((20.5, 0.0, 1.5), False),
        ((-10.0, 0.0, 1.5), False),  # behind the camera
        ((0.05, 0.0, 1.5), False),  # at the lens
        ((10.0, 9.9, 1.5), True),  # just inside the left border
        ((10.0, 10.1, 1.5), False),
        ((10.0, -9.9, 1.5), True),
        ((10.0, -10.1, 1.5), False),
        ((10.0, 0.0, 6.4), True),  # just inside the upper border
        ((10.0, 0.0, 6.6), False),
    ],
)
def test_one_camera_before_a_wall(point, seen):
    assert WALL.seen(torch.tensor([point]), margin_m=0.4).tolist() == [seen]


def test_each_pixel_has_its_own_depth():
    depth = torch.full((5, 10), 100.0)
    depth[:, :5] = 8.0  # the left half of the image: positive ego y
    points = torch.tensor([[20.0, 3.0, 1.5], [20.0, -3.0, 1.5], [7.0, 3.0, 1.5]])
    assert view(depth).seen(points, margin_m=0.4).tolist() == [False, True, True]


def test_one_camera_that_sees_is_enough():
    back = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])) @ POSE
    depth = torch.full((2, 5, 10), 20.0)
    both = Visibility(K.repeat(2, 1, 1), torch.stack([POSE, back]), (50, 100), depth)
    points = torch.tensor([[10.0, 0.0, 1.5], [-10.0, 0.0, 1.5], [0.0, 10.5, 1.5]])
    assert both.seen(points, margin_m=0.4).tolist() == [True, True, False]


def test_what_is_not_a_number_is_not_seen():
    points = torch.tensor([[10.0, 0.0, 1.5], [torch.nan] * 3, [10.0, torch.inf, 1.5]])
    assert WALL.seen(points, margin_m=0.4).tolist() == [True, False, False]


def test_no_camera_sees_nothing():
    none = Visibility(K[None][:0], POSE[None][:0], (50, 100), torch.zeros(0, 5, 10))
    assert not none.seen(torch.randn(4, 3), margin_m=0.4).any()


def test_each_ray_of_a_camera_that_was_there_finds_its_own_pixel():
    beside = POSE + torch.tensor([[0.0] * 3 + [x] for x in (0.3, 1.0, 0.0, 0.0)])
    poses, two = torch.stack([POSE, beside]), K.repeat(2, 1, 1)
    both = Visibility(two, poses, (50, 100), torch.ones(2, 5, 10))
    rays = camera_rays(two, poses, (50, 100), (5, 10))
    assert torch.equal(both.pixels(rays), torch.arange(100))
    coarser = camera_rays(two[1:], poses[1:], (50, 100), (1, 2))
    assert both.pixels(coarser).tolist() == [50 + 22, 50 + 27]


@pytest.mark.parametrize("offset_m", [0.0, 0.2])
def test_a_ray_from_elsewhere_or_out_of_the_picture_has_no_pixel(offset_m):
    rays = camera_rays(K[None], POSE[None], (50, 100), (5, 10))
    moved = rays.origins + torch.tensor([0.0, offset_m, 0.0])
    wide = rays.directions * torch.tensor([1.0, 3.0, 1.0])  # the outer two thirds leave it
    found = WALL.pixels(Rays(moved, wide)).reshape(5, 10)
    if offset_m:
        assert (found == -1).all()
    else:
        assert (found >= 0).any(dim=0).tolist() == [False] * 3 + [True] * 4 + [False] * 3
    assert (WALL.pixels(Rays(rays.origins, -rays.directions)) == -1).all()


def test_what_a_picture_says_of_pixels_and_of_none():
    told = Told(torch.arange(6.0).reshape(1, 2, 3), torch.rand(1, 2, 3, 4), torch.rand(1, 2, 3, 7))
    some = told.at(torch.tensor([5, -1, 0]))
    torch.testing.assert_close(some.depth_m, torch.tensor([5.0, torch.nan, 0.0]), equal_nan=True)
    assert torch.equal(some.doubts[0], told.doubts[0, 1, 2])
    assert torch.equal(some.features[2], told.features[0, 0, 0])
