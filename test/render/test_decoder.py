"""The decoder: sizes, range, and views that do not look at each other."""

import pytest
import torch

from distillnerf_ros.config import RenderConfig
from distillnerf_ros.render.decoder import RgbDecoder


def decoder(scale: int = 2) -> RgbDecoder:
    torch.manual_seed(0)
    return RgbDecoder(RenderConfig(decoder_channels=16, decoder_layers=2, decoder_scale=scale), 5)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_size_and_range(scale):
    rgb = decoder(scale)(torch.randn(2, 5, 6, 10), torch.randn(2, 3, 6, 10))
    assert rgb.shape == (2, 3, 6 * scale, 10 * scale)
    assert ((rgb > 0) & (rgb < 1)).all()


def test_views_are_decoded_one_by_one():
    latent, logits = torch.randn(3, 5, 6, 10), torch.randn(3, 3, 6, 10)
    together = decoder()(latent, logits)
    for view in range(3):
        alone = decoder()(latent[view : view + 1], logits[view : view + 1])
        torch.testing.assert_close(together[view : view + 1], alone, atol=1e-5, rtol=1e-5)


def test_the_linear_read_out_is_the_colour_before_the_convolutions_have_learned():
    untaught = decoder()
    torch.nn.init.zeros_(untaught.out.weight)
    torch.nn.init.zeros_(untaught.out.bias)
    logits = torch.full((1, 3, 4, 4), 1.5)
    rgb = untaught(torch.randn(1, 5, 4, 4), logits)
    torch.testing.assert_close(rgb, torch.sigmoid(torch.full((1, 3, 8, 8), 1.5)))
