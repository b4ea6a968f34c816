"""The 2D decoder that turns rendered features into colour (paper sec. 3.1, worth 2.7 dB)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.config import RenderConfig


class RgbDecoder(nn.Module):
    """3x3 convolutions at ray resolution, one upsampling, one 3x3 convolution to colour.

    A linear read-out of the same features is added, so that colour exists before the
    convolutions have learned anything. Where surfaces carry colour (``config.paint``), the
    convolutions decide how far to believe it.
    """

    def __init__(self, config: RenderConfig, latent: int) -> None:
        super().__init__()
        width = config.decoder_channels
        self.scale = config.decoder_scale
        layers: list[nn.Module] = [nn.Conv2d(latent, width, 3, padding=1)]
        for _ in range(config.decoder_layers):
            layers += [
                nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(width, width, 3, padding=1),
                nn.GroupNorm(8, width),
            ]
        self.body = nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))
        self.up = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 3, 3, padding=1)
        self.painted = nn.Conv2d(4, width, 3, padding=1) if config.paint else None
        self.belief = nn.Conv2d(width, 1, 3, padding=1) if config.paint else None

    def forward(
        self,
        latent: Float[Tensor, "N C h w"],
        rgb_logits: Float[Tensor, "N 3 h w"],
        surface: Float[Tensor, "N 4 H W"] | None = None,
    ) -> Float[Tensor, "N 3 H W"]:
        """Decode rendered latents.

        Args:
            latent: composited along rays.
            rgb_logits: its linear read-out.
            surface: colour of the surface in each pixel and whether it is known; with
                ``config.paint``.
        """
        x = self.body(latent.contiguous(memory_format=torch.channels_last))
        x = self.up(F.interpolate(x, scale_factor=self.scale, mode="nearest"))
        if surface is not None and self.painted is not None:
            x = x + self.painted(surface.contiguous(memory_format=torch.channels_last))
        x = F.leaky_relu(x, 0.2)
        rgb = torch.sigmoid(enlarged(rgb_logits, self.scale) + self.out(x))
        if surface is None or self.belief is None:
            return rgb
        belief = torch.sigmoid(self.belief(x)) * surface[:, 3:]
        return rgb + belief * (surface[:, :3] - rgb)


def enlarged(maps: Float[Tensor, "N C h w"], scale: int) -> Float[Tensor, "N C H W"]:
    """Maps at image resolution, bilinear."""
    return F.interpolate(maps, scale_factor=scale, mode="bilinear", align_corners=False)
