"""Logs with a broken image, with poses that jump, and with cameras that share no view."""

import argparse
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.config import tiny
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.training.evaluate import choose_frames
from distillnerf_ros.training.keyframes import check_keyframes, readable_glance
from distillnerf_ros.training.nuscenes_samples import NuScenesSamples
from distillnerf_ros.training.train import add_arguments, make_samples

SIZE = (72, 128)


@pytest.fixture
def root(flat_road, tmp_path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(flat_road.root, tmp_path / "road"))


def first(root: Path):
    nusc = nuscenes.open_dataset(root)
    return nusc, nuscenes.keyframes(nusc, nusc.scene[0])[0]


def image(nusc, token: str, camera: str) -> Path:
    record = nusc.get("sample_data", nusc.get("sample", token)["data"][camera])
    return Path(nusc.dataroot) / record["filename"]


def test_one_damaged_image_is_a_missing_camera_until_it_is_mended(root, tmp_path, capsys) -> None:
    nusc, token = first(root)
    whole = readable_glance(nusc, token, SIZE)
    path = image(nusc, token, "CAM_BACK")
    content = path.read_bytes()
    path.write_bytes(content[:200])
    keeping = NuScenesSamples(nusc, [token], SIZE, cache=tmp_path)
    assert not keeping[0].rig.valid.all()
    sample = NuScenesSamples(nusc, [token], SIZE)[0]
    assert path.name in capsys.readouterr().err
    there = torch.tensor([name != "CAM_BACK" for name in CAMERA_NAMES])
    assert torch.equal(sample.rig.valid, there)
    assert torch.equal(sample.rig.images[there], whole.images[there])
    torch.testing.assert_close(sample.rig.ego_from_camera[there], whole.ego_from_camera[there])
    assert sample.depth_m[~there].isnan().all()
    assert sample.rig.present().names == tuple(n for n in CAMERA_NAMES if n != "CAM_BACK")
    path.write_bytes(content)
    assert torch.equal(keeping[0].rig.images, whole.images)


def test_a_glance_of_damaged_images_is_refused(root) -> None:
    nusc, token = first(root)
    for name in CAMERA_NAMES:
        image(nusc, token, name).write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="all 6 images of sample"):
        readable_glance(nusc, token, SIZE)


def test_poses_that_jump_within_a_glance_are_refused_before_any_work(root) -> None:
    nusc, token = first(root)
    check_keyframes(nusc, [token])
    record = nusc.get("sample_data", nusc.get("sample", token)["data"]["CAM_FRONT"])
    file = root / "v1.0-flat" / "ego_pose.json"
    rows = json.loads(file.read_text())
    for row in rows:
        if row["token"] == record["ego_pose_token"]:
            row["translation"][0] += 7.0
    file.write_text(json.dumps(rows))
    with pytest.raises(DatasetError, match=rf"sample {token}: .*jumps 7\.0 m"):
        check_keyframes(nuscenes.open_dataset(root), [token])
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--out", "x", "--data", "nuscenes", "--dataroot", str(root)]
    with pytest.raises(DatasetError, match="jumps"):
        make_samples(parser.parse_args(words), tiny(), None)


def test_of_a_partial_download_whole_scenes_are_used_and_the_others_said(root, capsys) -> None:
    nusc = nuscenes.open_dataset(root)
    assert nuscenes.whole_scenes(nusc, nusc.scene) == nusc.scene
    assert capsys.readouterr().err == ""
    lost = nuscenes.keyframes(nusc, nusc.scene[1])[0]
    image(nusc, lost, "CAM_BACK").unlink()
    assert nuscenes.whole_scenes(nusc, nusc.scene) == nusc.scene[:1]
    assert re.search(r"1 of 2 scenes lack .*CAM_BACK.* of scene-0002", capsys.readouterr().err)
    assert list(choose_frames(nusc, "all", None, 1)) == ["scene-0001"]
    assert list(choose_frames(nusc, "all", ["scene-0002"], 1)) == ["scene-0002"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--data", "nuscenes", "--dataroot", str(root), "--split", "all", "--out", "o"]
    assert len(make_samples(parser.parse_args(words), tiny(), None)) == 1
    (root / nuscenes.lidar_record(nusc, first(root)[1])["filename"]).unlink()
    with pytest.raises(DatasetError, match=r"2 of 2 scenes lack .*LIDAR_TOP.*; unpack"):
        nuscenes.whole_scenes(nusc, nusc.scene)
