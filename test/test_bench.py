"""The bench: its arithmetic in closed form, and one run on a model of no size."""

import argparse
import json
import os
import subprocess
import sys

import pytest

from distillnerf_ros import bench
from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.checkpoint import save_checkpoint
from distillnerf_ros.data.jpeg import jpeg_size
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.model import DistillNeRF


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


def test_summary_closed_form() -> None:
    frames = [
        {"receive": 0.1, "decode": 0.1, "encode": 0.3, "depth": 0.2, "occupancy": 0.1,
         "publish": 0.2},
        {"receive": 0.1, "decode": 0.1, "encode": 0.3, "depth": 0.2, "occupancy": 0.1,
         "publish": 0.2},
        {"receive": 9.0, "decode": 0.1, "encode": 0.3, "depth": 0.2, "occupancy": 0.1,
         "publish": 0.2},
    ]  # fmt: skip
    result = bench.summarise(frames)
    assert result["frames_hz"] == pytest.approx(1.0)  # one slow frame does not count
    assert result["outside_model_share"] == pytest.approx(0.4)
    assert result["stages_s"]["receive"] == 0.1
    assert list(result["stages_s"]) == list(bench.STAGES)
    assert "1.00 frames per second, 40.0% of the frame outside the model" in bench.table(result)


def test_table_says_when_ros_was_not_timed() -> None:
    result = bench.summarise([{"decode": 0.1, "encode": 0.3, "depth": 0.2, "occupancy": 0.4}])
    assert "no ROS here" in bench.table(result)
    assert result["outside_model_share"] == pytest.approx(0.1)


def test_made_up_pictures_are_as_heavy_as_nuscenes() -> None:
    glance = bench.made_up_glance()
    assert list(glance.jpegs) == list(CAMERA_NAMES)
    for data in glance.jpegs.values():
        assert jpeg_size(data) == (900, 1600)
        assert 80_000 < len(data) < 400_000  # a real nuScenes frame: 110 to 190 kB each


def test_bench_runs(tmp_path, small_config, monkeypatch, capsys) -> None:
    weights, out = tmp_path / "small.safetensors", tmp_path / "bench.json"
    save_checkpoint(weights, DistillNeRF(small_config), None)
    monkeypatch.setattr(bench, "open_ros", lambda: None)
    words = ("--weights", str(weights), "--device", "cpu", "--frames", "2", "--json", str(out))
    assert bench.run(arguments(*words)) == 0
    result = json.loads(out.read_text())
    assert set(result["stages_s"]) == {"decode", "encode", "depth", "occupancy"}
    assert result["frames_hz"] * result["frame_s"] == pytest.approx(1)
    assert result["run"]["image_size"] == [900, 1600]
    assert "frames per second" in capsys.readouterr().out


@pytest.mark.ros
def test_ros_end_of_the_bench(small_config) -> None:
    pytest.importorskip("rclpy")
    from distillnerf_ros.checkpoint import Checkpoint
    from distillnerf_ros.device import resolve_device
    from distillnerf_ros.pipeline import Pipeline

    pipeline = Pipeline(Checkpoint(DistillNeRF(small_config), None), resolve_device("cpu"))
    node = bench.open_ros()
    assert node is not None
    try:
        frames = bench.measure(pipeline, bench.made_up_glance(), node, frames=1, warm_up=0)
    finally:
        node.close()
    assert list(frames[0]) == list(bench.STAGES)


def test_bad_options() -> None:
    with pytest.raises(ConfigError, match="--frames 0"):
        bench.run(arguments("--frames", "0"))


def test_not_a_dataset(tmp_path) -> None:
    with pytest.raises(DatasetError, match="not a nuScenes folder"):
        bench.run(arguments("--dataroot", str(tmp_path)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "PASSIVE 1000"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7"),
        ({"OMP_WAIT_POLICY": "x"}, "x None"),
    ],
)
def test_idle_threads_soon_sleep_unless_the_user_says_otherwise(before, after) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    code = f"import os, distillnerf_ros; print(*map(os.environ.get, {names}))"
    env = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**env, **before}, capture_output=True, text=True
    )
    assert done.stdout.strip() == after
