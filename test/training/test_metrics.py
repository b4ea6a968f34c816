"""Metrics against their formulas written out as slow loops."""

import math

import numpy as np
import pytest

from distillnerf_ros.taxonomy import FREE_LABEL
from distillnerf_ros.training.metrics import (
    F_MIOU,
    MIOU_15,
    SCORE_LEVELS,
    Confusion,
    DepthErrors,
    RankingCounts,
    average_precision,
    depth_errors,
    mean_depth_errors,
    psnr,
    ssim,
)


def slow_depth_errors(predicted: np.ndarray, truth: np.ndarray) -> list[float]:
    rows = []
    for d, g in zip(predicted.tolist(), truth.tolist(), strict=True):
        if not 1e-3 < g < 80:
            continue
        d = 80.0 if math.isnan(d) else min(max(d, 1e-3), 80.0)
        ratio = max(d / g, g / d)
        within = [float(ratio < 1.25**k) for k in (1, 2, 3)]
        log = (math.log(d) - math.log(g)) ** 2
        rows.append([abs(d - g) / g, (d - g) ** 2 / g, (d - g) ** 2, log, *within])
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return [*means[:2], math.sqrt(means[2]), math.sqrt(means[3]), *means[4:]]


def test_depth_errors_equal_the_loop() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 100, 400).astype(np.float32)
    predicted = (truth * rng.uniform(0.5, 2, 400)).astype(np.float32)
    predicted[::17] = np.nan
    truth[::31] = 0
    got = depth_errors(predicted, truth)
    expected = slow_depth_errors(predicted, truth)
    np.testing.assert_allclose(list(vars(got).values()), expected, rtol=1e-9)


def test_depth_errors_closed_form() -> None:
    truth = np.array([10.0, 20.0, 79.9])
    assert depth_errors(truth, truth) == DepthErrors(0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    twice = depth_errors(np.array([20.0]), np.array([10.0]))
    assert (twice.abs_rel, twice.sq_rel, twice.rmse) == (1.0, 10.0, 10.0)
    assert twice.rmse_log == pytest.approx(math.log(2))
    assert (twice.d1, twice.d2, twice.d3) == (0, 0, 0)  # 1.25^3 = 1.953 < 2


def test_depth_beyond_the_limit_is_not_judged_and_clipped() -> None:
    got = depth_errors(np.array([500.0, 1.0]), np.array([64.0, 80.0]))
    assert got.abs_rel == pytest.approx(16 / 64)
    assert math.isnan(depth_errors(np.array([3.0]), np.array([81.0])).abs_rel)


def test_mean_depth_errors_leaves_out_samples_without_truth() -> None:
    one = DepthErrors(0.1, 1.0, 2.0, 0.3, 0.8, 0.9, 1.0)
    two = DepthErrors(0.3, 3.0, 4.0, 0.5, 0.6, 0.7, 0.8)
    nothing = DepthErrors(*[math.nan] * 7)
    assert mean_depth_errors([one, nothing, two]).abs_rel == pytest.approx(0.2)
    assert math.isnan(mean_depth_errors([nothing]).d1)


def test_confusion_equals_sets_of_voxels() -> None:
    rng = np.random.default_rng(1)
    shape = (6, 5, 4)
    frames = [
        (rng.integers(3, 18, shape).astype(np.uint8), rng.integers(3, 18, shape).astype(np.uint8))
        for _ in range(3)
    ]
    mask = rng.random(shape) < 0.7
    confusion = Confusion()
    for truth, predicted in frames:
        confusion.add(truth, predicted, mask)
    for label in range(FREE_LABEL):
        both = either = 0
        for truth, predicted in frames:
            both += ((truth == label) & (predicted == label) & mask).sum()
            either += (((truth == label) | (predicted == label)) & mask).sum()
        value = confusion.class_iou()[label]
        assert math.isnan(value) if not either else value == pytest.approx(both / either)
    hit = sum(((t < 17) & (p < 17) & mask).sum() for t, p in frames)
    union = sum((((t < 17) | (p < 17)) & mask).sum() for t, p in frames)
    assert confusion.geometric_iou() == pytest.approx(hit / union)


def test_mean_iou_conventions() -> None:
    counts = np.zeros((18, 18), np.int64)
    np.fill_diagonal(counts, 10)
    counts[0, 17] = counts[12, 17] = 10  # others and other flat: IoU 1/2
    confusion = Confusion(counts)
    assert confusion.mean_iou() == pytest.approx(16 / 17)
    assert confusion.mean_iou(MIOU_15) == confusion.mean_iou(F_MIOU) == 1
    assert len(MIOU_15) == 15
    assert len(F_MIOU) == 12


def test_empty_confusion_is_nan() -> None:
    assert math.isnan(Confusion().geometric_iou())
    assert math.isnan(Confusion().mean_iou())


def slow_average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Walk the thresholds: every distinct score once, from the highest."""
    total, before, area = positive.sum(), 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        recall = positive[chosen].sum() / total
        area += (recall - before) * positive[chosen].mean()
        before = recall
    return area


def test_average_precision_equals_the_walk() -> None:
    rng = np.random.default_rng(2)
    for levels in (3, 20, 10_000):
        scores = rng.integers(0, levels, 200) / levels
        positive = rng.random(200) < 0.2
        expected = slow_average_precision(scores, positive)
        assert average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)


def test_average_precision_closed_forms() -> None:
    positive = np.array([True, False, True, False])
    assert average_precision(np.array([4.0, 1, 3, 2]), positive) == 1
    assert average_precision(np.array([4.0, 3, 2, 1]), positive) == pytest.approx(
        0.5 + 0.5 * 2 / 3
    )
    assert average_precision(np.zeros(4), positive) == 0.5  # all tied: prevalence
    assert math.isnan(average_precision(np.zeros(4), np.zeros(4, bool)))


def test_ranking_counts_equal_the_exact_ranking() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, SCORE_LEVELS, (500, 3)) / (SCORE_LEVELS - 1)
    scores[:100, 0] = 0.5
    labels = rng.integers(0, 2, 500).astype(np.uint8)
    counts = RankingCounts(classes=3)
    counts.add(scores[:200], labels[:200])  # two frames, one ranking
    counts.add(scores[200:], labels[200:])
    got = counts.average_precisions()
    rounded = np.round(scores * (SCORE_LEVELS - 1))
    for index in range(2):
        expected = slow_average_precision(rounded[:, index], labels == index)
        assert got[index] == pytest.approx(expected, abs=1e-12)
    assert math.isnan(got[2])
    np.testing.assert_allclose(counts.prevalence()[:2], [(labels == i).mean() for i in (0, 1)])
    assert math.isnan(counts.prevalence()[2])


def test_random_ranking_scores_the_prevalence() -> None:
    rng = np.random.default_rng(4)
    counts = RankingCounts(classes=1)
    counts.add(rng.random((50_000, 1)), (rng.random(50_000) > 0.1).astype(np.uint8))
    assert counts.average_precisions()[0] == pytest.approx(counts.prevalence()[0], abs=5e-3)


def test_psnr_closed_form() -> None:
    truth = np.zeros((2, 3, 4, 4), np.float32)
    assert psnr(truth + 0.1, truth) == pytest.approx(20)
    assert psnr(truth, truth) == math.inf


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Every 7x7 window on its own, with NumPy's sample covariance."""
    values = []
    for channel in range(x.shape[0]):
        for row in range(x.shape[1] - 6):
            for col in range(x.shape[2] - 6):
                a = x[channel, row : row + 7, col : col + 7].ravel()
                b = y[channel, row : row + 7, col : col + 7].ravel()
                cov = np.cov(a, b)
                top = (2 * a.mean() * b.mean() + 0.01**2) * (2 * cov[0, 1] + 0.03**2)
                bottom = (a.mean() ** 2 + b.mean() ** 2 + 0.01**2) * (
                    cov[0, 0] + cov[1, 1] + 0.03**2
                )
                values.append(top / bottom)
    return float(np.mean(values))


def test_ssim_equals_the_loop() -> None:
    rng = np.random.default_rng(5)
    x = rng.random((2, 12, 15)).astype(np.float32)
    y = np.clip(x + rng.normal(0, 0.2, x.shape), 0, 1).astype(np.float32)
    assert ssim(x, y) == pytest.approx(slow_ssim(x, y), abs=1e-9)
    assert ssim(x, x) == pytest.approx(1)


def test_psnr_of_nothing_known_is_not_perfect() -> None:
    picture = np.full((3, 2, 2), 0.5, np.float32)
    assert psnr(picture, picture) == np.inf
    assert psnr(picture, picture + np.float32(0.1)) == pytest.approx(20, abs=1e-4)
    assert np.isnan(psnr(picture * np.nan, picture))
