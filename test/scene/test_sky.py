"""Masks of the sky: what an OpenCLIP model says becomes three values in a folder."""

import errno

import cv2
import numpy as np
import pytest
import torch

from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import CheckpointError, DatasetError, SceneError
from distillnerf_ros.scene import sky

CPU = torch.device("cpu")
SIZE = (12, 16)


def all_sky(image: torch.Tensor) -> torch.Tensor:
    """A finder that sees nothing else."""
    return torch.ones(2, 2)


def test_a_mask_says_sky_other_and_unknown() -> None:
    said = torch.tensor([[0.9, 0.9], [0.5, 0.5], [0.1, 0.1]])
    mask = sky.mask_of(said, (30, 20))
    assert (mask[:5] == sky.SKY).all()
    assert (mask[13:17] == sky.UNKNOWN).all()
    assert (mask[25:] == sky.OTHER).all()


def test_the_shipped_clip_finds_the_sky_of_a_street() -> None:
    from distillnerf_ros.world.frames import glance
    from distillnerf_ros.world.scene import make_scene

    seen = glance(make_scene(7, 4.0), 1.0, (128, 224))
    _, find = sky.sky_finder("world_clip", CPU)
    large = torch.nn.functional.interpolate(seen.rig.images, scale_factor=2, mode="bilinear")
    masks = np.stack([sky.mask_of(find(image[None]), (128, 224)) for image in large])
    truth = seen.depth_m.isnan().numpy()
    assert (masks[truth] == sky.SKY).mean() > 0.85
    assert (masks[~truth] == sky.SKY).mean() < 0.02
    assert (masks[truth] == sky.OTHER).mean() < 0.02


def test_other_weights_have_another_name_and_foreign_models_are_refused() -> None:
    assert sky.sky_finder("world_clip", CPU)[0] == sky.sky_finder("world_clip", CPU)[0]
    with pytest.raises(CheckpointError):
        sky.sky_finder("dinov2:vit_small_patch14_dinov2:hub", CPU)


def test_masks_are_written_once_and_read_back(fake_nusc, tmp_path) -> None:
    asked = []

    def find(image):
        asked.append(tuple(image.shape))
        return torch.tensor([[0.9], [0.1]])

    scene = fake_nusc.scene[0]
    for _ in range(2):
        sky.write_sky_masks(fake_nusc, scene, SIZE, find, tmp_path / "sky")
    images = [r for r in fake_nusc.tables["sample_data"].values() if "CAM" in r["channel"]]
    assert asked == [(1, 3, 24, 32)] * len(images)
    known = sky.read_sky_masks(tmp_path / "sky", [r["token"] for r in images], SIZE)
    assert (known[:, 0] == 1).all()
    assert (known[:, -1] == 0).all()
    assert (known == -1).any()


def test_a_damaged_image_gets_no_mask(fake_nusc, tmp_path) -> None:
    record = next(r for r in fake_nusc.tables["sample_data"].values() if "CAM" in r["channel"])
    nuscenes.sensor_path(fake_nusc, record).write_bytes(b"no picture")
    sky.write_sky_masks(fake_nusc, fake_nusc.scene[0], SIZE, all_sky, tmp_path)
    assert not (tmp_path / f"{record['token']}.png").exists()
    assert list(tmp_path.glob("*.png"))


def test_what_cannot_be_written_is_said(fake_nusc, tmp_path, monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SceneError, match="cannot be made"):
        sky.write_sky_masks(fake_nusc, fake_nusc.scene[0], SIZE, all_sky, tmp_path / "file")
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SceneError, match=r"cannot be written .*No space left"):
        sky.write_sky_masks(fake_nusc, fake_nusc.scene[0], SIZE, all_sky, tmp_path / "sky")
    assert not list((tmp_path / "sky").iterdir())


def test_masks_of_somebody_else_are_read_and_missing_ones_named(tmp_path) -> None:
    for token, value in (("a", 1), ("b", 255)):  # any value but 0 and 128 is sky
        mask = np.zeros((24, 32), np.uint8)
        mask[:12] = value
        cv2.imwrite(str(tmp_path / f"{token}.png"), mask)
    known = sky.read_sky_masks(tmp_path, ("a", "b"), SIZE)
    assert (known[:, :6] == 1).all()
    assert (known[:, 6:] == 0).all()
    with pytest.raises(DatasetError, match=r"c\.png"):
        sky.read_sky_masks(tmp_path, ("a", "c"), SIZE)
