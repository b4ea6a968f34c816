"""Truth of a real data set's keyframe, and of the procedural world."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from distillnerf_ros.data.nuscenes import Box
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.scene import truth as module
from distillnerf_ros.scene.log import read_log
from distillnerf_ros.scene.truth import corners_m, keyframe_truths


def box(speed: float) -> Box:
    return Box(
        "t", "i", "vehicle.car", 4, (8.0, 0.0, 1.5), (2.0, 4.0, 1.0), 0.0, (speed, 0.0), 9, 4
    )


def test_corners_turn_with_the_box():
    turned = corners_m(dataclasses.replace(box(1.0), yaw_rad=np.pi / 2))
    np.testing.assert_allclose(turned.min(0), [6.0, -1.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(turned.max(0), [10.0, 1.0, 2.0], atol=1e-9)


def test_boxes_that_move_are_projected(fake_nusc, monkeypatch):
    for sample in fake_nusc.tables["sample"].values():
        sample["anns"] = ["a"]
    monkeypatch.setattr(module.nuscenes, "boxes", lambda *_: iter([box(3.0), box(0.1)]))
    log = read_log(fake_nusc, fake_nusc.scene[0], (24, 32))
    first, second = keyframe_truths(fake_nusc, fake_nusc.scene[0], log)
    assert [log.tokens[f] for f in second.frames] == ["CAM_FRONT-2", "CAM_BACK-2"]
    front, back = first.moving
    assert not back.any()
    # The near face, 7 m ahead, 4 m x 1 m, at f = 24 px: 13.7 x 3.4 pixels around (16.5, 12.5).
    rows, cols = torch.where(front)
    assert (cols.min().item(), cols.max().item()) == (10, 23)
    assert (rows.min().item(), rows.max().item()) == (11, 14)
    # The lidar saw a wall at 6 m.
    assert first.depth_m[0].nanmean().item() == pytest.approx(6.0, abs=0.01)
    assert first.depth_m[1].isnan().all()


def test_nobody_knows_whether_a_box_without_a_velocity_moves(fake_nusc, monkeypatch):
    boxes = [box(np.nan)]
    monkeypatch.setattr(module.nuscenes, "boxes", lambda *_: iter(boxes))
    log = read_log(fake_nusc, fake_nusc.scene[0], (24, 32))
    first = next(keyframe_truths(fake_nusc, fake_nusc.scene[0], log))
    assert first.moving.unique().tolist() == [-1]
    boxes.append(dataclasses.replace(box(3.0), center_m=(-8.0, 0.0, 1.5)))
    front, back = next(keyframe_truths(fake_nusc, fake_nusc.scene[0], log)).moving
    assert front.unique().tolist() == [-1, 0]
    assert back.unique().tolist() == [0, 1]


def test_without_annotations_nothing_is_known_to_move(fake_nusc):
    log = read_log(fake_nusc, fake_nusc.scene[0], (24, 32))
    for truth in keyframe_truths(fake_nusc, fake_nusc.scene[0], log):
        assert (truth.moving == -1).all()


def test_an_annotation_of_an_unknown_category_leaves_motion_unknown(fake_nusc, capsys):
    for sample in fake_nusc.tables["sample"].values():
        sample["anns"] = ["a"]
    fake_nusc.tables["sample_annotation"] = {"a": {"token": "a", "category_name": "tram"}}
    log = read_log(fake_nusc, fake_nusc.scene[0], (24, 32))
    for truth in keyframe_truths(fake_nusc, fake_nusc.scene[0], log):
        assert (truth.moving == -1).all()
    assert "keyframe k0 is not judged: annotation a has unknown category 'tram'" in (
        capsys.readouterr().err
    )


def test_the_world_s_truth_is_cast(fake_nusc, tmp_path):
    (tmp_path / ".world").mkdir()
    settings = {"seconds": 1.0, "image_size": [225, 400], "sweeps": True}
    (tmp_path / ".world" / "settings.json").write_text(json.dumps(settings))
    log = read_log(fake_nusc, fake_nusc.scene[0], (6, 8))
    found = next(keyframe_truths(fake_nusc, fake_nusc.scene[0], log))
    assert found.depth_m.shape == (2, 6, 8)
    assert found.depth_m[:, -1].isfinite().all()
    assert found.depth_m[found.depth_m.isfinite()].max() <= 100
    assert found.depth_m[:, 0].isinf().any()  # the sky
    assert found.moving.shape == (2, 6, 8)
    assert set(found.moving.unique().tolist()) <= {0, 1}


def test_damaged_settings_of_a_world_are_named(fake_nusc, tmp_path):
    (tmp_path / ".world").mkdir()
    (tmp_path / ".world" / "settings.json").write_text("{}")
    log = read_log(fake_nusc, fake_nusc.scene[0], (6, 8))
    with pytest.raises(DatasetError, match="damaged"):
        next(keyframe_truths(fake_nusc, fake_nusc.scene[0], log))
