"""Rejection and recall against a loop over all pairs."""

import math

import numpy as np
import pytest

from distillnerf_ros.data.occ3d import OccupancyTruth
from distillnerf_ros.training.absent import (
    ABSENT,
    HIDDEN,
    PRESENT,
    absent_rejection,
    presence,
    recall,
    strictest_threshold,
)


def slow_shares(best: np.ndarray, there: np.ndarray, threshold: float) -> tuple[float, float]:
    """Pair by pair, with at least one hit or without any."""
    rejected = absent = found = present = 0
    for frame in range(len(best)):
        for label in range(17):
            hit = best[frame, label] >= threshold
            if there[frame, label] == ABSENT:
                absent += 1
                rejected += not hit
            elif there[frame, label] == PRESENT:
                present += 1
                found += hit
    return rejected / absent, found / present


def random_frames(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    there = rng.choice([PRESENT, ABSENT, HIDDEN], (5, 17)).astype(np.int8)
    return np.round(rng.random((5, 17)), 2), there


def test_shares_equal_the_loop() -> None:
    best, there = random_frames(0)
    for threshold in (0.0, 0.3, best[0, 0], 0.9, 1.1):
        got = absent_rejection(best, there, threshold), recall(best, there, threshold)
        assert got == pytest.approx(slow_shares(best, there, threshold))


@pytest.mark.parametrize("seed", range(5))
def test_strictest_threshold_equals_the_search(seed: int) -> None:
    best, there = random_frames(seed)
    kept = [t for t in np.unique(best) if slow_shares(best, there, t)[1] >= 0.5]
    assert strictest_threshold(best, there) == max(kept)


def test_no_pair_no_figure() -> None:
    hidden = np.full((1, 17), HIDDEN, np.int8)
    best = np.ones((1, 17))
    assert math.isnan(absent_rejection(best, hidden, 0.5))
    assert math.isnan(recall(best, hidden, 0.5))
    assert math.isnan(strictest_threshold(best, hidden))


def test_presence_by_what_a_camera_sees() -> None:
    semantics = np.full((200, 200, 16), 17, np.uint8)
    semantics[0, 0, 0], semantics[0, 0, 1], semantics[0, 0, 2] = 4, 4, 7
    mask = np.zeros(semantics.shape, bool)
    mask[0, 0, 0] = True  # one of the two voxels of a car; the pedestrian is out of sight
    there = presence(OccupancyTruth(semantics, mask, mask))
    assert there[4] == PRESENT
    assert there[7] == HIDDEN
    assert (np.delete(there, [4, 7]) == ABSENT).all()
