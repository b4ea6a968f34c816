"""Losses that put regions of images and texts into one space."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.training.phrases import FALSE, TRUE

GENERIC_COSINE = 0.3
"""Cosine every region keeps to phrases that fit anything: between true (near 1) and false (<= 0),
so that LERF's negatives part the present from the absent."""

TRUE_COSINE = 0.75
FALSE_COSINE = 0.0


def multi_positive_nce(
    cosines: Float[Tensor, "S Q"], truth: Int[Tensor, "S Q"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """InfoNCE in both directions where a row may have many true columns.

    Each true pair competes with the false pairs of its row, and of its column; other true pairs
    and pairs of unknown truth are left out of the denominator.

    Args:
        cosines: similarity of S regions and Q texts.
        truth: TRUE, FALSE or UNKNOWN for each pair.
        scale: inverse temperature.
    """
    logits = scale * cosines
    true, false = truth == TRUE, truth == FALSE
    against = logits.masked_fill(~false, float("-inf"))
    total = logits.new_zeros(())
    for dim in (0, 1):
        others = torch.logsumexp(against, dim=dim, keepdim=True)
        loss = F.softplus(others - logits) * true
        # Every text (or region) counts alike, however many partners it has.
        counts = true.sum(dim=dim)
        total = total + (loss.sum(dim=dim) / counts.clamp(min=1))[counts > 0].mean()
    return total / 2


def absolute_margins(
    cosines: Float[Tensor, "S Q"], truth: Int[Tensor, "S Q"]
) -> Float[Tensor, ""]:
    """Squared shortfall of true pairs below, and excess of false pairs above, fixed cosines.

    InfoNCE orders similarities; an absolute threshold needs their level too.
    """
    low = F.relu(TRUE_COSINE - cosines).square()[truth == TRUE]
    high = F.relu(cosines - FALSE_COSINE).square()[truth == FALSE]
    return low.mean() + high.mean()


def generic_level(cosines: Float[Tensor, "S G"]) -> Float[Tensor, ""]:
    """Squared distance of the cosines to generic phrases from their fixed level."""
    return (cosines - GENERIC_COSINE).square().mean()
