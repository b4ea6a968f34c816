"""Files of a fit."""

import pytest
import torch
from safetensors.torch import save_file

from distillnerf_ros.errors import CheckpointError, SceneError
from distillnerf_ros.scene.state import (
    FORMAT,
    fill_field,
    load_field,
    read_tensors,
    write_tensors,
)


def test_tensors_and_metadata_come_back(tmp_path):
    write_tensors(tmp_path / "a" / "x", {"t": torch.arange(6).view(2, 3).T}, {"format": FORMAT})
    metadata, tensors = read_tensors(tmp_path / "a" / "x")
    assert metadata == {"format": FORMAT}
    assert torch.equal(tensors["t"], torch.arange(6).view(2, 3).T)


def test_another_format_is_refused(tmp_path):
    save_file({"t": torch.zeros(1)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match="format None"):
        load_field(tmp_path / "x")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="missing or damaged"):
        load_field(tmp_path / "x")


def test_weights_of_another_shape_are_refused(scene_field, tmp_path):
    with pytest.raises(CheckpointError, match="does not fit"):
        fill_field(scene_field, {"field.vignette": torch.zeros(7)}, tmp_path / "x")


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SceneError, match="cannot be written"):
        write_tensors(tmp_path / "file" / "x", {"t": torch.zeros(1)}, {})
