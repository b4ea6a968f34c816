"""The curve of a fit."""

import json

import numpy as np

from distillnerf_ros.scene.progress import FitProgress


def test_means_are_written_every_fifty_steps(tmp_path):
    with FitProgress(tmp_path, 100, 0) as shown:
        for step in range(1, 101):
            shown.add(step, step / 10, {"rgb": 0.5})
        shown.show(100, "stamp", np.zeros((4, 4, 3), np.uint8))
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100]
    assert lines[1]["seconds"] == 10.0
    assert abs(lines[1]["rgb"] - 0.5) < 1e-9
    assert (tmp_path / "pictures" / "stamp_000100.png").is_file()
