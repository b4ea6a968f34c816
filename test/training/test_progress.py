"""What can be watched of a training."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch

from distillnerf_ros.training.progress import Progress, draw_glance
from distillnerf_ros.training.schedule import Schedule

sys.path.insert(0, str(Path(__file__).parent))
from test_trainer import ground_glance, make_trainer


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
    model = make_trainer().averaged_model()
    with Progress(tmp_path, Schedule(steps=100), step=0) as progress:
        for step in range(1, 51):
            progress.add(step, {"rgb": 1.0, "depth": float(step)})
        progress.draw(50, model, ground_glance())
    (line,) = map(json.loads, (tmp_path / "curve.jsonl").read_text().splitlines())
    assert (line["step"], line["rgb"]) == (50, 1.0)
    assert 1 < line["depth"] < 50
    assert logged_tags(tmp_path / "tensorboard") == {
        "glance",
        "learning_rate",
        "loss/depth",
        "loss/rgb",
    }
    assert (tmp_path / "pictures" / "step_000050.png").is_file()


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    with Progress(tmp_path, Schedule(steps=100), step=0, enabled=False) as progress:
        for step in range(1, 51):
            progress.add(step, {"rgb": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_a_picture_has_a_column_per_camera_and_shows_what_is_known() -> None:
    sample = ground_glance()
    picture = draw_glance(make_trainer().averaged_model(), sample)
    assert picture.shape == (4 * 32, 2 * 64, 3)
    expected = (sample.rig.images[1] * 255).byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(picture[:32, 64:], expected)
    truth = picture[96:, :64]
    sky = sample.depth_m[0].isinf().numpy()
    assert (truth[sky] == 0).all()
    assert (truth[~sky].max(axis=1) > 0).all()
    assert torch.isfinite(sample.depth_m[0]).any()
