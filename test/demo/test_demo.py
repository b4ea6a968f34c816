"""The demo end to end: a made-up drive, real processes, DDS, and a report of what was recorded."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distillnerf_ros import cli
from distillnerf_ros.checkpoint import save_checkpoint
from distillnerf_ros.data.bag import bag_info
from distillnerf_ros.demo import demo
from distillnerf_ros.demo.recording import read_recording
from distillnerf_ros.demo.session import environment
from distillnerf_ros.demo.snapshot import Snapshot, Voxels
from distillnerf_ros.model import DistillNeRF

NOTHING = Voxels(np.zeros((0, 3)), None, np.zeros(0))


@pytest.fixture
def weights(small_config, tmp_path) -> Path:
    """A model that sees something and has no semantics."""
    torch.manual_seed(3)
    model = DistillNeRF(small_config)
    with torch.no_grad():
        for head in (model.voxel_net.fine_head, model.voxel_net.coarse_head):
            head.bias[0] = 4.0
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, model, None)
    return path


@pytest.mark.slow
@pytest.mark.ros
def test_the_whole_chain(weights, tmp_path):
    for package in ("rclpy", "distillnerf_msgs", "nuscenes", "rosbags"):
        pytest.importorskip(package)
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "distillnerf_ros.cli", "demo", "--out", str(out)]
    command += ["--seconds", "0.7", "--size", "400x225", "--seed", "3", "--weights", str(weights)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        env={**environment(tmp_path), "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    assert "against lidar" in done.stdout
    assert "these weights carry no features to ask" in done.stdout

    recording = read_recording(out / "outputs", ("CAM_FRONT", "CAM_BACK_LEFT"))
    shown = recording.snapshots[-1]
    assert [view.name for view in shown.cameras] == ["CAM_FRONT", "CAM_BACK_LEFT"]
    assert all(np.nanmedian(view.depth_m) > 0.1 for view in shown.cameras)
    assert len(shown.voxels.points_m) > 100
    assert {"encode", "render", "occupancy", "publish"} <= set(recording.stages_ms)
    assert bag_info(out / "input").topics["/CAM_FRONT/camera_info"].count == 2

    figures = json.loads((out / "figures.json").read_text())["judgement"]
    assert figures["keyframes"] == figures["occupancy_frames"] == len(recording.snapshots)
    assert 0 < figures["all_depth"]["abs_rel"] < 100
    assert 0 < figures["occupancy_iou"] < 1
    assert Image.open(out / "overview.png").size[0] > 1200
    assert "</html>" in (out / "report.html").read_text()


def test_a_node_that_fails_is_quoted(tmp_path, capsys):
    for package in ("rclpy", "distillnerf_msgs", "rosbags"):
        pytest.importorskip(package)
    from distillnerf_ros.demo.session import SessionOptions, play
    from distillnerf_ros.errors import ProcessError

    options = SessionOptions("no_such_weights", "cpu", (), ("a bus",), 1.0)
    with pytest.raises(ProcessError, match=r"distillnerf_node ended(.|\n)*no_such_weights"):
        play(tmp_path / "input", tmp_path / "outputs", tmp_path / "logs", options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataroot", "{empty}"], "is not a nuScenes folder"),
        (["--rate", "0"], "expected a rate above 0"),
        (["--prompts", "bus", " "], "no empty prompt"),
    ],
)
def test_wrong_options_are_explained(words, message, tmp_path, capsys):
    pytest.importorskip("distillnerf_msgs")
    words = [word.format(empty=tmp_path) for word in words]
    assert cli.main(["demo", "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err


def record(stamp_ns, *found):
    clusters = [
        {"prompt": name, "center_m": [1.0] * 3, "size_m": [1.0] * 3, "score": 0.7, "count": 1}
        for name in found
    ]
    answer = {"stamp_ns": stamp_ns, "success": True, "message": "", "prompts": ["bus", "tree"]}
    return {**answer, "scores": [0.7, 0.4], "clusters": clusters}


def test_the_glance_with_most_answers_is_shown():
    glances = [Snapshot(stamp, (), NOTHING) for stamp in (1, 2, 3)]
    shown, answers = demo.choose(glances, [record(1), record(3, "bus")])
    assert shown.stamp_ns == 3
    assert [len(answer.found) for answer in answers] == [1, 0]
    assert demo.choose(glances, [])[0].stamp_ns == 2
