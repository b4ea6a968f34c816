"""What can be watched of long work."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from distillnerf_ros.errors import SceneError, TrainingError
from distillnerf_ros.progress import Progress, write_picture


def logged_tags(folder: Path) -> set[str]:
    """What TensorBoard was told: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    data, tags = path.read_bytes(), set()
    while data:
        (length,) = struct.unpack_from("<Q", data)
        event = Event.FromString(data[12 : 12 + length])
        tags |= {value.tag for value in event.summary.value}
        data = data[16 + length :]
    return tags


def test_curve_pictures_and_tensorboard_say_the_same(tmp_path: Path) -> None:
    with Progress(tmp_path, 100, 0, TrainingError, elapsed_s=3600.0) as progress:
        for step in range(1, 101):
            progress.add(step, {"rgb": 1.0, "depth": float(step)}, learning_rate=step / 1000)
        progress.show(100, "glance", np.zeros((4, 4, 3), np.uint8))
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [(line["step"], line["learning_rate"]) for line in lines] == [(50, 0.05), (100, 0.1)]
    assert all(line["rgb"] == 1.0 for line in lines)
    mean = 1.0
    for step in range(2, 51):
        mean = 0.98 * mean + 0.02 * step
    assert lines[0]["depth"] == pytest.approx(mean)
    assert 3600 <= lines[0]["seconds"] <= lines[1]["seconds"] < 3660
    assert logged_tags(tmp_path / "tensorboard") == {
        "glance",
        "learning_rate",
        "loss/depth",
        "loss/rgb",
    }
    assert (tmp_path / "pictures" / "glance_000100.png").is_file()


def test_steps_that_are_taken_again_are_told_once(tmp_path: Path) -> None:
    for first, last in ((1, 200), (101, 250)):  # the second goes on from the state of step 100
        with Progress(tmp_path, 250, first - 1, TrainingError) as progress:
            for step in range(first, last + 1):
                progress.add(step, {"rgb": float(first)})
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    told = [(line["step"], line["rgb"]) for line in lines]
    assert told == [(50, 1), (100, 1), (150, 101), (200, 101), (250, 101)]


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    with Progress(tmp_path, 100, 0, TrainingError, enabled=False) as progress:
        for step in range(1, 51):
            progress.add(step, {"rgb": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_an_error_of_the_given_kind(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(SceneError, match="disk full"):
        write_picture(tmp_path / "b.png", picture, SceneError)
    (tmp_path / "curve.jsonl").mkdir()
    with (
        Progress(tmp_path, 50, 49, TrainingError) as progress,
        pytest.raises(TrainingError, match="cannot be written"),
    ):
        progress.add(50, {"rgb": 1.0})


def test_a_picture_keeps_its_colours(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    write_picture(tmp_path / "a" / "b.png", picture, SceneError)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a" / "b.png"))[..., ::-1], picture)
