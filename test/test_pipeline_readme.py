"""The Python lines of the README run as they stand, on a made-up glance."""

import re
from pathlib import Path

import pytest
import torch

from distillnerf_ros.data import nuscenes


def test_the_lines_of_the_readme_run(make_rig, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    asked = {}

    def load_glance(nusc, token, size):
        asked["size"] = size
        return make_rig(size)

    monkeypatch.setattr(nuscenes, "open_dataset", lambda root: asked.setdefault("root", root))
    monkeypatch.setattr(nuscenes, "find_scene", lambda nusc: {})
    monkeypatch.setattr(nuscenes, "keyframes", lambda nusc, scene: ["token"])
    monkeypatch.setattr(nuscenes, "load_glance", load_glance)
    made: dict = {}
    exec(lines, made)
    assert asked == {"root": "/data/nuscenes", "size": (450, 800)}
    assert made["depth_m"].shape == (6, 64, 112)
    assert made["occupied"].shape[1] == 3
    assert made["works"].prompts == ("road works",)
    assert torch.is_tensor(made["works"].points_m)
