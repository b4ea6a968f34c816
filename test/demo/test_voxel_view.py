"""Cubes in perspective: seen where a pinhole projects them, near before far."""

import numpy as np

from distillnerf_ros.demo.snapshot import Voxels
from distillnerf_ros.demo.voxel_view import Eye, draw_voxels

ABOVE = Eye(position_m=(-1e-3, 0.0, 60.0), target_m=(0.0, 0.0, 0.0), focal=1.0)
RED, BLUE = 7, 4  # pedestrian, car


def cubes(*points, labels):
    """Voxels with labels at points."""
    return Voxels(np.array(points, float), np.array(labels, np.uint8), np.ones(len(points)))


def coloured(picture, channel):
    """Pixels in which one channel stands out."""
    others = np.delete(picture.astype(int), channel, axis=2).max(axis=2)
    return np.argwhere(picture[..., channel].astype(int) > others + 60)


def test_eye_axes_are_orthonormal_and_look_at_the_target():
    rotation = Eye().rotation()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0
    seen = rotation @ np.subtract(Eye().target_m, Eye().position_m)
    np.testing.assert_allclose(seen[:2], 0, atol=1e-12)
    assert seen[2] > 0


def test_a_voxel_is_drawn_where_a_pinhole_sees_it():
    picture = draw_voxels(cubes((9.8, 9.8, -0.8), labels=[RED]), (400, 400), ABOVE)
    row, col = coloured(picture, 0).mean(axis=0)
    # 60.6 m below the eye's height at its upper face; forward is up and left is left.
    step = 400 * 9.8 / 60.6
    assert abs(row - (200 - step)) < 2
    assert abs(col - (200 - step)) < 2


def test_near_voxels_hide_far_ones():
    # Four cubes at 5.2 m cover, from 60 m, what lies 6 m below them and a tenth farther out.
    roof = [(x, y, 5.2) for x in (8.6, 9.0) for y in (8.6, 9.0)]
    scene = cubes((9.8, 9.8, -0.8), *roof, labels=[RED] + [BLUE] * 4)
    picture = draw_voxels(scene, (400, 400), ABOVE)
    assert len(coloured(picture, 2)) > 5
    assert len(coloured(picture, 0)) == 0


def test_the_vehicle_is_there_even_when_nothing_else_is():
    empty = Voxels(np.zeros((0, 3)), None, np.zeros(0))
    near = Eye(position_m=(0.0, 0.1, 20.0), target_m=(0.0, 0.0, 0.0))
    picture = draw_voxels(empty, (200, 200), near)
    assert (picture.min(axis=2) > 180).sum() > 20


def test_faces_between_voxels_are_not_drawn():
    block = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    points = (block + np.array([30, 0, 0])) * 0.4 + np.array([0.2, 0.2, -0.8])
    hollow = (block == 0).any(axis=1) | (block == 3).any(axis=1)
    labels = np.full(len(points), RED, np.uint8)
    whole = draw_voxels(Voxels(points, labels, np.ones(64)), (120, 160))
    shell = draw_voxels(Voxels(points[hollow], labels[hollow], np.ones(hollow.sum())), (120, 160))
    np.testing.assert_array_equal(whole, shell)
