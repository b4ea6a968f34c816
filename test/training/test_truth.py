"""Truths of keyframes: lidar in its cells, the next keyframe's views, the lidar's trajectory."""

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import project
from distillnerf_ros.training.truth import LidarTruth, lidar_origins_m, load_frame, next_rig

pytest.importorskip("nuscenes")


def level_rig() -> CameraRig:
    """One camera at the origin that looks along ego x; 100 x 60 px, f = 50 px."""
    pose = torch.tensor([[[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]])
    k = torch.tensor([[[50.0, 0, 50], [0, 50, 30], [0, 0, 1]]])
    valid = torch.ones(1, dtype=torch.bool)
    return CameraRig(("cam",), torch.zeros(1, 3, 60, 100), k, pose, valid)


def test_lidar_points_fall_into_their_cells() -> None:
    # u = 50 - 50 y / x, v = 30 - 50 z / x; then one behind, one beside and one too near
    points = torch.tensor([[20.0, 4, -2], [10.0, 2, -1], [-10.0, 0, 0], [5.0, 50, 0], [0.9, 0, 0]])
    every = LidarTruth.every(points, level_rig(), (6, 10))
    assert every.cells.tolist() == [3 * 10 + 4] * 2  # both count, near and far
    np.testing.assert_allclose(every.depth_m, [20, 10])
    nearest = LidarTruth.nearest(points, level_rig(), (6, 10))
    assert nearest.cells.tolist() == [3 * 10 + 4]
    np.testing.assert_allclose(nearest.depth_m, [10])


def test_nearest_is_the_least_of_every_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(500, 3, generator=generator) * torch.tensor([60.0, 40, 10])
    points -= torch.tensor([0.0, 20, 5])
    every = LidarTruth.every(points, level_rig(), (6, 10))
    least: dict[int, float] = {}
    for cell, depth in zip(every.cells.tolist(), every.depth_m.tolist(), strict=True):
        least[cell] = min(depth, least.get(cell, np.inf))
    nearest = LidarTruth.nearest(points, level_rig(), (6, 10))
    assert dict(zip(nearest.cells.tolist(), nearest.depth_m.tolist(), strict=True)) == least


def test_the_next_cameras_see_the_same_points(drive) -> None:
    nusc = nuscenes.open_dataset(drive.root)
    first, second, last = nuscenes.keyframes(nusc, nusc.scene[0])
    rig = next_rig(nusc, first, (36, 64))
    assert rig is not None
    in_map = torch.tensor([[9.0, 9.5, 1.0, 1], [12.0, 8.0, 0.0, 1]], dtype=torch.float64)
    here, there = (torch.from_numpy(np.linalg.inv(pose)) for pose in drive.poses[:2])
    own = nuscenes.load_glance(nusc, second, (36, 64))
    torch.testing.assert_close(rig.images, own.images)
    for camera in range(6):
        uv, depth = project((in_map @ here.T)[:, :3].float(), rig, camera)
        expected_uv, expected = project((in_map @ there.T)[:, :3].float(), own, camera)
        torch.testing.assert_close(depth, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(uv, expected_uv, atol=1e-2, rtol=1e-3)
    assert next_rig(nusc, last, (36, 64)) is None


def test_where_the_lidar_is_at_all_keyframes(drive) -> None:
    nusc = nuscenes.open_dataset(drive.root)
    token = nuscenes.keyframes(nusc, nusc.scene[0])[1]
    expected = []
    for pose in drive.poses:
        at = pose @ [0, 0, drive.lidar_height_m, 1]
        expected.append((np.linalg.inv(drive.poses[1]) @ at)[:3])
    got = lidar_origins_m(nusc, token)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(got[1], [0, 0, drive.lidar_height_m], atol=1e-6)


def test_a_frame_holds_all_of_it(drive) -> None:
    nusc = nuscenes.open_dataset(drive.root)
    token = nuscenes.keyframes(nusc, nusc.scene[0])[0]
    frame = load_frame(nusc, token, (36, 64), (18, 32))
    assert frame.rig.image_size == (36, 64)
    assert frame.next_rig is not None
    assert frame.occupancy is not None
    assert 0 < len(frame.lidar.cells) < len(frame.every_lidar.cells)
    assert frame.lidar.cells.max() < 6 * 18 * 32
    assert frame.lidar_origins_m.shape == (3, 3)
