"""Keyframes as training samples."""

import dataclasses

import pytest
import torch

from distillnerf_ros.config import tiny
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.training import nuscenes_samples
from distillnerf_ros.training.nuscenes_samples import NuScenesSamples, held_back
from distillnerf_ros.training.train import add_arguments, make_samples

SIZE = (72, 128)


@pytest.fixture(scope="module")
def samples(flat_road) -> NuScenesSamples:
    nusc = nuscenes.open_dataset(flat_road.root)
    tokens = [token for scene in nusc.scene for token in nuscenes.keyframes(nusc, scene)]
    return NuScenesSamples(nusc, tokens, SIZE, hold_back=3)


def test_depth_is_known_where_lidar_fell_and_nowhere_else(samples) -> None:
    sample = samples[0]
    assert len(samples) == 2
    assert sample.depth_m.shape == (6, *SIZE)
    assert not sample.depth_m.isinf().any()  # nothing is known of the sky
    known = sample.depth_m.isfinite()
    assert 0.01 < known.float().mean() < 0.5
    row = known.nonzero()[:, 1] + 0.5
    # a level camera 1.5 m up with focal length 80 px and its horizon in row 36
    expected = 1.5 * 80 / (row - 36)
    assert ((sample.depth_m[known] / expected).log().abs() < 0.7).all()
    assert sample.lidar_origin_m.tolist() == pytest.approx([0, 0, 1.8])


def test_a_third_of_the_lidar_is_held_back(samples) -> None:
    every = nuscenes.lidar_points(samples.nusc, samples.tokens[0])
    held = held_back(len(every), 3)
    assert held.sum() == len(every) // 3
    assert torch.equal(samples[0].lidar_points_m, every[~held])
    assert not held_back(10, 0).any()


def test_a_kept_keyframe_is_the_same_to_the_bit(samples, tmp_path, monkeypatch) -> None:
    keeping = dataclasses.replace(samples, cache=tmp_path)
    read, made = samples[0], keeping[0]
    monkeypatch.setattr(nuscenes_samples, "readable_glance", None)
    for sample in (made, keeping[0]):
        assert torch.equal(sample.rig.images, read.rig.images)
        assert torch.equal(sample.rig.intrinsics, read.rig.intrinsics)
        assert torch.equal(sample.rig.ego_from_camera, read.rig.ego_from_camera)
        assert torch.equal(sample.rig.valid, read.rig.valid)
        assert torch.equal(sample.voxels.surface, read.voxels.surface)
    with pytest.raises(TypeError):
        keeping[1]  # is not there yet, and cannot be read


def test_voxels_of_the_road_are_surface(samples) -> None:
    labels = samples[0].voxels
    assert len(labels.surface) > 100
    assert (labels.surface % 16 == 2).float().mean() > 0.9  # z in -0.2 .. 0.2 m
    assert not set(labels.surface.tolist()) & set(labels.free.tolist())


def test_the_verb_finds_the_keyframes_of_a_split(flat_road) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--out", "x", "--data", "nuscenes", "--dataroot", str(flat_road.root)]
    args = parser.parse_args([*words, "--split", "val", "--hold-back", "2"])
    found = make_samples(args, tiny(), None)
    assert isinstance(found, NuScenesSamples)
    assert (len(found), found.hold_back, found.image_size) == (1, 2, (128, 224))
    with pytest.raises(ConfigError, match="needs --dataroot"):
        make_samples(parser.parse_args(words[:4]), tiny(), None)
