"""ViTs of timm as teachers: patch tokens alone, weights from a file, clear refusals."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from distillnerf_ros.errors import CheckpointError, ImageError
from distillnerf_ros.teachers import dinov2
from distillnerf_ros.teachers.dinov2 import DenseDino
from distillnerf_ros.teachers.torchvision_shim import import_timm

SMALL = "test_vit"  # timm's own for tests: 0.3 M parameters, one class token
REGISTERS = "test_vit2"  # one register token instead


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of random weights; they hold a classifier that is not needed, as files of hubs do."""
    folder = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    files = {}
    for name in (SMALL, REGISTERS):
        state = import_timm().create_model(name, pretrained=False).state_dict()
        save_file({k: v.contiguous() for k, v in state.items()}, folder / f"{name}.safetensors")
        files[name] = str(folder / f"{name}.safetensors")
    return files


@pytest.mark.parametrize("name", [SMALL, REGISTERS])
def test_features_are_the_patch_tokens_in_their_order(weights, name: str) -> None:
    dense = DenseDino(name, weights[name]).eval()
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        tokens = dense.model.forward_features((images - 0.5) / 0.5)  # the statistics of this model
        got = dense.unnormalised(images)
    assert tokens.shape[1] == 1 + 10 * 10
    assert got.shape == (2, 64, 10, 10)
    torch.testing.assert_close(got[:, :, 3, 7], tokens[:, 1 + 3 * 10 + 7])


def test_any_size_gives_unit_features(weights) -> None:
    dense = DenseDino(SMALL, weights[SMALL]).eval()
    with torch.no_grad():
        features = dense(torch.rand(1, 3, 40, 100))
    assert (dense.patch, dense.width, dense.native) == ((16, 16), 64, (10, 10))
    assert features.shape == (1, 64, 2, 6)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1, 2, 6))
    with pytest.raises(ImageError, match="smaller than a patch"):
        dense(torch.rand(1, 3, 4, 100))


def test_weights_are_those_of_the_file(weights) -> None:
    first, again = (DenseDino(SMALL, weights[SMALL]).model.state_dict() for _ in range(2))
    assert all(torch.equal(value, again[key]) for key, value in first.items())


def test_missing_weights_name_the_hub_and_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = import_timm()

    def create_model(name: str, pretrained: bool, **options: Any) -> Any:
        if pretrained:
            raise OSError("no network")
        return timm.create_model(name, pretrained=False, **options)

    monkeypatch.setattr(dinov2, "import_timm", lambda: SimpleNamespace(create_model=create_model))
    with pytest.raises(CheckpointError, match=r"no network.*--weights hub.*--weights /path"):
        DenseDino(SMALL)
    with pytest.raises(CheckpointError, match=r"timm/test_vit\.r160_in1k"):
        DenseDino(SMALL, "/no/such/file.safetensors")


def test_weights_of_another_model_are_refused(weights, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not hold the weights of 'test_vit2'"):
        DenseDino(REGISTERS, weights[SMALL])
    save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="tensors are missing or of another shape"):
        DenseDino(SMALL, str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", ["resnet10t", "no_such_model"])
def test_models_without_patches_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="expected a ViT of timm such as vit_small_patch14"):
        DenseDino(name)


def test_a_vit_behind_convolutions_is_refused() -> None:
    with pytest.raises(CheckpointError, match="a ViT whose patches are pixels"):
        DenseDino("vit_tiny_r_s16_p8_224")
