"""The tasks of all scenes, and how far a fit has come."""

import argparse
import json
from pathlib import Path

import pytest

from distillnerf_ros.errors import ConfigError
from distillnerf_ros.scene import fit, fit_all
from distillnerf_ros.scene.fit_all import describe, scene_task


def arguments(more: str = "") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    fit.add_arguments(parser)
    return parser.parse_args(f"--dataroot d --out o --all --steps 1000 {more}".split())


def write_curve(folder: Path, lines: list[dict]) -> None:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "curve.jsonl").write_text(text)


@pytest.fixture
def task(tmp_path, monkeypatch, fake_nusc):
    monkeypatch.chdir(tmp_path)
    return scene_task(arguments("--export x"), fake_nusc, fake_nusc.scene[0])


def test_a_scene_has_a_folder_and_shares_the_exports(task, tmp_path):
    assert task.folder == tmp_path / "o" / "scene-0001"
    own = task.arguments
    assert (own["scene"], own["all"], own["version"]) == ("scene-0001", None, "v1.0-fake")
    assert own["out"] == task.folder
    assert own["json"] == task.folder / "figures.json"
    assert own["export"] == tmp_path / "x"
    assert set(own) <= set(vars(arguments()))


def test_a_scene_is_done_while_its_targets_are_there(task, tmp_path):
    task.folder.mkdir(parents=True)
    done = {"asked": task.asked, "figures": {"psnr": 20.0}}
    (task.folder / "done.json").write_text(json.dumps(done))
    assert task.figures() is None
    targets = tmp_path / "x" / "scene-0001"
    targets.mkdir(parents=True)
    for name in ("scene.json", "k0.npz", "k1.npz"):
        assert task.figures() is None
        (targets / name).touch()
    assert task.figures() == {"psnr": 20.0}


def test_a_fit_without_a_curve_reads_its_log(task):
    assert describe(task) == "reads its log"


def test_a_fit_says_its_step_quality_and_time(task):
    task.folder.mkdir(parents=True)
    lines = [
        {"step": 50, "seconds": 10.0, "rgb": 0.1},
        {"step": 100, "seconds": 20.0, "rgb": 0.01},
    ]
    write_curve(task.folder, lines[:1])
    assert describe(task) == "step 50 of 1000, psnr 10.0"
    write_curve(task.folder, lines)
    assert describe(task) == "step 100 of 1000, psnr 20.0, 5.0 steps/s, 3 min left"
    task.arguments["minutes"] = 1.0
    assert describe(task).endswith("1 min left")


def test_a_long_curve_and_half_a_line_are_read_from_their_end(task):
    task.folder.mkdir(parents=True)
    lines = [{"step": 50 * k, "seconds": 10.0 * k, "rgb": 0.01, "x": "y" * 90} for k in range(99)]
    write_curve(task.folder, lines)
    with (task.folder / "curve.jsonl").open("a") as file:
        file.write('{"step": 50')
    assert describe(task).startswith("step 4900 of 1000, psnr 20.0, 5.0 steps/s")


def test_a_line_that_a_full_disk_cut_is_left_out(task):
    task.folder.mkdir(parents=True)
    write_curve(task.folder, [{"step": 50, "seconds": 10.0}])
    with (task.folder / "curve.jsonl").open("a") as file:
        file.write('{"step": 100, "sec{"step": 100, "seconds": 15.0}\n')
        file.write('{"step": 150, "seconds": 20.0}\n')
    assert describe(task) == "step 150 of 1000, 10.0 steps/s, 1 min left"


@pytest.mark.parametrize("more", ["--scene scene-0061", "--workers 0", "--steps 0"])
def test_what_excludes_one_another_is_refused(more, monkeypatch):
    monkeypatch.setattr(fit_all.nuscenes, "open_dataset", None)
    with pytest.raises(ConfigError, match=r"expected|exclude"):
        fit.run(arguments(more))
