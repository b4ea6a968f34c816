"""The verb: what is chosen, what is done to it, and what is refused, with two balls."""

import argparse
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from distillnerf_ros.demo import edit
from distillnerf_ros.demo.overview import GAP_PX, LABEL_PX, TILE_PX
from distillnerf_ros.errors import ConfigError, QueryError


@pytest.fixture
def street(balls_subject, monkeypatch, tmp_path):
    """Runs the verb where two balls are all there is; gives its picture and its JSON."""
    monkeypatch.setattr(edit, "glance_subject", lambda args: balls_subject)
    parser = argparse.ArgumentParser()
    edit.add_arguments(parser)

    def call(*words):
        files = ["--out", tmp_path / "new" / "e.png", "--json", tmp_path / "e.json"]
        given = parser.parse_args([str(w) for w in ("--dataroot", "x", *files, *words)])
        assert edit.run(given) == 0
        chosen = json.loads((tmp_path / "e.json").read_text())
        return np.array(Image.open(tmp_path / "new" / "e.png")), chosen

    return call


def middle(picture: np.ndarray, row: int, camera: int) -> list[int]:
    """Colour in the middle of a tile; rows are: camera, as it was, chosen, after."""
    height, width = TILE_PX
    line = LABEL_PX + row * (height + GAP_PX) + height // 2
    return picture[line, camera * (width + GAP_PX) + width // 2].tolist()


def test_words_choose_and_the_picture_shows_it(street, capsys):
    picture, chosen = street("--prompt", "a green ball", "--recolor", 1, 1, 0)
    assert [middle(picture, row, 0) for row in (1, 2, 3)] == [[255, 0, 0]] * 3
    assert [middle(picture, row, 3) for row in (1, 2, 3)] == [
        [0, 255, 0],
        [255, 0, 255],
        [255, 255, 0],
    ]
    (thing,) = chosen
    assert thing["score"] == 1
    assert thing["low_m"] == pytest.approx([-2.0, 8.5, -0.5])
    assert thing["high_m"] == pytest.approx([2.0, 12.5, 3.5])
    assert "0.0  10.5  1.5" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["--delete", "--extract"])
def test_what_is_taken_away_and_what_stays_alone(street, word):
    picture, _ = street("--prompt", "a red ball", word)
    gone, left = (0, 3) if word == "--delete" else (3, 0)
    assert middle(picture, 3, gone) in ([0, 0, 255], [255, 255, 255])
    assert middle(picture, 3, left) == middle(picture, 1, left)


def test_a_click_takes_the_thing_under_it_alone(street):
    """Both balls are as like as can be to it where the threshold is 0."""
    _, chosen = street("--click", "CAM_BACK", 320, 160, "--threshold", 0, "--delete")
    assert len(chosen) == 1
    assert chosen[0]["low_m"][1] == pytest.approx(8.5)
    _, both = street("--patch", "CAM_BACK", 310, 150, 330, 170, "--threshold", 0, "--delete")
    assert len(both) == 2
    _, like = street("--patch", "CAM_BACK", 310, 150, 330, 170, "--delete")
    assert like == chosen


def test_near_takes_the_nearest_thing_alone(street):
    _, chosen = street("--click", "CAM_FRONT", 320, 160, "--threshold", 0, "--delete")
    assert chosen[0]["low_m"][0] == pytest.approx(8.5)
    words = ["--patch", "CAM_FRONT", 310, 150, 330, 170, "--threshold", 0, "--delete"]
    _, left = street(*words, "--near", -3, 5)
    assert left[0]["low_m"][1] == pytest.approx(8.5)


def test_a_box_needs_no_features_and_what_it_holds_is_moved_and_turned(street):
    """Turned about the middle of the box and put to the vehicle's right, where camera 1 looks."""
    box = ["--box", 8, -2.5, -1, 13, 2.5, 4]
    picture, chosen = street(*box, "--move", -10.5, -10.5, 0, "--turn", 90)
    assert middle(picture, 3, 1) == [255, 0, 0]
    assert middle(picture, 3, 0) == [0, 0, 255]
    assert chosen == [{"low_m": [8, -2.5, -1], "high_m": [13, 2.5, 4], "score": 1.0, "cells": 1}]
    picture, _ = street(*box, "--copy", -10.5, -10.5, 0)
    assert middle(picture, 3, 1) == middle(picture, 3, 0) == [255, 0, 0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prompt", "a red ball", "--threshold", 2], "from 0 to 1"),
        (["--click", "CAM_TOP", 1, 1], "there are CAM_FRONT"),
        (["--click", "CAM_FRONT", 640, 1], "not inside its picture of 640x320"),
        (["--patch", "CAM_FRONT", 30, 30, 20, 40], "upper left corner first"),
        (["--click", "CAM_FRONT", "left", 1], "expected pixels"),
        (["--click", "CAM_FRONT", 1, 1], "nothing is hit at 1 1 of CAM_FRONT"),
        (["--box", 0, 0, 0, 1, 1, -1], "lowest corner first"),
    ],
)
def test_what_points_nowhere_is_said(street, words, said):
    with pytest.raises(QueryError, match=said):
        street(*words, "--delete")


def test_what_nothing_answers_says_how_near_it_was(street, balls_subject, monkeypatch):
    low = dataclasses.replace(balls_subject, relevancy=lambda f, p, n: f[:, :1] * 0.3)
    monkeypatch.setattr(edit, "glance_subject", lambda args: low)
    with pytest.raises(
        QueryError, match=r"nothing reaches 0\.5, the best is 0\.30; .*--threshold"
    ):
        street("--prompt", "a unicorn", "--delete")


def test_a_colour_that_is_none_is_refused(street):
    with pytest.raises(ConfigError, match="red, green and blue"):
        street("--prompt", "a red ball", "--recolor", 255, 0, 0)


def test_a_turn_of_what_stays_is_refused(street):
    with pytest.raises(ConfigError, match="--move 0 0 0"):
        street("--prompt", "a red ball", "--delete", "--turn", 90)


def test_one_part_and_one_deed_are_asked_for(capsys):
    parser = argparse.ArgumentParser()
    edit.add_arguments(parser)
    for words in (["--prompt", "a"], ["--delete"], ["--prompt", "a", "--delete", "--extract"]):
        with pytest.raises(SystemExit):
            parser.parse_args(["--dataroot", "x", *words])
