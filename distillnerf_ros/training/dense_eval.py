"""How well dense features answer texts on views of unseen scenes."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.query.text import (
    DEFAULT_NEGATIVES,
    DEFAULT_THRESHOLD,
    embed_prompts,
    relevancy,
    relevancy_in_pca,
)
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.open_clip import DenseClip
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.windows import Views

UNSEEN_ABSENT: tuple[str, ...] = (
    "an elephant", "a boat", "a fountain", "a donkey", "an ostrich", "a hedgehog", "a squid",
    "a raccoon", "an armchair", "a vacuum cleaner", "a washing machine", "a hairdryer",
    "a fireplace", "a kite", "a cello", "a banjo", "broccoli", "noodles", "popcorn", "a papaya",
    "a wok", "a crowbar", "pliers", "a compass", "perfume", "an earring", "a sandcastle",
    "a billiard table", "a hot air balloon", "a spacecraft", "a gondola", "an anvil",
)  # fmt: skip
"""Absent things whose words are in no training text."""

_PIXELS_PER_VIEW = 3000
_FEWEST_PIXELS = 50


@dataclasses.dataclass(frozen=True)
class DenseScores:
    """Scores over pixels of unseen views; all are fractions.

    Attributes:
        accuracy: pixels whose best of the 17 class names is right.
        mean_iou: mean intersection over union of that labelling over the classes present.
        mean_ap: mean over the classes present of the average precision of relevancy.
        mean_ap_pca: the same from principal components.
        ap: average precision by class.
        recall, false_alarms: share of a class's pixels, and of all others, at or over the default
            threshold, means over classes.
        absent_pixels: share of pixels at or over the threshold for an absent thing.
        absent_rejected: share of absent prompts that less than 1 pixel in 1000 matches.
        explained: variance inside the principal components.
    """

    accuracy: float
    mean_iou: float
    mean_ap: float
    mean_ap_pca: float
    ap: dict[str, float]
    recall: float
    false_alarms: float
    absent_pixels: float
    absent_rejected: float
    explained: float

    def table(self) -> str:
        """The scores as lines of text."""
        rows = [f"{name:>22s}  AP {value:.3f}" for name, value in self.ap.items()]
        for field in dataclasses.fields(self):
            if field.name != "ap":
                rows.append(f"{field.name:>22s}  {getattr(self, field.name):.4f}")
        return "\n".join(rows)


def average_precision(scores: Float[Tensor, " P"], positive: Bool[Tensor, " P"]) -> float:
    """Area under the precision-recall steps: mean precision at each positive, best score first."""
    hits = positive[scores.argsort(descending=True, stable=True)].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1, dtype=torch.float64)
    return float((precision * hits).sum() / hits.sum())


@torch.no_grad()
def sample_pixels(
    dense: DenseClip, views: Views, size: tuple[int, int] | None, seed: int = 0
) -> tuple[Float[Tensor, "P E"], Int[Tensor, " P"]]:
    """Features, interpolated between patches, and classes of random pixels.

    Args:
        dense: the image tower.
        views: views with truth.
        size: size in pixels the views are resampled to before the tower; None keeps theirs.
        seed: draws the pixels.
    """
    rng = np.random.default_rng(seed)
    labels = np.array([thing.label for thing in views.table])
    height, width = views.things.shape[1:]
    features, classes = [], []
    for image, things in zip(views.images, views.things, strict=True):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        if size is not None:
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        v = rng.integers(height, size=_PIXELS_PER_VIEW)
        u = rng.integers(width, size=_PIXELS_PER_VIEW)
        places = torch.from_numpy(np.stack([(u + 0.5) / width, (v + 0.5) / height], axis=1))
        places = (places.float() * 2 - 1)[None, None]
        at = F.grid_sample(dense(pixels), places, padding_mode="border", align_corners=False)
        features.append(F.normalize(at[0, :, 0].T, dim=1))
        classes.append(torch.from_numpy(labels[things[v, u]]))
    return torch.cat(features), torch.cat(classes)


@torch.no_grad()
def score_dense(
    model: Any,
    tokenizer: Callable[[list[str]], Tensor],
    views: Views,
    pca: Pca,
    size: tuple[int, int] | None = None,
) -> DenseScores:
    """Judge a CLIP by asking it for the 17 class names and for absent things.

    Args:
        model: the CLIP.
        tokenizer: its tokenizer.
        views: views of scenes it was not trained on.
        pca: its principal components.
        size: see ``sample_pixels``.
    """

    def tower(prompts: Sequence[str]) -> Tensor:
        return model.encode_text(tokenizer(list(prompts)), normalize=True)

    features, classes = sample_pixels(DenseClip.of(model.visual), views, size)
    positives = embed_prompts(tower, OCC3D_CLASSES)
    negatives = embed_prompts(tower, DEFAULT_NEGATIVES, ("{}",))
    scores = relevancy(features, positives, negatives)
    in_pca = relevancy_in_pca(pca.project(features), pca, positives, negatives)
    present = [c for c in range(17) if int((classes == c).sum()) >= _FEWEST_PIXELS]
    ap = {OCC3D_CLASSES[c]: average_precision(scores[:, c], classes == c) for c in present}
    ap_pca = [average_precision(in_pca[:, c], classes == c) for c in present]
    hit = scores >= DEFAULT_THRESHOLD
    absent = relevancy(features, embed_prompts(tower, UNSEEN_ABSENT), negatives)
    wrong = (absent >= DEFAULT_THRESHOLD).float().mean(0)
    accuracy, mean_iou = _labelling(features @ positives.T, classes, present)
    return DenseScores(
        accuracy=accuracy,
        mean_iou=mean_iou,
        mean_ap=float(np.mean(list(ap.values()))),
        mean_ap_pca=float(np.mean(ap_pca)),
        ap=ap,
        recall=float(np.mean([hit[classes == c, c].float().mean() for c in present])),
        false_alarms=float(np.mean([hit[classes != c, c].float().mean() for c in present])),
        absent_pixels=float(wrong.mean()),
        absent_rejected=float((wrong < 1e-3).float().mean()),
        explained=pca.explained,
    )


def _labelling(
    cosines: Float[Tensor, "P Q"], classes: Int[Tensor, " P"], present: Sequence[int]
) -> tuple[float, float]:
    solid = classes < 17  # the sky has no class name among the prompts
    best, truth = cosines[solid].argmax(1), classes[solid]
    ious = []
    for c in present:
        both = int(((best == c) & (truth == c)).sum())
        ious.append(both / max(int(((best == c) | (truth == c)).sum()), 1))
    return float((best == truth).float().mean()), float(np.mean(ious))
