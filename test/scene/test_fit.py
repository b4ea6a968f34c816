"""The verb from end to end on a scene of eight small images."""

import argparse
import json
from dataclasses import replace

import pytest
import torch

from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import CheckpointError, ConfigError, DatasetError, SceneError
from distillnerf_ros.scene import fit, fitter
from distillnerf_ros.scene.fit import Budget, parse_size
from distillnerf_ros.scene.fitter import FitSettings
from distillnerf_ros.scene.fleet_task import claim
from distillnerf_ros.scene.state import load_field


@pytest.fixture
def arguments(fake_nusc, scene_config, tmp_path, monkeypatch):
    """Parsed arguments on the fake scene, with a field that is small."""
    monkeypatch.setattr(nuscenes, "open_dataset", lambda *_: fake_nusc)
    monkeypatch.setattr(fit, "config_of", lambda log, width: replace(scene_config, features=width))
    monkeypatch.setattr(fit, "FitSettings", lambda **k: FitSettings(beams=32, **k))
    monkeypatch.setattr(fitter, "WARM_UP_STEPS", 1)
    parser = argparse.ArgumentParser()
    fit.add_arguments(parser)
    words = f"--dataroot {tmp_path} --out {tmp_path / 'out'} --size 16x12 --pixels 64"
    return lambda more: parser.parse_args(f"{words} {more}".split())


def test_a_scene_is_fitted_judged_and_exported(arguments, tmp_path, capsys, device):
    more = f"--steps 2 --hold-out 4 --json {tmp_path / 'f.json'} --export {tmp_path / 'targets'}"
    assert fit.run(arguments(more)) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["psnr"] > 0
    assert figures["psnr_heldout"] > 0
    assert figures["abs_rel"] is None or figures["abs_rel"] > 0
    assert figures["dynamic_iou"] is None
    assert figures["steps"] == 2
    names = {path.name for path in (tmp_path / "out" / "pictures").iterdir()}
    assert {"stamp_000002.png", "over_time_000002.png"} <= names
    assert (tmp_path / "targets" / "scene-0001" / "k1.npz").is_file()
    assert "psnr_heldout" in capsys.readouterr().out


def test_a_second_call_goes_on(arguments, tmp_path):
    fit.run(arguments("--steps 1"))
    fit.run(arguments(f"--steps 2 --json {tmp_path / 'f.json'}"))
    assert json.loads((tmp_path / "f.json").read_text())["steps"] == 2


def test_a_scene_learns_the_features_of_its_keyframes(arguments, tmp_path, store, device):
    assert fit.run(arguments(f"--steps 2 --features {store.folder}")) == 0
    scene = load_field(tmp_path / "out" / fit.STATE_FILE)
    assert scene(torch.zeros(3, 3)).features.shape == (3, 2)
    with pytest.raises(CheckpointError, match=r"written for features .*, now asked for none"):
        fit.run(arguments("--steps 2"))


def test_one_call_at_a_time_works_in_a_folder(arguments, tmp_path):
    args = arguments("--steps 1")
    with claim(args.out, wait_s=0.0):
        with pytest.raises(SceneError, match="out is being worked on by process"):
            fit.run(args)
        args.claimed = True  # by who calls: a task of --all
        assert fit.run(args) == 0


def test_a_folder_that_cannot_be_made_is_an_error(arguments, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SceneError, match="cannot be written"):
        fit.run(arguments(f"--out {tmp_path / 'file' / 'out'}"))


def test_targets_of_another_field_stop_a_fit_before_it_begins(arguments, tmp_path, monkeypatch):
    more = f"--export {tmp_path / 'targets'}"
    fit.run(arguments(f"--steps 1 {more}"))
    (tmp_path / "targets" / "scene-0001" / "k1.npz").unlink()
    monkeypatch.setattr(fitter.Fitter, "take_step", None)
    for wrong, said in (("--steps 2", "field .* yet to be fitted"), ("--size 32x24", "size")):
        out = f"--out {tmp_path / wrong.split()[1]}"
        with pytest.raises(DatasetError, match=rf"another field or size \({said}"):
            fit.run(arguments(f"{wrong} {out} {more}"))
    with pytest.raises(DatasetError, match=r"field .* yet to be fitted\); give another --export"):
        fit.run(arguments(f"--steps 2 {more}"))
    assert fit.run(arguments(f"--steps 1 {more}")) == 0
    assert (tmp_path / "targets" / "scene-0001" / "k1.npz").is_file()


def test_a_scene_without_lidar_is_fitted_and_said_to_be(arguments, fake_nusc, capsys):
    records = fake_nusc.tables["sample_data"]
    for token in [t for t in records if t.startswith("LIDAR")]:
        del records[token]
    for sample in fake_nusc.tables["sample"].values():
        del sample["data"]["LIDAR_TOP"]
    assert fit.run(arguments("--steps 1")) == 0
    out = capsys.readouterr().out
    assert "has no lidar" in out
    assert "unknown" in out


def test_a_lidar_whose_files_are_all_empty_is_none(arguments, fake_nusc, tmp_path, capsys):
    for file in tmp_path.glob("LIDAR*.bin"):
        file.write_bytes(b"")
    assert fit.run(arguments("--steps 1")) == 0
    assert "has no lidar returns" in capsys.readouterr().out


def test_a_lidar_may_miss_a_sweep(arguments, tmp_path):
    (tmp_path / "LIDAR_TOP-1.bin").write_bytes(b"")
    assert fit.run(arguments("--steps 2")) == 0


def test_the_sky_is_asked_of_a_clip_once(arguments, tmp_path, capsys):
    fit.run(arguments("--steps 2 --sky-by world_clip"))
    (folder,) = (tmp_path / "out").glob("sky-*")
    assert len(list(folder.glob("*.png"))) == 8
    assert "sky=" in capsys.readouterr().err
    fit.run(arguments("--steps 2 --sky-by world_clip"))
    assert "image/s" not in capsys.readouterr().err


def test_figures_that_cannot_be_written_are_an_error(arguments, tmp_path):
    with pytest.raises(SceneError, match="cannot be written"):
        fit.run(arguments(f"--steps 1 --json {tmp_path}"))


@pytest.mark.parametrize(
    "more",
    [
        "--steps 0",
        "--minutes -1",
        "--minutes nan",
        "--rate 0",
        "--rate -1",
        "--rate nan",
        "--rate inf",
        "--seed -1",
        f"--seed {1 << 64}",
        "--hold-out 1",
        "--size 4x4",
    ],
)
def test_numbers_out_of_range_are_refused(arguments, more):
    with pytest.raises(ConfigError, match="expected"):
        fit.run(arguments(more))


def test_size_is_width_first():
    assert parse_size("200x112") == (112, 200)
    with pytest.raises(ConfigError, match="expected WxH"):
        parse_size("200")


def test_a_budget_ends_by_steps_or_minutes():
    assert Budget(100, None).progress(50, 1e9) == 0.5
    assert Budget(100, 2.0).progress(50, 90.0) == 0.75
    assert Budget(100, 2.0).progress(50, 6.0) == 0.5
