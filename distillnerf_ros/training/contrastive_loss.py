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


def kinds_apart(
    cosines: Float[Tensor, "S K"],
    truth: Int[Tensor, "S K"],
    kind: Int[Tensor, " S"],
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Cross-entropy of each region's kind among the kinds of its class, all kinds counting alike.

    Among a thousand texts about everything, the few about other kinds of the same class are a
    hundredth of what a region is driven away from, and kinds are never told apart.

    Args:
        cosines: similarity of S regions and texts of K kinds.
        truth: TRUE or FALSE for kinds of the region's class, UNKNOWN for all others, and
            everywhere if the region's own kind is not known.
        kind: (S,) which kind a region is of; any number where that is not known.
        scale: inverse temperature.
    """
    logits, true = scale * cosines, truth == TRUE
    against = logits.masked_fill(truth != FALSE, float("-inf")).logsumexp(dim=1, keepdim=True)
    known = true.any(dim=1)
    loss = (F.softplus(against - logits) * true).sum(dim=1) / true.sum(dim=1).clamp(min=1)
    every, group = kind[known].unique(return_inverse=True)
    sums = loss.new_zeros(len(every)).index_add(0, group, loss[known])
    return (sums / torch.bincount(group, minlength=len(every))).sum() / max(len(every), 1)


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
