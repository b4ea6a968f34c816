"""A timm encoder: maps, pretrained weights from a file, and messages."""

import pytest
import torch
from safetensors.torch import save_file

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.lift.encoder import TimmEncoder
from distillnerf_ros.teachers.torchvision_shim import import_timm


def test_maps_are_as_wide_as_promised():
    encoder = TimmEncoder("resnet10t", (60, 100))
    maps = encoder(torch.rand(1, 3, 60, 100))
    assert tuple(m.shape[1] for m in maps) == encoder.channels
    assert maps[0].shape[2:] == (32, 48)  # of 64x96: the nearest multiples of 32


def test_weights_come_from_a_file_of_the_whole_model(tmp_path):
    """Files of timm hold a classifier too, and know nothing of the wrapper."""
    torch.manual_seed(1)
    whole = import_timm().create_model("resnet10t", pretrained=False)
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    encoder = TimmEncoder("resnet10t", (64, 64))
    encoder.load(str(tmp_path / "whole.safetensors"))
    given = whole.state_dict()
    for key, value in encoder.model.state_dict().items():
        assert torch.equal(value, given[key.removeprefix("model.")]), key


def test_weights_of_another_model_are_refused(tmp_path):
    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    encoder = TimmEncoder("resnet10t", (64, 64))
    with pytest.raises(CheckpointError, match="missing or of another shape"):
        encoder.load(str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match=r"'hub'.*or a \.safetensors file"):
        encoder.load(str(tmp_path / "nothing.safetensors"))


def test_an_unknown_model_is_named():
    with pytest.raises(CheckpointError, match=r"resnot.*timm\.list_models"):
        TimmEncoder("resnot", (64, 64))
