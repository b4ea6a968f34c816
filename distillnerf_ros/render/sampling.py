"""Where to look along a ray: an even first pass, then samples where the field is dense."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def interval_probability(
    weights: Float[Tensor, "R S"], spread: float = 0.01
) -> Float[Tensor, "R S"]:
    """Turn the first pass's weights into a distribution to sample from.

    Each interval takes the larger of its neighbours' weights (a surface may lie just across the
    border) and a small even share (a surface may have been missed).
    """
    blurred = F.max_pool1d(weights[:, None], 3, stride=1, padding=1)[:, 0]
    blurred = blurred + spread / weights.shape[-1]
    return blurred / blurred.sum(dim=-1, keepdim=True)


def importance_edges(
    edges_m: Float[Tensor, " S_plus_1"], probability: Float[Tensor, "R S"], count: int
) -> Float[Tensor, "R count_plus_1"]:
    """Edges of ``count`` intervals that each hold the same probability (inverse CDF).

    Args:
        edges_m: edges of the first pass, shared by all rays.
        probability: (R, S) of each first-pass interval; rows sum to 1.
        count: intervals wanted.
    """
    cdf = torch.cat([torch.zeros_like(probability[:, :1]), probability.cumsum(dim=-1)], dim=-1)
    levels = torch.linspace(0, 1, count + 1, device=edges_m.device, dtype=edges_m.dtype)
    levels = levels.expand(len(cdf), -1).contiguous()
    upper = torch.searchsorted(cdf, levels, right=True).clamp(1, len(edges_m) - 1)
    lower_cdf, upper_cdf = cdf.gather(1, upper - 1), cdf.gather(1, upper)
    share = ((levels - lower_cdf) / (upper_cdf - lower_cdf).clamp(min=1e-8)).clamp(0, 1)
    return edges_m[upper - 1] + share * (edges_m[upper] - edges_m[upper - 1])
