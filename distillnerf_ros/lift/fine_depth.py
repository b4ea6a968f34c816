"""Stage 2: depth candidates around the coarse depth, with density and features each."""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.config import FineDepthConfig
from distillnerf_ros.lift.coarse_depth import CoarseDepth


@dataclasses.dataclass(frozen=True)
class FineDepth:
    """Candidates of every feature pixel.

    Attributes:
        depth_m: (N, h, w, K) candidate depths.
        probability: (N, h, w, K) that a surface lies at the candidate.
        features: (N, h, w, C) image feature that the candidates share.
    """

    depth_m: Float[Tensor, "N h w K"]
    probability: Float[Tensor, "N h w K"]
    features: Float[Tensor, "N h w C"]


def candidate_depths(
    coarse_m: Float[Tensor, "*shape"], config: FineDepthConfig
) -> Float[Tensor, "*shape K"]:
    """Evenly spaced candidates centred on the coarse depth (paper appendix).

    The step is ``clamp(step_fraction * d, step_min_m, step_max_m)``.
    """
    step = (config.step_fraction * coarse_m).clamp(config.step_min_m, config.step_max_m)
    offsets = torch.arange(config.candidates, device=coarse_m.device) - config.candidates // 2
    return (coarse_m[..., None] + offsets * step[..., None]).clamp(min=0.1)


class DepthTaps(nn.Module):
    """A convolution of three taps along the candidates (the paper's 3x1x1 Conv3d)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * in_channels, out_channels)

    def forward(self, x: Float[Tensor, "*shape K C"]) -> Float[Tensor, "*shape K D"]:
        """Convolve, zero beyond the first and last candidate.

        Maps every candidate once and shifts the few results: five times faster than widening it
        by its neighbours first.
        """
        out, channels = self.linear.out_features, x.shape[-1]
        taps = self.linear.weight.reshape(out, 3, channels).transpose(0, 1)
        before, own, after = F.linear(x, taps.reshape(3 * out, channels)).split(out, dim=-1)
        from_before = F.pad(before[..., :-1, :], (0, 0, 1, 0))
        from_after = F.pad(after[..., 1:, :], (0, 0, 0, 1))
        return own + self.linear.bias + from_before + from_after


class FineDepthNet(nn.Module):
    """Scores every candidate by its own depth and by the image (paper sec. 3.1, stage 2)."""

    def __init__(self, config: FineDepthConfig, channels: int, out_channels: int) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_channels
        self.mix = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)
        )
        self.feature = nn.Conv2d(2 * channels, out_channels, 1)
        self.depth_feature = nn.Conv2d(2 * channels, hidden, 1)
        self.embed = nn.Sequential(nn.Linear(1, hidden), nn.LayerNorm(hidden))
        quarter = max(hidden // 4, 4)
        self.taps = nn.Sequential(
            DepthTaps(hidden, quarter),
            nn.ReLU(),
            DepthTaps(quarter, quarter),
            nn.ReLU(),
            DepthTaps(quarter, 1),
        )

    def forward(self, coarse: CoarseDepth) -> FineDepth:
        """Candidates around the coarse depth; positions carry no gradient (released code)."""
        mixed = self.mix(coarse.features)
        features = 5 * torch.tanh(self.feature(mixed).float() / 5).permute(0, 2, 3, 1)
        candidates = candidate_depths(coarse.depth_m.detach(), self.config)
        embedding = self.embed(candidates.log()[..., None])
        logits = self.taps(embedding * self.depth_feature(mixed).permute(0, 2, 3, 1)[..., None, :])
        return FineDepth(candidates, torch.sigmoid(logits[..., 0].float()), features)
