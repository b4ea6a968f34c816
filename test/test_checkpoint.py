"""Weights on disk: round trips, and refusal of all that is damaged, foreign or dangerous."""

import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from distillnerf_ros import checkpoint as checkpoint_module
from distillnerf_ros.checkpoint import (
    find_weights,
    load_checkpoint,
    save_checkpoint,
    shipped_weights,
)
from distillnerf_ros.config import base, preset, tiny
from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.kinds import Usual
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.teachers.pca import Pca

MOST_BYTES = 16 * 2**20


@pytest.fixture(scope="module")
def model(small_config) -> DistillNeRF:
    torch.manual_seed(0)
    return DistillNeRF(small_config)


@pytest.fixture(scope="module")
def semantics() -> Semantics:
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize
    classes = unit(torch.randn(17, 8, generator=generator), dim=-1)
    negatives = unit(torch.randn(4, 8, generator=generator), dim=-1)
    basis = torch.linalg.qr(torch.randn(8, 5, generator=generator))[0].T.contiguous()
    return Semantics(
        "some-clip",
        Pca(torch.ones(8), basis, torch.ones(5), 0.75),
        classes,
        negatives,
        torch.linspace(0, 2, 17),
    )


@pytest.fixture
def saved(tmp_path, model, semantics) -> Path:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, model, semantics)
    return path


def rewrite(path: Path, drop: str = "", **metadata: str) -> None:
    """Change a file's metadata, or leave a tensor out."""
    with safe_open(path, "pt") as file:
        old = file.metadata()
    tensors = {key: value for key, value in load_file(path).items() if key != drop}
    save_file(tensors, path, {**old, **metadata})


def test_round_trip(saved, model, semantics):
    loaded = load_checkpoint(str(saved))
    assert loaded.model.config == model.config
    assert not loaded.model.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value), key
    assert loaded.semantics is not None
    assert loaded.semantics.clip == "some-clip"
    assert loaded.semantics.pca.explained == 0.75
    assert torch.equal(loaded.semantics.classes, semantics.classes)
    assert torch.equal(loaded.semantics.caution, semantics.caution)
    assert torch.equal(loaded.semantics.occupied_from, semantics.occupied_from)
    assert loaded.semantics.usual is None
    assert torch.equal(loaded.semantics.pca.basis, semantics.pca.basis)


def test_round_trip_of_what_classes_usually_show(tmp_path, model, semantics):
    path = tmp_path / "wary.safetensors"
    usual = Usual(torch.rand(17, 9), torch.rand(17, 9, 9))
    save_checkpoint(path, model, dataclasses.replace(semantics, usual=usual))
    loaded = load_checkpoint(str(path)).semantics.usual
    assert torch.equal(loaded.mean, usual.mean)
    assert torch.equal(loaded.spread, usual.spread)


def test_round_trip_without_semantics(tmp_path, model):
    path = tmp_path / "plain.safetensors"
    save_checkpoint(path, model, None)
    assert load_checkpoint(str(path)).semantics is None


def test_half_precision_halves_the_file_and_still_loads_as_float(
    saved, tmp_path, model, semantics
):
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, model, semantics, torch.float16)
    assert path.stat().st_size < 0.7 * saved.stat().st_size
    loaded = load_checkpoint(str(path)).model.state_dict()
    for key, value in model.state_dict().items():
        assert loaded[key].dtype == value.dtype, key
        torch.testing.assert_close(loaded[key], value, rtol=1e-3, atol=1e-4)


def test_no_half_written_file_is_left(saved):
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_weights_of_another_configuration_are_refused_by_the_difference(saved, small_config):
    assert load_checkpoint(str(saved), expected=small_config).model.config == small_config
    with pytest.raises(CheckpointError, match="preset 'small', expected 'base'"):
        load_checkpoint(str(saved), expected=base())
    wider = dataclasses.replace(small_config.features, channels=9)
    with pytest.raises(CheckpointError, match="channels=9"):
        load_checkpoint(str(saved), dataclasses.replace(small_config, features=wider))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(str(saved))


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="format None, expected 'distillnerf_ros/1'"):
        load_checkpoint(str(path))


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def test_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trap.safetensors").write_bytes(pickle.dumps(Trap()))
    torch.save({"model": Trap()}, "trap.pt")
    for name in ("trap.safetensors", "trap.pt"):
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load_checkpoint(name)
    assert not Path("sprung").exists()
    pickle.loads(Path("trap.safetensors").read_bytes())
    assert Path("sprung").exists()  # the trap works


def test_an_unreadable_configuration_is_refused(saved):
    rewrite(saved, config='{"preset": "small"}')
    with pytest.raises(CheckpointError, match="unreadable configuration: config lacks the fields"):
        load_checkpoint(str(saved))


def test_tensors_that_do_not_fit_the_configuration_are_refused(saved):
    rewrite(saved, drop="model.heads.rgb.bias")
    with pytest.raises(CheckpointError, match=r"(?s)does not fit.*heads\.rgb\.bias"):
        load_checkpoint(str(saved))


@pytest.mark.parametrize("lost", ["pca.basis", "semantics.negatives"])
def test_lost_semantics_are_refused(saved, lost):
    rewrite(saved, drop=lost)
    with pytest.raises(CheckpointError, match=f"lacks it .*{lost}"):
        load_checkpoint(str(saved))


@pytest.mark.parametrize("name", ["no-such-weights", "/no/such/file.safetensors", "."])
def test_unknown_weights_are_refused_by_name(name):
    with pytest.raises(CheckpointError, match=f"{name!r} are neither a file nor shipped"):
        find_weights(name)


def test_shipped_weights_are_found_by_name(saved, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "WEIGHTS_FOLDER", saved.parent)
    save_file({"w": torch.ones(3)}, saved.parent / "pca.safetensors")
    assert shipped_weights() == ("weights",)
    assert find_weights("weights") == saved
    with pytest.raises(CheckpointError, match="these names: weights"):
        find_weights("tiny")


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_weights_load_and_are_small(name):
    assert find_weights(name).stat().st_size <= MOST_BYTES
    config = load_checkpoint(name).model.config
    assert name.startswith(config.preset)
    load_checkpoint(name, preset(config.preset))  # or no training could start from them


def test_tiny_fits_the_limit():
    model = DistillNeRF(tiny())
    assert 2 * sum(value.numel() for value in model.state_dict().values()) <= MOST_BYTES
