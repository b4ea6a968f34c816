"""Baselines in closed form and against plain loops."""

import math

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.training.baselines import (
    DepthSums,
    VoxelCounts,
    flat_road_depth,
    flat_road_occupancy,
)


def test_mean_depth_by_pixel_then_row_then_limit() -> None:
    shape = (1, 3, 2)
    cells, depth = np.array([0, 0, 3]), np.array([10.0, 20.0, 7.0], np.float32)
    image = DepthSums.of(cells, depth, shape).mean_image()
    # row 0: mean of 10 and 20, and its neighbour takes the row's; row 2 has no point at all
    np.testing.assert_allclose(image[0], [[15, 15], [7, 7], [80, 80]])


def test_sums_of_scenes_add_up() -> None:
    shape = (1, 1, 2)
    one = DepthSums.of(np.array([0]), np.array([4.0]), shape)
    two = DepthSums.of(np.array([0, 1]), np.array([8.0, 2.0]), shape)
    np.testing.assert_allclose((one + two).mean_image(), [[[6, 2]]])


def test_flat_road_depth_closed_form() -> None:
    # 1.5 m up, level, f = 10 px, 4 rows of 2 px: rows 2 and 3 look 1 px and 3 px down
    pose = torch.tensor([[[0.0, 0, 1, 2], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]]])
    k = torch.tensor([[[10.0, 0, 2], [0, 10, 4], [0, 0, 1]]])
    rig = CameraRig(("cam",), torch.zeros(1, 3, 8, 4), k, pose, torch.ones(1, dtype=torch.bool))
    depth = flat_road_depth(rig, (4, 2))
    assert np.isnan(depth[0, :2]).all()
    np.testing.assert_allclose(depth[0, 2:], [[15, 15], [5, 5]], rtol=1e-5)


def test_flat_road_occupancy_is_the_layer_of_the_ground() -> None:
    semantics = flat_road_occupancy()
    layer = math.floor((0.0 + 1.0) / 0.4)
    assert (semantics[:, :, layer] == 11).all()
    assert (np.delete(semantics, layer, axis=2) == 17).all()


def test_overlap_equals_the_frames_counted_one_by_one() -> None:
    rng = np.random.default_rng(0)
    counts, frames = VoxelCounts.empty(), []
    for _ in range(3):
        occupied, mask = rng.random(counts.seen.shape) < 0.4, rng.random(counts.seen.shape) < 0.6
        counts.add(occupied, mask)
        frames.append((occupied, mask))
    predicted = counts.majority()
    hit = sum((o & predicted & m).sum() for o, m in frames)
    union = sum(((o | predicted) & m).sum() for o, m in frames)
    assert counts.overlap(predicted) == (hit, union)
    voxel = (3, 4, 5)
    seen = [o[voxel] for o, m in frames if m[voxel]]
    assert predicted[voxel] == (bool(seen) and np.mean(seen) >= 0.5)


def test_voxels_never_seen_are_free() -> None:
    assert not VoxelCounts.empty().majority().any()
    assert (VoxelCounts.empty() + VoxelCounts.empty()).overlap(
        np.ones((200, 200, 16), bool)
    ) == pytest.approx((0, 0))
