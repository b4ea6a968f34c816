"""The components first, then a task per scene; what a failure and a word more change."""

import argparse
import json
from types import SimpleNamespace

import pytest

from distillnerf_ros.errors import ConfigError
from distillnerf_ros.scene.fleet_task import Outcome, write_whole
from distillnerf_ros.training import teach, teach_all
from distillnerf_ros.training.teach_all import describe, run_all, scene_task


class Fleet:
    """Stands for Ray: keeps what it is asked and lets chosen tasks fail."""

    def __init__(self) -> None:
        self.calls, self.failing = [], set()

    def __call__(self, tasks, engine, describe):
        self.calls.append(tasks)
        return [
            Outcome(task.name, error="no weights")
            if task.name in self.failing
            else Outcome(task.name, {"keyframes": 2})
            for task in tasks
        ]


@pytest.fixture
def fleet(monkeypatch) -> Fleet:
    made = Fleet()
    scenes = [{"name": name, "first_sample_token": "k0"} for name in ("scene-1", "scene-2")]
    samples = {"k0": {"next": "k1", "data": {}}, "k1": {"next": "", "data": {}}}
    nusc = SimpleNamespace(
        version="v1.0-mini", dataroot="d", scene=scenes, get=lambda table, token: samples[token]
    )
    made.nusc = nusc
    monkeypatch.setattr(teach_all, "run_tasks", made)
    monkeypatch.setattr(teach_all.nuscenes, "open_dataset", lambda *_: nusc)
    return made


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o").mkdir()
    parser = argparse.ArgumentParser()
    teach.add_arguments(parser)
    return lambda more="": parser.parse_args(f"--dataroot d --out o --all {more}".split())


def test_the_components_are_made_first_and_shared(fleet, arguments, tmp_path):
    assert teach.run(arguments()) == 0
    first, scenes = fleet.calls
    assert [task.name for task in first] == ["components"]
    assert first[0].arguments["fit_only"]
    assert first[0].arguments["scene"] is None
    assert [task.name for task in scenes] == ["scene-1", "scene-2"]
    for task in scenes:
        assert (task.arguments["scene"], task.arguments["all"]) == (task.name, None)
        assert not task.arguments["fit_only"]
        assert task.arguments["out"] == tmp_path / "o"
        assert task.folder == tmp_path / "o" / "tasks" / task.name
    assert json.loads((tmp_path / "o" / "summary.json").read_text())["done"] == 2


def test_without_components_no_scene_is_begun(fleet, arguments, capsys):
    fleet.failing = {"components"}
    assert run_all(arguments()) == 2
    assert len(fleet.calls) == 1
    assert "- components: no weights" in capsys.readouterr().out


def test_components_alone_can_be_asked(fleet, arguments):
    assert run_all(arguments("--fit-only")) == 0
    assert [task.name for call in fleet.calls for task in call] == ["components"]


def test_a_scene_that_fails_is_told(fleet, arguments):
    fleet.failing = {"scene-2"}
    assert run_all(arguments()) == 2


def test_files_are_absolute_and_names_stay(fleet, arguments, tmp_path):
    (tmp_path / "mine.safetensors").write_text("")
    args = arguments("--pca mine.safetensors --weights hub")
    task = scene_task(args, fleet.nusc, fleet.nusc.scene[0])
    assert task.arguments["pca"] == str(tmp_path / "mine.safetensors")
    assert task.arguments["weights"] == "hub"


def test_a_task_says_how_many_keyframes_are_there(fleet, arguments, tmp_path):
    task = scene_task(arguments(), fleet.nusc, fleet.nusc.scene[0])
    assert describe(task) == "0 of 2 keyframes"
    (tmp_path / "o" / "scene-1").mkdir()
    (tmp_path / "o" / "scene-1" / "k0.npy").write_text("features")
    (tmp_path / "o" / "scene-1" / "k1.npy").write_text("")
    assert describe(task) == "1 of 2 keyframes"
    components = teach_all.components_task(arguments(), "v1.0-mini")
    assert describe(components) == "fits the components"


def test_what_was_removed_is_made_again(fleet, arguments, tmp_path):
    scene = scene_task(arguments(), fleet.nusc, fleet.nusc.scene[0])
    components = teach_all.components_task(arguments(), "v1.0-mini")
    features = [tmp_path / "o" / "scene-1" / f"{sample}.npy" for sample in ("k0", "k1")]
    for task, left in ((scene, features), (components, [tmp_path / "o" / "pca.safetensors"])):
        for file in left:
            file.parent.mkdir(exist_ok=True)
            file.write_text("something")
        done = {"asked": task.asked, "figures": {"keyframes": 2}}
        write_whole(task.folder / "done.json", json.dumps(done).encode())
        assert task.figures() == {"keyframes": 2}
        left[-1].unlink()
        assert task.figures() is None


def test_one_scene_and_all_exclude_each_other(fleet, arguments):
    with pytest.raises(ConfigError, match="exclude"):
        run_all(arguments("--scene scene-1"))
