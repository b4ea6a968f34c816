"""What is measured: depth errors, occupancy overlap, average precision, PSNR and SSIM.

Every definition is the literature's; where the literature has several, the docstring says which.
All figures are fractions, except those with a unit.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from distillnerf_ros.taxonomy import FREE_LABEL

DEPTH_LIMIT_M = 80.0
"""Truth beyond is not judged, predictions beyond are clipped to it (Monodepth, DistillNeRF)."""
_DEPTH_MIN_M = 1e-3

MIOU_15 = (*range(1, 12), *range(13, 17))
"""Classes of the 15-class mean: without ``others`` and ``other flat`` (GaussianFlowOcc, mIoU*)."""
F_MIOU = (*range(1, 11), 15, 16)
"""Classes of the foreground mean: objects, manmade and vegetation (DistillNeRF table 4)."""

SCORE_LEVELS = 1 << 14
"""Scores are rounded to this many levels before they are ranked; equal ones are ties."""


@dataclasses.dataclass(frozen=True)
class DepthErrors:
    """Errors of one sample, or their mean over samples.

    Attributes:
        abs_rel: mean |d - g| / g.
        sq_rel: mean (d - g)^2 / g, metres.
        rmse: root mean (d - g)^2, metres.
        rmse_log: root mean (ln d - ln g)^2.
        d1: share with max(d / g, g / d) < 1.25.
        d2: the same for 1.25^2.
        d3: the same for 1.25^3.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    d1: float
    d2: float
    d3: float


def depth_errors(
    predicted_m: Float[np.ndarray, " P"], truth_m: Float[np.ndarray, " P"]
) -> DepthErrors:
    """Errors over the points of one sample, all cameras together; no scaling of any kind.

    Truth outside (1e-3, 80) m is not judged. Predictions are clipped to that range; NaN (nothing
    hit) counts as the far end of it. All errors are NaN where there is no truth.
    """
    judged = (truth_m > _DEPTH_MIN_M) & (truth_m < DEPTH_LIMIT_M)
    if not judged.any():
        return DepthErrors(*[float("nan")] * 7)
    g = truth_m[judged].astype(np.float64)
    d = np.nan_to_num(predicted_m[judged].astype(np.float64), nan=DEPTH_LIMIT_M)
    d = d.clip(_DEPTH_MIN_M, DEPTH_LIMIT_M)
    ratio, squared = np.maximum(d / g, g / d), (d - g) ** 2
    return DepthErrors(
        abs_rel=float((np.abs(d - g) / g).mean()),
        sq_rel=float((squared / g).mean()),
        rmse=float(np.sqrt(squared.mean())),
        rmse_log=float(np.sqrt(((np.log(d) - np.log(g)) ** 2).mean())),
        d1=float((ratio < 1.25).mean()),
        d2=float((ratio < 1.25**2).mean()),
        d3=float((ratio < 1.25**3).mean()),
    )


def mean_depth_errors(errors: Sequence[DepthErrors]) -> DepthErrors:
    """Mean over the samples that had truth; NaN where none had."""
    rows = np.array([dataclasses.astuple(error) for error in errors]).reshape(-1, 7)
    rows = rows[~np.isnan(rows).any(axis=1)]
    return DepthErrors(*rows.mean(axis=0).tolist() if len(rows) else [float("nan")] * 7)


class Confusion:
    """One confusion matrix for a whole data set, [truth, predicted], 17 = free (Occ3D)."""

    def __init__(self, counts: Int[np.ndarray, "18 18"] | None = None) -> None:
        size = FREE_LABEL + 1
        self.counts = np.zeros((size, size), np.int64) if counts is None else counts.copy()

    def add(
        self,
        truth: UInt8[np.ndarray, "*shape"],
        predicted: UInt8[np.ndarray, "*shape"],
        mask: Bool[np.ndarray, "*shape"],
    ) -> None:
        """Count the voxels under a mask (Occ3D: ``mask_camera``)."""
        size = FREE_LABEL + 1
        pairs = truth[mask].astype(np.int64) * size + predicted[mask]
        self.counts += np.bincount(pairs, minlength=size * size).reshape(size, size)

    def geometric_iou(self) -> float:
        """Occupied (any class) against free: TP / (TP + FP + FN); NaN where both are empty."""
        hit = self.counts[:FREE_LABEL, :FREE_LABEL].sum()
        either = self.counts.sum() - self.counts[FREE_LABEL, FREE_LABEL]
        return float(hit / either) if either else float("nan")

    def class_iou(self) -> Float[np.ndarray, " 17"]:
        """TP / (TP + FP + FN) of each class; NaN where it is neither in truth nor predicted."""
        hit = np.diag(self.counts).astype(np.float64)
        either = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hit
        return np.where(either > 0, hit / np.maximum(either, 1), np.nan)[:FREE_LABEL]

    def mean_iou(self, classes: Sequence[int] = range(FREE_LABEL)) -> float:
        """Mean of the classes' IoU, leaving out NaN (Occ3D: all 17; see MIOU_15, F_MIOU)."""
        values = self.class_iou()[list(classes)]
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def average_precision(scores: Float[np.ndarray, " P"], positive: Bool[np.ndarray, " P"]) -> float:
    """Area under the step curve of precision over recall: sum of (R_n - R_{n-1}) P_n.

    All points of the curve are used and precision is not interpolated (scikit-learn's definition,
    never above VOC's). Points of equal score enter together, so that their order cannot matter.
    NaN where nothing is positive.
    """
    if not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_tie]
    seen = np.flatnonzero(last_of_tie) + 1
    return float((np.diff(true, prepend=0) * (true / seen)).sum() / true[-1])


class RankingCounts:
    """One ranking per class over any number of points, in bounded memory.

    Scores of 0..1 are rounded to ``SCORE_LEVELS`` levels and counted per level, so that points of
    many frames can be ranked together and parts of a data set can be added up.
    """

    def __init__(
        self,
        every: Int[np.ndarray, "Q levels"] | None = None,
        positive: Int[np.ndarray, "Q levels"] | None = None,
        classes: int = FREE_LABEL,
    ) -> None:
        shape = (classes, SCORE_LEVELS)
        self.every = np.zeros(shape, np.int64) if every is None else every.astype(np.int64)
        self.positive = (
            np.zeros(shape, np.int64) if positive is None else positive.astype(np.int64)
        )

    def add(self, scores: Float[np.ndarray, "P Q"], labels: UInt8[np.ndarray, " P"]) -> None:
        """Count points: their scores (0..1) for each class and their true class."""
        levels = np.round(scores.clip(0, 1) * (SCORE_LEVELS - 1)).astype(np.int64)
        for index in range(len(self.every)):
            column = levels[:, index]
            self.every[index] += np.bincount(column, minlength=SCORE_LEVELS)
            self.positive[index] += np.bincount(column[labels == index], minlength=SCORE_LEVELS)

    def average_precisions(self) -> Float[np.ndarray, " Q"]:
        """Average precision of each class (see `average_precision`); NaN for absent ones."""
        true = np.cumsum(self.positive[:, ::-1], axis=1)
        seen = np.cumsum(self.every[:, ::-1], axis=1)
        gained = self.positive[:, ::-1] * (true / np.maximum(seen, 1))
        total = true[:, -1]
        return np.where(total > 0, gained.sum(axis=1) / np.maximum(total, 1), np.nan)

    def prevalence(self) -> Float[np.ndarray, " Q"]:
        """Share of each class: the average precision of a random ranking; NaN for absent ones."""
        total, positive = self.every.sum(axis=1), self.positive.sum(axis=1)
        return np.where(positive > 0, positive / np.maximum(total, 1), np.nan)


def psnr(predicted: Float[np.ndarray, "*shape"], truth: Float[np.ndarray, "*shape"]) -> float:
    """-10 log10 of the mean squared error over everything given, in dB; images in 0..1."""
    error = np.mean((predicted.astype(np.float64) - truth.astype(np.float64)) ** 2)
    return float(-10 * np.log10(error)) if error != 0 else float("inf")


def ssim(predicted: Float[np.ndarray, "C H W"], truth: Float[np.ndarray, "C H W"]) -> float:
    """Structural similarity (Wang et al. 2004) with scikit-image's defaults, data range 1.

    Uniform 7x7 window, sample covariance, K1 = 0.01, K2 = 0.03, mean over the pixels whose window
    lies inside the image, then over the channels.
    """
    window = 7
    x, y = predicted.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _window_means(x, window), _window_means(y, window)
    unbiased = window**2 / (window**2 - 1)
    var_x = unbiased * (_window_means(x * x, window) - mean_x * mean_x)
    var_y = unbiased * (_window_means(y * y, window) - mean_y * mean_y)
    covariance = unbiased * (_window_means(x * y, window) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def _window_means(
    image: Float[np.ndarray, "C H W"], window: int
) -> Float[np.ndarray, "C rows cols"]:
    """Mean over each whole window, by differences of a summed-area table."""
    table = np.pad(image, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1).cumsum(axis=2)
    sums = (
        table[:, window:, window:]
        - table[:, :-window, window:]
        - table[:, window:, :-window]
        + table[:, :-window, :-window]
    )
    return sums / window**2
