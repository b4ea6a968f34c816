"""Are absent things rejected and present ones found, each by the best score in a frame?"""

import math

import numpy as np
from jaxtyping import Float, Int8

from distillnerf_ros.data.occ3d import OccupancyTruth
from distillnerf_ros.taxonomy import FREE_LABEL

PRESENT, ABSENT, HIDDEN = 1, 0, -1
RECALL_KEPT = 0.5
"""A threshold is worth nothing unless this share of present things is found."""


def presence(truth: OccupancyTruth) -> Int8[np.ndarray, " 17"]:
    """What a frame says about each class.

    Returns:
        ``PRESENT``: a camera sees a voxel of it; ``ABSENT``: there is no voxel of it at all;
        ``HIDDEN``: there are some and no camera sees one, so that no answer is wrong.
    """
    there = _classes_in(truth.semantics)
    seen = _classes_in(truth.semantics[truth.mask_camera])
    return np.where(seen, PRESENT, np.where(there, HIDDEN, ABSENT)).astype(np.int8)


def _classes_in(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels.reshape(-1), minlength=FREE_LABEL + 1)[:FREE_LABEL] > 0


def absent_rejection(
    best: Float[np.ndarray, "F 17"], there: Int8[np.ndarray, "F 17"], threshold: float
) -> float:
    """Share of pairs of a frame and an absent class without a hit; NaN where there is no pair.

    Args:
        best: best score of the frame's occupied voxels for each class name; 0 where there is none.
        there: see :func:`presence`.
        threshold: least score of a hit.
    """
    scores = best[there == ABSENT]
    return float((scores < threshold).mean()) if len(scores) else math.nan


def recall(
    best: Float[np.ndarray, "F 17"], there: Int8[np.ndarray, "F 17"], threshold: float
) -> float:
    """Share of pairs of a frame and a class in sight with a hit; NaN where there is no pair."""
    scores = best[there == PRESENT]
    return float((scores >= threshold).mean()) if len(scores) else math.nan


def strictest_threshold(best: Float[np.ndarray, "F 17"], there: Int8[np.ndarray, "F 17"]) -> float:
    """The highest threshold that keeps ``RECALL_KEPT``; NaN where no class is in sight."""
    scores = np.sort(best[there == PRESENT])[::-1]
    return float(scores[math.ceil(RECALL_KEPT * len(scores)) - 1]) if len(scores) else math.nan
