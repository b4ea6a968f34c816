"""Windows and what their patches show."""

import numpy as np
import pytest
import torch

from distillnerf_ros.taxonomy import OCC3D_CLASSES, SKY_LABEL
from distillnerf_ros.teachers.open_clip import DenseClip, load_clip
from distillnerf_ros.training.phrases import Thing
from distillnerf_ros.training.windows import (
    Places,
    Views,
    cut_windows,
    patch_things,
    window_positions,
)

ROAD, PERSON = OCC3D_CLASSES.index("driveable surface"), OCC3D_CLASSES.index("pedestrian")
ANYWHERE = np.array([[0, -1, -1]])
TABLE = (Thing(SKY_LABEL), Thing(ROAD), Thing(PERSON, "child"), Thing(PERSON, "pedestrian"))


def test_a_patch_shows_the_class_with_most_pixels() -> None:
    things = torch.zeros(1, 4, 8, dtype=torch.long)
    things[0, :, 3:] = 1
    assert patch_things(things, TABLE, 4).tolist() == [[[0, 1]]]


def test_a_thin_thing_needs_half_as_many_pixels() -> None:
    things = torch.zeros(1, 4, 8, dtype=torch.long)
    things[0, :, 0] = 2  # 4 of 16 pixels: too few
    things[0, :2, 4:7] = 3  # 6 of 16: more than half of the other 10
    assert patch_things(things, TABLE, 4).tolist() == [[[0, 3]]]


def test_a_patch_never_shows_what_is_not_in_it() -> None:
    things = torch.randint(0, 4, (2, 16, 24), generator=torch.Generator().manual_seed(0))
    shown = patch_things(things, TABLE, 8)
    for b in range(2):
        for r in range(2):
            for c in range(3):
                assert shown[b, r, c] in things[b, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8]


def test_whole_view_keeps_pixels_and_things() -> None:
    things = np.zeros((1, 16, 32), np.int16)
    things[:, :, 16:] = 1
    images = np.full((1, 16, 32, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    windows = cut_windows(Views(images, things, TABLE), ANYWHERE, (16, 32), 8, (1.0, 1.0), rng)
    assert windows.boxes.tolist() == [[0, 0, 1, 1]]
    assert sorted(windows.things[0, 0].tolist()) == [0, 0, 1, 1]
    assert windows.images.min() >= 0
    assert windows.images.max() <= 1


def test_magnified_window_lies_inside_its_view() -> None:
    views = Views(np.zeros((1, 32, 64, 3), np.uint8), np.zeros((1, 32, 64), np.int16), TABLE)
    rng = np.random.default_rng(1)
    boxes = cut_windows(views, ANYWHERE.repeat(20, 0), (16, 32), 8, (2.0, 2.0), rng).boxes
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= 1).all()
    torch.testing.assert_close(boxes[:, 2:] - boxes[:, :2], torch.full((20, 2), 0.5))


def test_positions_of_the_whole_view_are_the_models_own() -> None:
    table = torch.randn(1 + 4 * 6, 5)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torch.testing.assert_close(window_positions(table, (4, 6), whole, (4, 6))[0], table)


def test_positions_of_windows_are_those_of_a_larger_view() -> None:
    """Four quarter windows together equal the dense teacher's grid at twice the size."""
    visual = load_clip(pretrained=False)[0].visual
    grid = rows, cols = visual.grid_size
    large = DenseClip.of(visual).positions(2 * rows, 2 * cols)[1:].unflatten(0, (2 * rows, -1))
    boxes = torch.tensor([[x, y, x + 0.5, y + 0.5] for y in (0, 0.5) for x in (0, 0.5)])
    parts = window_positions(visual.positional_embedding, grid, boxes, grid)[:, 1:]
    upper, lower = (
        torch.cat(list(pair.unflatten(1, (rows, cols))), dim=1) for pair in parts.split(2)
    )
    torch.testing.assert_close(torch.cat([upper, lower]), large, atol=1e-5, rtol=1e-4)


def test_windows_hold_the_pixel_they_are_drawn_for() -> None:
    things = np.zeros((2, 32, 64), np.int16)
    things[1, 30:32, 60:64] = 2
    views = Views(np.zeros((2, 32, 64, 3), np.uint8), things, TABLE)
    places, rng = Places.of(views), np.random.default_rng(0)
    assert sorted(len(pixels) for pixels in places.by_kind) == [4, 8]
    drawn = places.draw(40, 2, rng)
    on_person = drawn[(drawn[:, 1] >= 30) & (drawn[:, 2] >= 60)]
    assert len(on_person) > 3
    shown = cut_windows(views, on_person, (16, 32), 1, (3.0, 3.0), rng).things
    assert (shown == 2).flatten(1).any(1).all()


def test_what_is_hard_to_tell_is_looked_at_more_often() -> None:
    things = np.zeros((1, 32, 64), np.int16)
    things[0, 30:32, 60:64] = 2  # a pedestrian; the rest is no hard class
    views = Views(np.zeros((1, 32, 64, 3), np.uint8), things, TABLE)
    drawn = Places.of(views).draw(4000, 1, np.random.default_rng(0))[:2000]
    on_person = (drawn[:, 1] >= 30) & (drawn[:, 2] >= 60)
    assert on_person.mean() == pytest.approx(0.75, abs=0.03)


def test_kinds_of_a_class_are_looked_at_alike() -> None:
    things = np.zeros((1, 32, 64), np.int16)
    things[0, :16] = 1  # another kind of the same class, and there are two classes
    things[0, 30:32, 60:64] = 2
    table = (Thing(4, "sedan"), Thing(4, "delivery van"), Thing(0))
    views = Views(np.zeros((1, 32, 64, 3), np.uint8), things, table)
    drawn = Places.of(views).draw(4000, 1, np.random.default_rng(0))[:2000]
    shown = things[0, drawn[:, 1], drawn[:, 2]]
    assert np.bincount(shown) / 2000 == pytest.approx([0.25, 0.25, 0.5], abs=0.03)
