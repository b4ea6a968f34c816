"""How much a feature looks like a prompt: LERF relevancy with an absolute threshold.

A cosine alone says nothing about presence, and a softmax over the asked prompts always finds one.
LERF (Kerr et al., ICCV 2023, section 3.3) asks instead whether a feature is nearer to the prompt
than to phrases that fit anything: 0.5 is neutral, and an absent thing stays near or below it.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.errors import QueryError
from distillnerf_ros.teachers.pca import Pca

DEFAULT_NEGATIVES: tuple[str, ...] = ("object", "things", "stuff", "texture")
"""LERF's canonical phrases."""

TEMPLATES: tuple[str, ...] = ("{}", "a photo of {}", "a picture of {}", "there is {} in the scene")
"""Wordings whose embeddings are averaged into one direction per prompt."""

RELEVANCY_SCALE = 10.0
"""Inverse temperature of the pairwise softmax (LERF's)."""

DEFAULT_THRESHOLD = 0.5
"""Relevancy of a hit: nearer to the prompt than to any phrase that fits everything, by as much as
the weights were calibrated to ask for (``Semantics.caution``)."""


def embed_prompts(
    tower: Callable[[Sequence[str]], Tensor],
    prompts: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
) -> Float[Tensor, "Q E"]:
    """One unit vector per prompt: the normalised mean of its wordings' vectors.

    Args:
        tower: maps texts to (Q, E) unit vectors, such as ``TextTower``.
        prompts: what to look for.
        templates: wordings with one ``{}`` each.

    Raises:
        QueryError: no prompt, or an empty one.
    """
    if isinstance(prompts, str) or not prompts or not all(p.strip() for p in prompts):
        raise QueryError(f"got the prompts {prompts!r}; expected a list of texts, none empty")
    wordings = [t.format(p.strip()) for p in prompts for t in templates]
    vectors = tower(wordings).unflatten(0, (len(prompts), len(templates)))
    return F.normalize(vectors.mean(1), dim=-1)


def relevancy_of_cosines(
    positive: Float[Tensor, "*batch Q"],
    negative: Float[Tensor, "*batch M"],
    scale: float = RELEVANCY_SCALE,
    against: Bool[Tensor, "Q M"] | None = None,
    caution: Float[Tensor, " Q"] | float = 0.0,
) -> Float[Tensor, "*batch Q"]:
    """LERF score, 0..1: min over negatives of softmax(scale * [cos_pos, cos_neg])[0].

    A softmax of two is a sigmoid of the difference, so the minimum is the one at the nearest
    negative.

    Args:
        positive: cosines to the prompts.
        negative: cosines to what they are weighed against.
        scale: inverse temperature.
        against: (Q, M) which negatives count for which prompt; None = all.
        caution: (Q,) logits to take off each prompt's score.
    """
    nearest = negative[..., None, :]
    if against is not None:
        nearest = nearest.masked_fill(~against, -torch.inf)
    return torch.sigmoid(scale * (positive - nearest.amax(dim=-1)) - caution)


def relevancy(
    features: Float[Tensor, "*batch E"],
    positives: Float[Tensor, "Q E"],
    negatives: Float[Tensor, "M E"],
    scale: float = RELEVANCY_SCALE,
) -> Float[Tensor, "*batch Q"]:
    """LERF score, 0..1, of features in the CLIP space.

    Args:
        features: (..., E), any length.
        positives: (Q, E) unit vectors of the prompts.
        negatives: (M, E) unit vectors of phrases that fit anything.
        scale: inverse temperature.
    """
    unit = F.normalize(features, dim=-1)
    return relevancy_of_cosines(unit @ positives.T, unit @ negatives.T, scale)


def relevancy_in_pca(
    coordinates: Float[Tensor, "*batch C"],
    pca: Pca,
    positives: Float[Tensor, "Q E"],
    negatives: Float[Tensor, "M E"],
    scale: float = RELEVANCY_SCALE,
) -> Float[Tensor, "*batch Q"]:
    """LERF score, 0..1, of features stored as coordinates of principal components.

    Equal to ``relevancy(pca.reconstruct(coordinates), ...)``, without the E-wide features.
    """
    cosines = pca.cosine(coordinates, torch.cat([positives, negatives]))
    count = len(positives)
    return relevancy_of_cosines(cosines[..., :count], cosines[..., count:], scale)
