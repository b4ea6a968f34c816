"""Files that appear whole or not at all."""

import errno
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from distillnerf_ros.errors import CheckpointError, ConfigError
from distillnerf_ros.files import whole_file


def _write_half(path: Path, falls: Exception) -> None:
    with whole_file(path, CheckpointError, "call the landlord") as part:
        part.write_text("half")
        raise falls


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "figures.json"
    with whole_file(path, ConfigError) as part:
        part.write_text("{}")
        assert not path.exists()
    assert path.read_text() == "{}"
    assert list(path.parent.iterdir()) == [path]


def test_what_falls_in_the_middle_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("before")
    with pytest.raises(KeyError):
        _write_half(path, KeyError())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path) -> None:
    said = r"figures\.json cannot be written .*No space left.*; call the landlord"
    with pytest.raises(CheckpointError, match=said):
        _write_half(tmp_path / "figures.json", OSError(errno.ENOSPC, "No space left on device"))
    assert not list(tmp_path.iterdir())


def test_safetensors_own_errors_are_told_too(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with whole_file(path, CheckpointError) as part:
        save_file({"a": torch.ones(2)}, part)
    assert load_file(path)["a"].tolist() == [1, 1]
    path.parent.joinpath("file").touch()
    with (
        pytest.raises(CheckpointError, match="cannot be written"),
        whole_file(path, CheckpointError) as part,
    ):
        save_file({"a": torch.ones(2)}, tmp_path / "file" / "in_a_file")


def test_processes_of_two_machines_do_not_write_into_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "features.npy"
    with whole_file(path, ConfigError) as here:
        here.write_text("here")
        monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
        with whole_file(path, ConfigError) as there:
            there.write_text("there")
        assert here.read_text() == "here"
    assert path.read_text() == "here"
