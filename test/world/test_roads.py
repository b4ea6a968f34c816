"""Roads and paths in closed form."""

import numpy as np
import torch

from distillnerf_ros.world.roads import Path, Road, lane_path, turn_path

BENT = Road((10.0, -5.0), 0.4, 8.0, 300.0, 2, True, 2.0, 3.0)
STRAIGHT = Road((0.0, 0.0), 0.0, 0.0, 300.0, 1, False, 0.0, 3.0)


def test_point_and_coordinates_undo_each_other() -> None:
    s, left = np.linspace(-80, 120, 30), np.linspace(-6, 6, 30)
    there = torch.from_numpy(BENT.point(s, left))
    _, back = BENT.coordinates(there)
    np.testing.assert_allclose(back.numpy(), left, atol=0.15)


def test_centre_line_has_zero_offset() -> None:
    s = np.linspace(-100, 100, 21)
    back_s, left = BENT.coordinates(torch.from_numpy(BENT.point(s, 0.0)))
    np.testing.assert_allclose(back_s.numpy(), s, atol=1e-6)
    np.testing.assert_allclose(left.numpy(), 0.0, atol=1e-6)


def test_half_width_counts_lanes_parking_and_median() -> None:
    assert BENT.half_width_m == 2 * 3.4 + 1.0 + 2.3
    assert BENT.lane_center_m(0) == 1.0 + 1.7


def test_path_position_heading_and_extrapolation() -> None:
    path = Path.through(np.array([[0.0, 0], [10, 0], [10, 5]]))
    xy, yaw = path.at(4.0)
    assert xy.tolist() == [4.0, 0.0]
    assert yaw == 0.0
    xy, yaw = path.at(17.0)
    np.testing.assert_allclose(xy, [10.0, 7.0])
    assert np.isclose(yaw, np.pi / 2)


def test_turn_is_smooth_and_ends_on_the_other_road() -> None:
    side = Road((50.0, 0.0), np.pi / 2, 0.0, 300.0, 1, False, 0.0, 3.0)
    before = lane_path(STRAIGHT, 0.0, 80.0, -1.7)
    after = lane_path(side, -40.0, 100.0, -1.7)
    path = turn_path(before, after, 10.0)
    steps = np.diff(path.xy, axis=0)
    yaw = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    assert np.abs(np.diff(yaw)).max() < 0.15
    assert np.isclose(yaw[-1], np.pi / 2)
    np.testing.assert_allclose(path.xy[-1], after.xy[-1])
