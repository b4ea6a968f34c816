"""The decoder: sizes, range, and views that do not look at each other."""

import pytest
import torch

from distillnerf_ros.config import RenderConfig
from distillnerf_ros.render.decoder import RgbDecoder


def decoder(scale: int = 2, paint: bool = False) -> RgbDecoder:
    torch.manual_seed(0)
    config = RenderConfig(decoder_channels=16, decoder_layers=2, decoder_scale=scale, paint=paint)
    return RgbDecoder(config, 5)


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


def test_colour_of_surfaces_is_believed_where_it_is_known():
    sure = decoder(paint=True)
    torch.nn.init.zeros_(sure.belief.weight)
    torch.nn.init.constant_(sure.belief.bias, 50.0)
    surface = torch.rand(1, 4, 8, 8)
    surface[:, 3] = torch.rand(1, 8, 8) > 0.5
    latent, logits = torch.randn(1, 5, 4, 4), torch.randn(1, 3, 4, 4)
    rgb = sure(latent, logits, surface)
    known = surface[:, 3:].bool().expand(-1, 3, -1, -1)
    torch.testing.assert_close(rgb[known], surface[:, :3][known])
    torch.nn.init.constant_(sure.belief.bias, -50.0)
    torch.testing.assert_close(rgb[~known], sure(latent, logits, surface)[~known])
