"""Lidar projection in closed form and against a plain loop."""

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data.lidar import lidar_depth, off_vehicle, project

FORWARD = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def level_rig(count: int = 1) -> CameraRig:
    """Cameras at the origin that look along ego x; 100 x 60 px, focal length 50 px."""
    k = torch.tensor([[50.0, 0, 50], [0, 50, 30], [0, 0, 1]])
    return CameraRig(
        tuple(f"cam{i}" for i in range(count)),
        torch.zeros(count, 3, 60, 100),
        k.repeat(count, 1, 1),
        FORWARD.repeat(count, 1, 1),
        torch.ones(count, dtype=torch.bool),
    )


def test_projection_in_closed_form():
    uv, depth = project(torch.tensor([[10.0, 2.0, -1.0]]), level_rig(), 0)
    # 2 m to the left and 1 m down at 10 m: u = 50 - 50 * 2 / 10, v = 30 + 50 * 1 / 10
    torch.testing.assert_close(uv, torch.tensor([[40.0, 35.0]]))
    torch.testing.assert_close(depth, torch.tensor([10.0]))


def test_depth_is_along_the_optical_axis_and_not_the_distance():
    depth = lidar_depth(torch.tensor([[8.0, 6.0, 0.0]]), level_rig())
    assert depth[0, 30, 12].item() == pytest.approx(8.0)  # u = 50 - 50 * 6 / 8 = 12.5
    assert depth.isnan().sum() == 60 * 100 - 1


def test_nearest_point_of_a_cell_wins_whatever_the_order():
    points = torch.tensor([[20.0, 0, 0], [5.0, 0, 0], [40.0, 0, 0]])
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        depth = lidar_depth(points[order], level_rig(), (6, 10))
        assert depth.shape == (1, 6, 10)
        assert depth[0, 3, 5].item() == pytest.approx(5.0)
        assert (~depth.isnan()).sum() == 1


def test_points_behind_beside_or_too_near_are_dropped():
    points = torch.tensor([[-5.0, 0, 0], [5.0, 50, 0], [5.0, 0, 50], [0.2, 0, 0], [0.0, 0, 0]])
    assert lidar_depth(points, level_rig()).isnan().all()


def test_missing_camera_has_no_depth():
    depth = lidar_depth(torch.tensor([[5.0, 0, 0]]), level_rig(2).without("cam0"))
    assert depth[0].isnan().all()
    assert depth[1].nan_to_num(0).max().item() == pytest.approx(5.0)


def test_matches_a_plain_loop():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform((-5, -20, -5), (40, 20, 5), (500, 3))).float()
    expected = np.full((12, 20), np.inf)
    for x, y, z in points.double().tolist():
        if x < 0.5:
            continue
        u, v = 50 - 50 * y / x, 30 - 50 * z / x
        if 0 <= u < 100 and 0 <= v < 60:
            row, col = int(v / 5), int(u / 5)
            expected[row, col] = min(expected[row, col], x)
    got = lidar_depth(points, level_rig(), (12, 20))[0].numpy()
    np.testing.assert_allclose(np.nan_to_num(got, nan=np.inf), expected, rtol=1e-5)


def test_only_the_own_vehicle_is_taken_away():
    points = torch.tensor(
        [[1.0, 0, 1.5], [3.0, 0.6, 1.0], [4.0, 0, 1.0], [1.0, 0, 0.0], [1, 2, 1]]
    )
    assert off_vehicle(points).tolist() == [False, False, True, True, True]
