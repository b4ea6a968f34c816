"""Teachers by name."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.dense import fingerprint, knows_texts, load_dense, settled
from distillnerf_ros.teachers.open_clip import DenseClip, import_open_clip
from distillnerf_ros.teachers.pca import WEIGHTS_FOLDER
from distillnerf_ros.teachers.sliding import Sliding

SLIDING_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2,
        "mlp_ratio": 2.0,
    },
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny CLIP with a class token; its weights are in a local file."""
    folder = tmp_path_factory.mktemp("clip")
    open_clip = import_open_clip()
    (folder / "sliding_clip.json").write_text(json.dumps(SLIDING_CONFIG))
    open_clip.add_model_config(folder / "sliding_clip.json")
    torch.manual_seed(3)
    save_file(open_clip.create_model("sliding_clip").state_dict(), folder / "weights.safetensors")
    return f"sliding_clip:{folder / 'weights.safetensors'}"


def test_a_clip_looks_through_windows_of_its_native_size(clip: str) -> None:
    dense = load_dense(clip)
    assert isinstance(dense, Sliding)
    assert not any(p.requires_grad for p in dense.parameters())
    plain = DenseClip(clip).eval()
    small, large = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 48, 80)
    with torch.no_grad():
        torch.testing.assert_close(dense(small), plain(small))
        corner = plain.unnormalised(large[..., :32, :32])[..., 0, 0]
        torch.testing.assert_close(dense.unnormalised(large)[..., 0, 0], corner)
        assert dense(large).shape == (1, 16, 6, 10)
        assert (dense(large) - plain(large)).abs().max() > 1e-3


def test_the_shipped_clip_looks_at_pictures_as_a_whole() -> None:
    dense = load_dense("world_clip")
    images = torch.rand(1, 3, 256, 448)
    with torch.no_grad():
        torch.testing.assert_close(dense(images), DenseClip.embedded()(images))


def test_the_shipped_architecture_looks_the_same_with_weights_of_a_file() -> None:
    shipped = load_dense("world_clip")
    named = load_dense(f"world_clip:{WEIGHTS_FOLDER / 'world_clip.safetensors'}")
    images = torch.rand(1, 3, 256, 448)
    with torch.no_grad():
        torch.testing.assert_close(named(images), shipped(images))
    # Of the weights alone, so that folders of features that are there stay valid.
    weights = b"".join(v.contiguous().numpy().tobytes() for v in shipped.state_dict().values())
    assert fingerprint(named) == fingerprint(shipped) == hashlib.sha1(weights).hexdigest()[:12]


def test_who_knows_texts() -> None:
    assert knows_texts("world_clip")
    assert knows_texts("ViT-B-16:some_tag")
    assert not knows_texts("dinov2:vit_small_patch14_dinov2:hub")


@pytest.mark.parametrize("name", ["dinov2:", "dinov2:vit_small_patch14_dinov2", "dinov2::hub"])
def test_a_name_without_weights_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="names no weights; expected dinov2:NAME:hub"):
        load_dense(name)


def test_files_are_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.safetensors").write_bytes(b"")
    assert settled("NAME:w.safetensors") == f"NAME:{tmp_path / 'w.safetensors'}"
    assert settled("dinov2:N:w.safetensors") == f"dinov2:N:{tmp_path / 'w.safetensors'}"
    assert settled("local-dir:./folder") == f"local-dir:{tmp_path / 'folder'}"
    assert settled("NAME:tag") == "NAME:tag"
    assert settled("world_clip") == "world_clip"


def test_a_fingerprint_tells_weights_apart() -> None:
    torch.manual_seed(0)
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    before = fingerprint(first)
    assert before == fingerprint(first) != fingerprint(second)
    second.load_state_dict(first.state_dict())
    assert fingerprint(second) == before
    with torch.no_grad():
        second.bias[1] += 1e-7
    assert fingerprint(second) != before


def test_a_fingerprint_tells_activations_apart(clip: str) -> None:
    """With the same weights features are others."""
    plain, quick = load_dense(clip), load_dense(clip)
    for block in quick.dense.visual.transformer.resblocks:
        block.mlp.gelu = import_open_clip().model.QuickGELU()
    assert fingerprint(plain) != fingerprint(quick)
