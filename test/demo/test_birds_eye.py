"""Places from above: forward is up, left is left, the topmost voxel is seen."""

import numpy as np

from distillnerf_ros.demo.birds_eye import SEEN, class_map, draw_birds_eye, to_px
from distillnerf_ros.demo.canvas import BACKGROUND
from distillnerf_ros.demo.snapshot import Found, Voxels
from distillnerf_ros.taxonomy import OCC3D_COLORS


def hue(color):
    """A colour without its brightness."""
    values = np.asarray(color, float)
    return values / np.linalg.norm(values)


def test_pixels_of_known_places():
    places = np.array([[0.0, 0.0], [40.0, 40.0], [-40.0, -40.0], [20.0, 0.0]])
    np.testing.assert_allclose(to_px(places, 800), [[400, 400], [0, 0], [800, 800], [400, 200]])


def test_the_topmost_class_of_a_column_is_seen(voxels):
    picture = class_map(voxels)
    row, col = 199 - 150, 199 - 125  # cells of x = 20.2 and y = 10.2
    np.testing.assert_allclose(hue(picture[row, col]), hue(OCC3D_COLORS[4]), atol=0.02)
    assert (picture.reshape(-1, 3) != BACKGROUND).any(axis=1).sum() == 1


def test_seen_cells_are_lighter_than_unseen_ones(snapshot):
    picture = class_map(snapshot.voxels, snapshot.grid)
    np.testing.assert_array_equal(picture[0, 0], SEEN)
    np.testing.assert_array_equal(picture[-1, -1], BACKGROUND)


def test_voxels_outside_the_map_and_empty_clouds_draw_nothing():
    far = Voxels(np.array([[90.0, 0.0, 0.0]]), np.array([4], np.uint8), np.ones(1))
    none = Voxels(np.zeros((0, 3)), None, np.zeros(0))
    for one in (far, none):
        assert (class_map(one) == BACKGROUND).all()


def test_a_found_thing_is_boxed_where_it_is(voxels):
    thing = Found("a car", (20.0, 10.0, 0.0), (8.0, 8.0, 2.0), 0.8, 9)
    without = draw_birds_eye(voxels, 400)
    boxed = draw_birds_eye(voxels, 400, found=[thing])
    rows, cols = np.nonzero((without != boxed).any(axis=2))
    # The box reaches from x = 24 to 16 and y = 14 to 6 m; its caption stands above it.
    assert 118 <= rows.max() <= 122
    assert 128 <= cols.min() + 5 <= 136
    assert rows.min() < 80
