"""The verb: names and keypoints of two balls go with them when they change places."""

import argparse
import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from distillnerf_ros.demo import transfer
from distillnerf_ros.demo.overview import GAP_PX, LABEL_PX, TILE_PX
from distillnerf_ros.errors import ConfigError, QueryError
from distillnerf_ros.query.region import occupied_cells

RED_BOX = (8, -3, -1, 13, 3, 4)
"""Around the red ball, 10.5 m ahead."""


@pytest.fixture
def streets(balls_subject, two_balls, monkeypatch, tmp_path):
    """Runs the verb; in the second keyframe the balls have changed places, and are 1 m higher."""
    centers = two_balls.centers_m.flip(0) + torch.tensor([0.0, 0.0, 1.0])
    other = dataclasses.replace(two_balls, centers_m=centers)
    low, high = torch.tensor([-16.0, -16.0, -2.0]), torch.tensor([16.0, 16.0, 6.0])
    cells = occupied_cells(other, low, high, 0.5)
    swapped = dataclasses.replace(
        balls_subject,
        name="balls that changed places",
        field=other,
        cells=lambda: (cells, other(cells).features),
    )
    asked = []

    def subject(args):
        asked.append((args.scene, args.frame))
        return swapped if len(asked) == 2 else balls_subject

    monkeypatch.setattr(transfer, "glance_subject", subject)
    parser = argparse.ArgumentParser()
    transfer.add_arguments(parser)

    def call(*words):
        files = ["--out", tmp_path / "new" / "t.png", "--json", tmp_path / "t.json"]
        given = parser.parse_args([str(w) for w in ("--dataroot", "x", *files, *words)])
        assert transfer.run(given) == 0
        found = json.loads((tmp_path / "t.json").read_text())
        return np.array(Image.open(tmp_path / "new" / "t.png")), found, asked

    return call


def tile(picture: np.ndarray, row: int, camera: int) -> np.ndarray:
    """A tile; rows are the first keyframe and the second, each under the names of the cameras."""
    height, width = TILE_PX
    top, left = LABEL_PX + row * (LABEL_PX + height + GAP_PX), camera * (width + GAP_PX)
    return picture[top : top + height, left : left + width].astype(int)


def test_a_name_goes_where_the_thing_went(streets, capsys):
    picture, found, asked = streets("--label", "my ball", *RED_BOX)
    assert asked == [(None, 0), (None, 1)]
    (label,) = found["labels"]
    (thing,) = label["found"]
    assert label["prompt"] == "my ball"
    assert label["score"] == pytest.approx(1)
    assert thing["center_m"] == pytest.approx([0, 10.5, 2.6], abs=0.3)
    assert found["points"] == []
    assert "my ball" in capsys.readouterr().out
    # The one name is red; it lies ahead at first and to the left later, where camera 3 looks.
    middle = (TILE_PX[0] // 2, TILE_PX[1] // 2)
    for row, camera in ((0, 0), (1, 3)):
        red, green, blue = tile(picture, row, camera)[middle]
        assert red > green + 50
        assert red > blue + 50
    for row, camera in ((0, 3), (1, 0)):  # the other ball has no name, and no colour
        red, green, blue = tile(picture, row, camera)[middle]
        assert max(red, green, blue) < 160


def test_the_thing_at_a_pixel_and_a_keypoint_are_found_again(streets, capsys):
    words = ("--label-at", "mine", "CAM_FRONT", 320, 160, "--point", "CAM_FRONT", 320, 160)
    _, found, asked = streets(*words, "--to-scene", "scene-2", "--to-frame", 7)
    assert asked == [(None, 0), ("scene-2", 7)]
    (thing,) = found["labels"][0]["found"]
    assert thing["center_m"] == pytest.approx([0, 10.5, 2.6], abs=0.3)
    (point,) = found["points"]
    assert point["from_m"] == pytest.approx([8.5, 0, 1.6], abs=0.4)
    assert np.linalg.norm(np.subtract(point["to_m"], [0, 10.5, 2.6])) < 2.5
    assert point["score"] == pytest.approx(1)
    assert "way back" in capsys.readouterr().out


def test_another_scene_is_entered_at_its_first_keyframe(streets):
    _, _, asked = streets("--point", "CAM_FRONT", 320, 160, "--to-scene", "scene-2")
    assert asked == [(None, 0), ("scene-2", 0)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to carry over: give --label-at"),
        (("--label", "a", *"12345x"), "--label a: expected six numbers"),
        (("--point", "CAM_FRONT", 1, 1, "--least", 2), r"--least 2\.0: expected a cosine"),
    ],
)
def test_what_cannot_be_meant_is_refused(streets, words, said):
    with pytest.raises(ConfigError, match=said):
        streets(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--label", "air", 0, 0, 0, 1, 1, 1), "'air' names a part of space in which no cell"),
        (("--label", "a", 1, 1, 1, 0, 0, 0), "lowest corner first"),
        (("--point", "CAM_FRONT", 0, 0), "nothing is hit at 0 0 of CAM_FRONT"),
        (("--label-at", "a", "CAM_X", 0, 0), "camera 'CAM_X'; there are CAM_FRONT"),
    ],
)
def test_what_points_nowhere_is_said(streets, words, said):
    with pytest.raises(QueryError, match=said):
        streets(*words)
