"""A grown CLIP says what the one it grew from said."""

import pytest
import torch

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.open_clip import import_open_clip
from distillnerf_ros.training.growth import grown


def model(layers: int, mlp_ratio: float, width: int = 16):
    import_open_clip()
    from open_clip import CLIP

    vision = {
        "image_size": [16, 32], "patch_size": 8, "width": width, "head_width": 8,
        "layers": layers, "mlp_ratio": mlp_ratio, "pool_type": "avg",
    }  # fmt: skip
    text = {"context_length": 8, "vocab_size": 32, "width": 8, "heads": 2, "layers": 1}
    return CLIP(12, vision, text)


def test_more_layers_and_hidden_units_change_nothing_at_first() -> None:
    torch.manual_seed(0)
    small, large = model(2, 1.5).eval(), model(5, 4.0).eval()
    large.load_state_dict(grown(small.state_dict(), large.state_dict()))
    images, texts = torch.rand(3, 3, 16, 32), torch.tensor([[1, 5, 31, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        torch.testing.assert_close(large.encode_image(images), small.encode_image(images))
        torch.testing.assert_close(large.encode_text(texts), small.encode_text(texts))


def test_what_was_added_learns() -> None:
    torch.manual_seed(0)
    small, large = model(2, 1.5), model(5, 4.0)
    large.load_state_dict(grown(small.state_dict(), large.state_dict()))
    large.encode_image(torch.rand(3, 3, 16, 32)).square().sum().backward()
    for block in large.visual.transformer.resblocks:
        assert (block.mlp.c_proj.weight.grad != 0).any(dim=0).all()
        assert block.attn.out_proj.weight.grad.any()


def test_the_same_size_is_a_copy() -> None:
    small, large = model(2, 2.0).state_dict(), model(2, 2.0).state_dict()
    for name, value in grown(small, large).items():
        assert torch.equal(value, small[name])


@pytest.mark.parametrize(
    ("layers", "width", "message"),
    [(1, 16, "2 layers, the model 1"), (2, 24, r"\(16,\) in .* \(24,\)")],
)
def test_says_what_cannot_grow(layers: int, width: int, message: str) -> None:
    small, large = model(2, 2.0).state_dict(), model(layers, 2.0, width).state_dict()
    with pytest.raises(CheckpointError, match=message):
        grown(small, large)
