"""Stage 1: coarse depth by volume rendering along each pixel's own ray (paper eq. 1-2)."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.cameras.visibility import Told
from distillnerf_ros.config import CoarseDepthConfig
from distillnerf_ros.render.compositing import ray_weights
from distillnerf_ros.render.depth_fusion import log_moments
from distillnerf_ros.voxels.contraction import contracted_depths
from distillnerf_ros.voxels.field import density_from_logit


@dataclasses.dataclass(frozen=True)
class CoarseDepth:
    """Coarse depth of every feature pixel.

    Attributes:
        depth_m: (N, h, w) expected depth.
        opacity: (N, h, w) share of the ray that hits something; low for sky.
        features: (N, C, h, w) the map that the densities were read from.
        weights: (N, h, w, D) share of each depth bin in what the pixel sees.
    """

    depth_m: Float[Tensor, "N h w"]
    opacity: Float[Tensor, "N h w"]
    features: Float[Tensor, "N C h w"]
    weights: Float[Tensor, "N h w D"]


def depth_bin_edges(config: CoarseDepthConfig, alpha: float) -> Float[Tensor, " D_plus_1"]:
    """Bin edges: uniform in m or ln m up to ``inner_m``, then uniform in contracted depth."""
    ends_m = torch.tensor([config.near_m, config.inner_m])
    first, last = (ends_m.log() if config.inner_log else ends_m).tolist()
    inner = torch.linspace(first, last, config.inner_bins + 1)
    inner = inner.exp() if config.inner_log else inner
    outer = contracted_depths(
        config.inner_m, config.inner_m, config.far_m, alpha, config.outer_bins + 1
    )
    return torch.cat([inner, outer[1:]])


class CoarseDepthNet(nn.Module):
    """Predicts a density per depth bin and integrates it."""

    edges_m: Tensor

    def __init__(self, config: CoarseDepthConfig, channels: int, alpha: float) -> None:
        super().__init__()
        edges = depth_bin_edges(config, alpha)
        self.register_buffer("edges_m", edges, persistent=False)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)
        )
        self.logits = nn.Conv2d(2 * channels, len(edges) - 1, 1)
        assert self.logits.bias is not None
        nn.init.constant_(self.logits.bias, -2.0)  # start nearly transparent: 5 % per metre

    @property
    def middles_m(self) -> Float[Tensor, " D"]:
        """Middles of the bins."""
        return (self.edges_m[1:] + self.edges_m[:-1]) / 2

    def forward(self, features: Float[Tensor, "N C h w"]) -> CoarseDepth:
        """Expected depth per pixel, normalised by opacity."""
        logits = self.logits(self.mix(features)).permute(0, 2, 3, 1).float()
        weights = ray_weights(density_from_logit(logits), self.edges_m.diff())
        opacity = weights.sum(dim=-1)
        depth = (weights * self.middles_m).sum(dim=-1) / opacity.clamp(min=1e-6)
        depth = depth.clamp(self.edges_m[0], self.edges_m[-1])
        return CoarseDepth(depth, opacity, features, weights)

    @torch.no_grad()
    def median_m(self, coarse: CoarseDepth) -> Float[Tensor, "N h w"]:
        """Median depth of each pixel's weights over depth.

        It minimises the expected relative error sum_i w_i |d - d_i| / d_i, where the expected
        depth is drawn far behind a near thing by a little doubt.
        """
        share = coarse.weights / self.middles_m
        reached = share.cumsum(dim=-1)
        half = reached[..., -1:] / 2
        place = (reached >= half).to(torch.uint8).argmax(dim=-1, keepdim=True)
        own = share.gather(-1, place)
        within = (half - reached.gather(-1, place) + own) / own.clamp(min=1e-12)
        near, width = self.edges_m[place], self.edges_m.diff()[place]
        return (near + within.clamp(0, 1) * width)[..., 0]


@torch.no_grad()
def told_by(
    coarse: CoarseDepth,
    depth_m: Float[Tensor, "N h w"],
    middles_m: Float[Tensor, " D"],
    features: Float[Tensor, "N h w C"],
) -> Told:
    """What a picture alone says of its pixels.

    Args:
        coarse: stage 1.
        depth_m: its depth in metres, infinite for sky.
        middles_m: middles of its bins.
        features: of the same pixels.
    """
    mean, deviation = log_moments(coarse.weights, middles_m)
    rows = depth_m.shape[1]
    down = (torch.arange(rows, device=depth_m.device) / rows - 0.5)[:, None].expand_as(depth_m)
    return Told(depth_m, torch.stack([mean, deviation, coarse.opacity, down], dim=-1), features)
