"""Cameras that look at each other: attention over the coarse features of the whole glance."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.cameras.rays import exactly
from distillnerf_ros.errors import ConfigError

HEAD_CHANNELS = 32
OCTAVES = 4
"""Frequencies of the harmonic embedding of a ray's direction: 1, 2, 4 and 8 rad per unit."""


class CrossView(nn.Module):
    """Lets every place of every picture look at every other one, told apart by their rays.

    A thing that fills one picture is often whole in the next, and how far off a crown or a roof is
    shows where it meets the ground. The paper has no such stage. It starts as the identity: the
    last map is zero, so that trained weights can be gone on from.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        """Make blocks with a head for every 32 channels.

        Raises:
            ConfigError: the channels are no multiple of that.
        """
        super().__init__()
        if channels % HEAD_CHANNELS:
            raise ConfigError(
                f"backbone.cross_view_blocks={blocks} needs maps of a multiple of {HEAD_CHANNELS} "
                f"channels, the second coarsest has {channels}; change backbone.channels, or set "
                "the blocks to 0"
            )
        self.place = nn.Linear(6 + 6 * OCTAVES, channels)
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    channels,
                    channels // HEAD_CHANNELS,
                    2 * channels,
                    dropout=0.0,
                    activation="gelu",
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(blocks)
            )
        )
        last = nn.Linear(channels, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.out = nn.Sequential(nn.LayerNorm(channels), last)

    def forward(self, maps: Float[Tensor, "N C h w"], rig: CameraRig) -> Float[Tensor, "N C h w"]:
        """Maps of the rig's cameras, each with what it learned from all of them."""
        count, channels, rows, cols = maps.shape
        tokens = maps.permute(0, 2, 3, 1).reshape(1, -1, channels)
        tokens = self.blocks(tokens + self.place(ray_places(rig, (rows, cols))))
        learned = self.out(tokens).reshape(count, rows, cols, channels)
        return maps + learned.permute(0, 3, 1, 2)


@exactly
def ray_places(rig: CameraRig, size: tuple[int, int]) -> Float[Tensor, "R P"]:
    """Origin in ego metres, unit direction, and its sines and cosines at a few frequencies."""
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
    units = rays.directions / rays.lengths[:, None]
    waves = [units * 2**octave for octave in range(OCTAVES)]
    return torch.cat(
        [rays.origins, units, *(w.sin() for w in waves), *(w.cos() for w in waves)], dim=-1
    )
