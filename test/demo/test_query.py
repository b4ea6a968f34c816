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
def ask(monkeypatch):
    """Runs the verb in a street where nothing is."""
    nothing = torch.zeros(0, 1)
    hits = Hits(
        ("a bus",), nothing.expand(0, 3), nothing, nothing[:, 0], (), torch.tensor([torch.nan])
    )
    pipeline = SimpleNamespace(query_text=lambda *_: hits)
    glance = SimpleNamespace(pipeline=pipeline, field=None, name="a street")
    monkeypatch.setattr(query, "look", lambda args: glance)
    monkeypatch.setattr(query, "snapshot", lambda *_: None)
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
