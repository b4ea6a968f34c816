"""OpenCLIP towers: dense features against the model's own embedding, and clear refusals."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from distillnerf_ros.errors import CheckpointError, ImageError, QueryError
from distillnerf_ros.teachers.open_clip import (
    DenseClip,
    TextTower,
    embedded_config,
    import_open_clip,
    load_clip,
)

CLASS_TOKEN_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "head_width": 16,
        "layers": 2,
        "mlp_ratio": 2.0,
    },
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def averaging() -> nn.Module:
    torch.manual_seed(0)
    return load_clip(pretrained=False)[0]


@pytest.fixture(scope="module")
def class_token(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with a class token and weights in a local file, as a user would name it."""
    folder = tmp_path_factory.mktemp("clip")
    open_clip = import_open_clip()
    (folder / "class_token.json").write_text(json.dumps(CLASS_TOKEN_CONFIG))
    open_clip.add_model_config(folder / "class_token.json")
    torch.manual_seed(1)
    model = open_clip.create_model("class_token")
    save_file(model.state_dict(), folder / "weights.safetensors")
    return f"class_token:{folder / 'weights.safetensors'}"


def test_mean_of_dense_features_is_the_models_embedding(averaging: nn.Module) -> None:
    dense = DenseClip.of(averaging.visual)
    images = torch.rand(2, 3, *averaging.visual.image_size)
    mean, std = (torch.tensor(v)[:, None, None] for v in _statistics(averaging))
    with torch.no_grad():
        expected = averaging.encode_image((images - mean) / std)
        torch.testing.assert_close(dense.unnormalised(images).mean((2, 3)), expected)


def _statistics(model: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return model.visual.image_mean, model.visual.image_std


@pytest.mark.parametrize(
    ("size", "expected"), [((128, 224), (16, 28)), ((225, 400), (28, 50)), ((8, 20), (1, 2))]
)
def test_any_size_gives_unit_features(
    averaging: nn.Module, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    with torch.no_grad():
        features = DenseClip.of(averaging.visual)(torch.rand(1, 3, *size))
    assert features.shape == (1, 64, *expected)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1, *expected))


def test_batch_equals_one_by_one(averaging: nn.Module) -> None:
    dense = DenseClip.of(averaging.visual)
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        single = torch.cat([dense(image[None]) for image in images])
        torch.testing.assert_close(dense(images), single, atol=1e-5, rtol=1e-4)


def test_image_smaller_than_a_patch_is_refused(averaging: nn.Module) -> None:
    with pytest.raises(ImageError, match="smaller than a patch"):
        DenseClip.of(averaging.visual)(torch.rand(1, 3, 2, 64))


def test_value_projection_is_attention_of_each_patch_to_itself(class_token: str) -> None:
    dense = DenseClip(class_token)
    images = torch.rand(2, 3, 32, 32)
    visual, mean, std = dense.visual, dense._mean, dense._std
    with torch.no_grad():
        tokens = visual._embeds((images - mean) / std)
        first, last = visual.transformer.resblocks
        alone = torch.full((17, 17), float("-inf")).fill_diagonal_(0.0)
        tokens = last(first(tokens), attn_mask=alone)[:, 1:]
        expected = visual.ln_post(tokens) @ visual.proj
        got = dense.unnormalised(images).flatten(2).transpose(1, 2)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_text_tower_of_a_local_file(class_token: str) -> None:
    tower = TextTower(class_token)
    vectors = tower(["a bus", "a tree", " a bus "])
    assert vectors.shape == (3, 16)
    assert tower.width == 16
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(vectors[0], vectors[2])
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3


@pytest.mark.parametrize("prompts", [[], ["a bus", " "]])
def test_empty_prompts_are_refused(class_token: str, prompts: list[str]) -> None:
    with pytest.raises(QueryError, match="none of them empty"):
        TextTower(class_token)(prompts)


@pytest.mark.parametrize(
    "clip",
    [
        "ViT-B-16",
        "no_such_model:some_tag",
        "ViT-B-16:no_such_tag",
        "class_token:/no/such/file.safetensors",
        "local-dir:/no/such/folder",
    ],
)
def test_weights_that_cannot_be_had_name_hub_and_file(class_token: str, clip: str) -> None:
    with pytest.raises(CheckpointError, match=r"NAME:TAG.*NAME:/path") as caught:
        load_clip(clip)
    assert clip in str(caught.value)


@pytest.mark.parametrize(("tag", "activation"), [("openai", "QuickGELU"), ("laion", "GELU")])
def test_a_tag_runs_with_the_activation_it_was_trained_with(
    class_token: str, monkeypatch: pytest.MonkeyPatch, tag: str, activation: str
) -> None:
    """open_clip only warns, whose features are others then."""
    from open_clip import factory, pretrained

    name, _, file = class_token.partition(":")
    tags = {"openai": {"quick_gelu": True}, "laion": {"quick_gelu": False}}
    monkeypatch.setitem(pretrained._PRETRAINED, name, tags)
    monkeypatch.setattr(factory, "download_pretrained", lambda *_, **__: file)
    model, _ = load_clip(f"{name}:{tag}")
    for half in (model, model.visual):
        assert type(half.transformer.resblocks[0].mlp.gelu).__name__ == activation


def test_a_model_that_needs_another_package_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SigLIP reads with a tokenizer of transformers."""
    text = {**CLASS_TOKEN_CONFIG["text_cfg"], "hf_tokenizer_name": "some/tokenizer"}
    (tmp_path / "reader.json").write_text(json.dumps({**CLASS_TOKEN_CONFIG, "text_cfg": text}))
    import_open_clip().add_model_config(tmp_path / "reader.json")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CheckpointError, match=r"needs 'transformers'.* pip install transformers"):
        load_clip("reader:none", pretrained=False)


def test_towers_without_patches_are_refused(averaging: nn.Module) -> None:
    with pytest.raises(CheckpointError, match="open_clip ViT"):
        DenseClip.of(nn.Linear(2, 2))


def test_shipped_config_fits_its_size_limit() -> None:
    assert embedded_config()["embed_dim"] == 64
    parameters = sum(p.numel() for p in load_clip(pretrained=False)[0].parameters())
    assert parameters * 2 < 11e6  # bytes as fp16
