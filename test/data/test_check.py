"""The calibration picture."""

import argparse
import json

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data import check, nuscenes
from distillnerf_ros.errors import ConfigError, DatasetError

cv2 = pytest.importorskip("cv2")
pytest.importorskip("nuscenes")


@pytest.fixture
def rig(tiny_nusc, tiny_set):
    sample = nuscenes.keyframes(tiny_nusc, nuscenes.find_scene(tiny_nusc))[0]
    return nuscenes.load_glance(tiny_nusc, sample, tiny_set.size)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return parser.parse_args(words)


def test_near_and_far_have_colours_apart():
    colors = check.depth_colors(np.array([1.0, 7.0, 50.0, 500.0])).astype(int)
    assert colors[0, 0] > colors[0, 2]  # near: red over blue
    assert colors[2, 2] > colors[2, 0]  # far: blue over red
    assert (colors[2] == colors[3]).all()


def test_point_is_drawn_where_it_projects(rig):
    pose = rig.ego_from_camera[0]
    point = pose[:3, 3] + torch.tensor([10.0, 2.0, 1.0])  # u = 64 - 16, v = 36 - 8
    with_point = check.draw_camera(rig.without(*CAMERA_NAMES[1:]), 0, point[None])
    without = check.draw_camera(rig.without(*CAMERA_NAMES[1:]), 0, torch.zeros(0, 3))
    rows, cols = np.nonzero((with_point != without).any(-1))
    assert rows.mean() == pytest.approx(28, abs=0.5)
    assert cols.mean() == pytest.approx(48, abs=0.5)


def test_a_missing_camera_draws_no_frustum(rig):
    points = torch.zeros(0, 3)
    all_cameras = check.draw_birds_eye(rig, points)
    five = check.draw_birds_eye(rig.without("CAM_BACK"), points)
    changed_rows = np.nonzero((all_cameras != five).any((1, 2)))[0]
    assert changed_rows.min() >= 355  # only behind the vehicle, which is the lower half


def test_picture_shows_all_views_and_the_view_from_above(rig, tiny_set):
    height, width = tiny_set.size
    picture = check.draw_check(rig, torch.tensor([[10.0, 0, 0]]))
    assert picture.shape == (2 * height, 3 * width + 2 * height, 3)


def test_any_rig_will_do(rig, tiny_set):
    import dataclasses

    height, width = tiny_set.size
    two = dataclasses.replace(
        rig,
        names=("left", "right"),
        images=rig.images[:2],
        intrinsics=rig.intrinsics[:2],
        ego_from_camera=rig.ego_from_camera[:2],
        valid=rig.valid[:2],
    )
    assert check.draw_check(two, torch.zeros(0, 3)).shape == (height, 2 * width + height, 3)


def test_verb_writes_the_picture(tiny_set, tmp_path):
    out = tmp_path / "deep" / "check.png"
    root = str(tiny_set.root)
    assert check.run(arguments("--dataroot", root, "--width", "160", "--out", str(out))) == 0
    assert cv2.imread(str(out)).shape == (180, 480 + 180, 3)


def test_verb_refuses_frames_and_widths_out_of_range(tiny_set):
    root = str(tiny_set.root)
    with pytest.raises(DatasetError, match=r"has 0\.\.1"):
        check.run(arguments("--dataroot", root, "--frame", "2"))
    with pytest.raises(ConfigError, match=r"64\.\.1600"):
        check.run(arguments("--dataroot", root, "--width", "2"))


def test_a_log_without_lidar_shows_its_frusta(own_set, tmp_path, capsys):
    (table,) = own_set.root.glob("v1.0-*/sample_data.json")
    rows = json.loads(table.read_text())
    table.write_text(json.dumps([row for row in rows if "LIDAR_TOP" not in row["filename"]]))
    words = ("--dataroot", str(own_set.root), "--width", "160", "--out", str(tmp_path / "c.png"))
    assert check.run(arguments(*words)) == 0
    assert "0 lidar points" in capsys.readouterr().out


def test_a_name_without_an_ending_says_what_is_expected(tiny_set, tmp_path):
    words = ("--dataroot", str(tiny_set.root), "--width", "160", "--out", str(tmp_path / "name"))
    with pytest.raises(DatasetError, match=r"give a \.png or \.jpg name"):
        check.run(arguments(*words))
