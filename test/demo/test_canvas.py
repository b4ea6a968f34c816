"""Tiles, texts, legends and scales."""

import numpy as np
import pytest

from distillnerf_ros.demo import canvas
from distillnerf_ros.errors import DatasetError


def test_text_leaves_the_given_picture_alone():
    picture = canvas.blank(30, 80)
    written = canvas.write_text(picture, "bus", (4, 4), 16)
    assert (picture == canvas.BACKGROUND).all()
    assert (written != picture).any()


def test_resizing_keeps_the_mean_or_the_cells():
    halves = np.zeros((4, 4, 3), np.uint8)
    halves[:, 2:] = 200
    assert canvas.fit(halves, 1, 1)[0, 0, 0] == 100
    assert set(np.unique(canvas.fit_cells(halves, 9, 9))) == {0, 200}


def test_what_does_not_fit_is_cut():
    page = canvas.blank(4, 4, (0, 0, 0))
    canvas.paste(page, canvas.blank(9, 9, (7, 7, 7)), 2, 3)
    assert (page == 7).all(axis=2).sum() == 2


def test_legend_wraps_and_shows_every_colour():
    entries = [(f"class {index}", (255, index, 0)) for index in range(12)]
    narrow, wide = canvas.legend(entries, 200), canvas.legend(entries, 2000)
    assert narrow.shape[0] > wide.shape[0]
    for _, color in entries:
        assert (narrow == color).all(axis=2).any()


def test_colour_bar_runs_from_left_to_right():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    bar = canvas.color_bar(ramp, [(0.0, "0"), (1.0, "1")], 400, "x")
    middle = bar[8, :, 0].astype(int)
    start = int(np.flatnonzero(middle == 0)[0])
    assert (np.diff(middle[start : start + 300]) >= 0).all()
    assert middle.max() == 255


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        canvas.save_png(canvas.blank(2, 2), tmp_path / "file" / "x.png")
