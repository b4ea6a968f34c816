"""Image features: a residual network with a top-down path, shared by both depth stages."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.cameras.rays import exactly
from distillnerf_ros.config import BackboneConfig
from distillnerf_ros.lift.cross_view import CrossView
from distillnerf_ros.lift.encoder import TimmEncoder

RAY_CHANNELS = 4
"""Channels of :func:`ray_channels`."""


@exactly
def ray_channels(rig: CameraRig, size: tuple[int, int]) -> Float[Tensor, "N 4 h w"]:
    """Per-pixel geometry that makes metric depth learnable on any rig.

    The channels are the inverse depth at which the pixel's ray meets the flat ground z = 0 (0
    above the horizon), the elevation of the ray, and the two tangents from the optical axis.
    A focal length is thus seen as what it does to the rays, not as a number.
    """
    rows, cols = size
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
    down = (-rays.directions[:, 2]).clamp(min=0)
    height = rays.origins[:, 2].clamp(min=0.3)
    optical = torch.einsum(
        "nrc,npr->npc",
        rig.ego_from_camera[:, :3, :3],
        rays.directions.reshape(len(rig.names), -1, 3),
    )
    channels = torch.stack(
        [
            (down / height * 5).reshape(-1),
            rays.directions[:, 2] / rays.lengths,
            optical[..., 0].reshape(-1),
            optical[..., 1].reshape(-1),
        ]
    )
    return channels.reshape(RAY_CHANNELS, len(rig.names), rows, cols).transpose(0, 1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        )

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        """Apply the block."""
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


class Backbone(nn.Module):
    """Feature pyramid: bottom-up residual stages, then a top-down path to the stem's stride."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        first, width = config.channels[0], config.feature_channels
        self.stem = nn.Sequential(
            nn.Conv2d(3 + RAY_CHANNELS, first, 3, config.stem_stride, 1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        size = (config.image_height_px, config.image_width_px)
        self.encoder = TimmEncoder(config.encoder, size) if config.encoder else None
        own = 1 if self.encoder else len(config.channels)
        self.stages = nn.ModuleList()
        previous = first
        for level, (channels, blocks) in enumerate(
            zip(config.channels[:own], config.blocks[:own], strict=True)
        ):
            stage = [ResidualBlock(previous, channels, 1 if level == 0 else 2)]
            stage += [ResidualBlock(channels, channels, 1) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*stage))
            previous = channels
        widths = [*config.channels[:own], *(self.encoder.channels if self.encoder else ())]
        blocks = config.cross_view_blocks
        self.cross_view = CrossView(widths[-2], blocks) if blocks else None
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in widths)
        self.context = nn.Linear(widths[-1], width)
        self.merges = nn.ModuleList(self._merge(width) for _ in widths[1:])
        self.out = nn.Sequential(
            nn.Conv2d(width + 3 + RAY_CHANNELS, width, 3, padding=1), nn.ReLU(inplace=True)
        )

    @staticmethod
    def _merge(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )

    def forward(self, rig: CameraRig) -> tuple[Float[Tensor, "N C h w"], Float[Tensor, " C"]]:
        """Features at the stem's stride, and one context vector of the whole glance."""
        rays = ray_channels(rig, rig.image_size)
        given = torch.cat([rig.images * 2 - 1, rays], dim=1)
        x = self.stem(given.contiguous(memory_format=torch.channels_last))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        if self.encoder is not None:
            levels += self.encoder(rig.images)
        if self.cross_view is not None:
            levels[-2] = self.cross_view(levels[-2], rig)
        context = self.context(levels[-1].mean(dim=(0, 2, 3)))
        out = self.laterals[-1](levels[-1]) + context[:, None, None]
        for level in range(len(levels) - 2, -1, -1):
            out = F.interpolate(out, levels[level].shape[2:], mode="bilinear", align_corners=False)
            out = self.merges[level](out + self.laterals[level](levels[level]))
        # The input once more, so that fine colour need not pass through the pyramid.
        given = F.interpolate(given, out.shape[2:], mode="area")
        return self.out(torch.cat([out, given], dim=1)), context
