"""Figures of many scenes in one table."""

import json

import pytest

from distillnerf_ros.errors import SceneError
from distillnerf_ros.scene.fleet_summary import report, table, write_summary
from distillnerf_ros.scene.fleet_task import Outcome, Task, note


def tasks(tmp_path):
    made = [Task(name, tmp_path / name, "verb", {}) for name in ("a", "b", "c")]
    for task in made:
        task.folder.mkdir()
        note(task.folder, "start")
    note(made[1].folder, "start")
    return made


OUTCOMES = (
    Outcome("a", {"psnr": 24.0, "psnr_heldout": None, "steps": 10, "device": "cpu"}),
    Outcome("b", {"psnr": 26.0, "psnr_heldout": 22.0, "steps": 20, "device": "cpu"}, again=True),
    Outcome("c", error="the disk is full"),
)


def test_means_are_over_what_is_known(tmp_path):
    content = write_summary(tmp_path, tasks(tmp_path), OUTCOMES)
    assert content["mean"] == {"psnr": 25.0, "psnr_heldout": 22.0, "steps": 15.0}
    assert (content["done"], content["total"]) == (2, 3)
    assert [scene["starts"] for scene in content["scenes"].values()] == [1, 2, 1]
    assert content["scenes"]["c"]["error"] == "the disk is full"
    assert json.loads((tmp_path / "summary.json").read_text()) == content


def test_the_table_has_a_row_per_scene_the_mean_and_what_is_missing(tmp_path):
    text = table(write_summary(tmp_path, tasks(tmp_path), OUTCOMES))
    assert (tmp_path / "summary.md").read_text() == text
    assert text.splitlines() == [
        "| scene | psnr | psnr_heldout | steps | starts |",
        "|---|---|---|---|---|",
        "| a | 24.000 |  | 10 | 1 |",
        "| b | 26.000 | 22.000 | 20 | 2 |",
        "| c |  |  |  | 1 |",
        "| mean of 2 of 3 | 25.000 | 22.000 | 15.000 |  |",
        "",
        "Not done:",
        "",
        "- c: the disk is full",
    ]


def test_the_status_tells_whether_all_is_done(tmp_path, capsys):
    made = tasks(tmp_path)
    assert report(tmp_path, made, OUTCOMES, tmp_path / "new" / "copy.json") == 2
    assert json.loads((tmp_path / "new" / "copy.json").read_text())["done"] == 2
    assert report(tmp_path, made[:2], OUTCOMES[:2], None) == 0
    assert "| mean of 2 of 2 |" in capsys.readouterr().out


def test_figures_that_cannot_be_copied_are_shown_all_the_same(tmp_path, capsys):
    with pytest.raises(SceneError, match="cannot be written"):
        report(tmp_path, tasks(tmp_path), OUTCOMES, tmp_path)
    assert "| mean of 2 of 3 |" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    with pytest.raises(SceneError, match="cannot be written"):
        report(out, [Task("a", out / "a", "verb", {})], [Outcome("a", error="no folder")], None)
