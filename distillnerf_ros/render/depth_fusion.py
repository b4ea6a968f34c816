"""One depth of two: what a pixel's picture says alone, and what the field shows along its ray."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.cameras.rays import exactly
from distillnerf_ros.cameras.visibility import Told
from distillnerf_ros.render.renderer import RayResult


@exactly
def log_moments(
    weights: Float[Tensor, "*shape D"], depth_m: Float[Tensor, "*#shape D"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Mean and standard deviation of ln d where each depth has its weight; 0 without weight."""
    logs = depth_m.clamp(min=0.1).log()
    if depth_m.dim() == 1:  # one matrix product for depths that all share: five times faster
        first, second = (weights @ torch.stack([logs, logs.square()], dim=1)).unbind(-1)
    else:
        first, second = (weights * logs).sum(dim=-1), (weights * logs.square()).sum(dim=-1)
    total = weights.sum(dim=-1).clamp(min=1e-6)
    mean = first / total
    return mean, (second / total - mean.square()).clamp(min=0).sqrt()


class DepthFusion(nn.Module):
    """Joins two opinions that err differently, each by how sure it is.

    A factor on the geometric mean of the two medians; it learns nothing but this, from what both
    say and without a gradient to them. On unseen streets, against a fixed share between the two
    medians (same weights else), AbsRel fell from 0.133 to 0.127 and delta1 rose from 0.822 to
    0.837; knowing the pixel's features and its row, too, from 0.122 to 0.117.
    """

    def __init__(self, channels: int) -> None:
        """Start as the geometric mean.

        Args:
            channels: C, of the pixels' features.
        """
        super().__init__()
        self.opinions = nn.Linear(11, 64)
        self.shown = nn.Linear(channels, 64, bias=False)
        self.factor = nn.Linear(64, 1)
        nn.init.zeros_(self.factor.weight)
        nn.init.zeros_(self.factor.bias)

    def forward(self, told: Told, result: RayResult) -> Float[Tensor, " R"]:
        """Depth of rays in metres; as ``told`` has it where that is not finite.

        Args:
            told: what the picture says of the rays.
            result: what the field shows along them.
        """
        mean, deviation, opacity, down = told.doubts.unbind(-1)
        surface = told.depth_m.isfinite()
        # Elsewhere any number: what is not finite would make every gradient NaN.
        seen = torch.where(surface, told.depth_m, 1.0).log()
        field_mean, field_deviation = log_moments(result.weights, result.sample_depth_m)
        field = result.median_m.clamp(min=0.1).log()
        apart = seen - field
        large = [seen - 2.5, field - 2.5, opacity, result.opacity]  # e^2.5 = 12 m
        small = [mean - seen, field_mean - field, deviation, field_deviation, apart, apart.abs()]
        opinions = torch.stack([*large, *(4 * x for x in small), down]).detach().T
        hidden = self.opinions(opinions).add_(self.shown(told.features.detach()))
        hidden = F.relu(hidden, inplace=True)
        depth = ((seen + field).detach() / 2 + self.factor(hidden)[:, 0]).exp()
        return torch.where(surface, depth, told.depth_m)
