"""Rendered views come back with what their pixels show."""

import json
from pathlib import Path

import numpy as np
import pytest

from distillnerf_ros.errors import DatasetError
from distillnerf_ros.training.phrases import Thing
from distillnerf_ros.training.view_cache import load_views, render_views


def test_one_glance_of_the_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render_views(tmp_path, 5, 1, image_size=(16, 28))
    assert "1 of 1" in capsys.readouterr().out
    views = load_views(tmp_path, 5, 1)
    assert views.images.shape == (6, 16, 28, 3)
    assert {views.table[i].label for i in np.unique(views.things)} >= {11, 15, 255}
    assert any(thing.kind for thing in views.table)
    render_views(tmp_path, 5, 1, image_size=(16, 28))
    assert capsys.readouterr().out == ""


def test_things_are_numbered_across_files(tmp_path: Path) -> None:
    tables = ([(4, "taxi", "yellow"), (255, "", "")], [(255, "", ""), (4, "sedan", "red")])
    for number, table in enumerate(tables):
        things = np.array([[[0, 1]]], np.int16)
        images = np.zeros((1, 1, 2, 3), np.uint8)
        path = tmp_path / f"7_{number}.npz"
        np.savez(path, images=images, things=things, table=json.dumps(table))
    samples = tmp_path / "samples"
    (samples / "glances").mkdir(parents=True)
    np.savez(
        samples / "glances" / "abc.npz",
        images=np.zeros((1, 3, 1, 2), np.uint8),
        labels=np.uint8([[[4, 255]]]),
    )
    views = load_views(tmp_path, 7, 2, samples)
    shown = [[views.table[i] for i in row] for row in views.things[:, 0]]
    sky, taxi, sedan = Thing(255), Thing(4, "taxi", "yellow"), Thing(4, "sedan", "red")
    assert shown == [[taxi, sky], [sky, sedan], [Thing(4), sky]]


def test_missing_glance_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="distillnerf train-clip"):
        load_views(tmp_path, 5, 1)


def test_a_damaged_glance_is_named(tmp_path: Path) -> None:
    (tmp_path / "5_0.npz").write_bytes(b"PK\3\4")
    with pytest.raises(DatasetError, match=r"5_0\.npz is missing or damaged; remove it"):
        load_views(tmp_path, 5, 1)
