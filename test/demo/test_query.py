"""The verb: answers as a table and as JSON that every reader takes."""

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distillnerf_ros.demo import query
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.query.hits import Hits


@pytest.fixture
def ask(snapshot, monkeypatch):
    """Runs the verb in a street where nothing is."""
    nothing = torch.zeros(0, 1)
    hits = Hits(
        ("a bus",), nothing.expand(0, 3), nothing, nothing[:, 0], (), torch.tensor([torch.nan])
    )
    pipeline = SimpleNamespace(query_text=lambda *_: hits)
    glance = SimpleNamespace(pipeline=pipeline, field=None, name="a street")
    monkeypatch.setattr(query, "look", lambda args: glance)
    monkeypatch.setattr(query, "snapshot", lambda *_: snapshot)
    monkeypatch.setattr(query, "overview", lambda *_: np.zeros((2, 2, 3), np.uint8))

    def call(*words) -> int:
        parser = argparse.ArgumentParser()
        query.add_arguments(parser)
        given = ["--dataroot", "x", "--prompts", "a bus", *map(str, words)]
        return query.run(parser.parse_args(given))

    return call


def test_a_score_of_nothing_is_null_in_a_folder_that_is_made(ask, tmp_path):
    file = tmp_path / "new" / "answers.json"
    assert ask("--out", tmp_path / "q.png", "--json", file) == 0
    assert json.loads(file.read_text()) == [{"prompt": "a bus", "score": None, "found": []}]


def test_where_nothing_can_be_written_is_said_before_the_work(ask, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(query, "look", None)
    with pytest.raises(ConfigError, match=r"answers\.json cannot be written"):
        ask("--out", tmp_path / "q.png", "--json", tmp_path / "file" / "answers.json")


def test_a_fitted_scene_is_asked_where_the_glance_would_be(
    balls_subject, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(query, "scene_subject", lambda args: balls_subject)
    parser = argparse.ArgumentParser()
    query.add_arguments(parser)
    words = ["--dataroot", "x", "--fit", "o", "--prompts", "a green ball", "a red ball"]
    files = ["--out", str(tmp_path / "q.png"), "--json", str(tmp_path / "q.json")]
    assert query.run(parser.parse_args([*words, *files])) == 0
    green, red = json.loads((tmp_path / "q.json").read_text())
    assert (green["prompt"], green["score"], red["score"]) == ("a green ball", 1, 1)
    (found,) = green["found"]
    assert found["center_m"] == pytest.approx([0.0, 10.5, 1.5], abs=0.3)
    assert found["size_m"] == pytest.approx([4.0, 4.0, 4.0], abs=0.3)
    assert "10 m left" in capsys.readouterr().out
    assert (tmp_path / "q.png").stat().st_size > 10_000


def test_what_glows_is_what_answers_and_is_hit(balls_subject, monkeypatch):
    monkeypatch.setattr(query, "scene_subject", lambda args: balls_subject)
    args = argparse.Namespace(prompts=["a red ball"], negatives=None, threshold=0.5)
    _, _, shown = query.ask_scene(args)
    ahead, left = shown.cameras[0].heat, shown.cameras[3].heat
    assert ahead[8, 16] == 1
    assert left[8, 16] == 0
    assert np.isnan(ahead[0, 0])
    assert np.isnan(shown.cameras[1].heat).all()


def test_fine_points_become_occ3d_s_voxels():
    points = torch.tensor([[0.1, 0.1, 0.1], [0.3, 0.3, 0.1], [0.5, 0.1, 0.1], [-40, -40, -1.0]])
    labels = torch.tensor([4, 4, 7, 11], dtype=torch.uint8)
    voxels = query.coarse_voxels(points, labels)
    expected = [[-39.8, -39.8, -0.8], [0.2, 0.2, 0.0], [0.6, 0.2, 0.0]]
    np.testing.assert_allclose(voxels.points_m, expected, atol=1e-5)
    assert voxels.labels.tolist() == [11, 4, 7]
    assert voxels.probability.tolist() == [1, 1, 1]
