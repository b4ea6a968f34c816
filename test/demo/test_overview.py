"""The overview shows every camera in its place and says what is missing."""

import dataclasses

import numpy as np

from distillnerf_ros.demo import overview
from distillnerf_ros.demo.snapshot import CameraView, Found

HEIGHT, WIDTH = overview.TILE_PX
STEP = HEIGHT + overview.GAP_PX


def tile(rows, index, column):
    """Middle of one tile."""
    top = overview.LABEL_PX + index * STEP
    left = column * (WIDTH + overview.GAP_PX)
    return rows[top + HEIGHT // 2 - 9 : top + HEIGHT // 2 + 9, left + 40 : left + WIDTH - 40]


def test_cameras_stand_as_they_look():
    names = ["CAM_BACK", "CAM_FRONT", "left_fisheye", "CAM_FRONT_LEFT"]
    ordered = overview.in_order([CameraView(name) for name in names])
    assert [view.name for view in ordered] == [
        "CAM_FRONT_LEFT",
        "CAM_FRONT",
        "CAM_BACK",
        "left_fisheye",
    ]


def test_every_output_has_its_row(snapshot):
    rows = overview.camera_rows(snapshot, ["a car"])
    assert rows.shape[0] == overview.LABEL_PX + 5 * STEP
    np.testing.assert_array_equal(tile(rows, 0, 0), 200)
    np.testing.assert_array_equal(tile(rows, 1, 0), np.broadcast_to((250, 0, 0), (18, 176, 3)))
    np.testing.assert_array_equal(tile(rows, 3, 0), np.broadcast_to((0, 250, 0), (18, 176, 3)))
    heat = tile(rows, 4, 0).astype(int)
    assert np.ptp(heat[:, 5], axis=-1).max() == 0  # grey at the left
    assert heat[:, -5, 0].min() > heat[:, -5, 2].max()  # glowing at the right


def test_a_row_that_nobody_published_is_left_out(snapshot):
    front = dataclasses.replace(snapshot.cameras[1], features=None, heat=None)
    fewer = dataclasses.replace(snapshot, cameras=(front,))
    assert overview.camera_rows(fewer).shape == (overview.LABEL_PX + 3 * STEP, WIDTH, 3)


def test_a_camera_without_outputs_gets_an_empty_tile(snapshot):
    panel = tile(overview.camera_rows(snapshot), 1, 1)
    assert len(np.unique(panel.reshape(-1, 3), axis=0)) > 1  # plate and letters
    assert not (panel == (250, 0, 0)).all(axis=2).any()


def test_legend_names_only_classes_that_occur(snapshot):
    legend = overview.class_legend(snapshot.voxels, 900)
    assert (legend == (0, 150, 245)).all(axis=2).any()  # car
    assert not (legend == (255, 255, 0)).all(axis=2).any()  # bus


def test_one_camera_has_room_for_voxels_and_map(snapshot):
    one = dataclasses.replace(snapshot, cameras=snapshot.cameras[1:2])
    picture = overview.overview(one, "title")
    assert picture.shape[1] == 3 * WIDTH + 2 * overview.GAP_PX + 20


def test_the_whole_picture_holds_together(snapshot):
    four = tuple(dataclasses.replace(snapshot.cameras[1], name=f"c{k}") for k in range(4))
    thing = Found("a car", (20.0, 10.0, 0.0), (4.0, 4.0, 2.0), 0.8, 9)
    picture = overview.overview(
        dataclasses.replace(snapshot, cameras=four), "title", ["a car"], [thing]
    )
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 4 * WIDTH + 3 * overview.GAP_PX + 20
    assert (picture == (250, 0, 0)).all(axis=2).any()
