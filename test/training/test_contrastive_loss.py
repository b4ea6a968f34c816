"""Contrastive losses against loops over pairs."""

import math

import numpy as np
import pytest
import torch

from distillnerf_ros.training.contrastive_loss import (
    FALSE_COSINE,
    GENERIC_COSINE,
    TRUE_COSINE,
    absolute_margins,
    generic_level,
    kinds_apart,
    multi_positive_nce,
)
from distillnerf_ros.training.phrases import FALSE, TRUE, UNKNOWN


def slow_nce(cosines: np.ndarray, truth: np.ndarray, scale: float) -> float:
    """Each true pair against the false pairs of its row, then of its column."""
    directions = []
    for values, facts in ((cosines, truth), (cosines.T, truth.T)):
        rows = []
        for value, fact in zip(values, facts, strict=True):
            power = np.exp(scale * value)
            false, own = power[fact == FALSE].sum(), power[fact == TRUE]
            if len(own):
                rows.append(np.mean([-math.log(e / (e + false)) for e in own]))
        directions.append(np.mean(rows))
    return float(np.mean(directions))


def test_equals_the_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(7, 5, generator=generator) * 2 - 1
    truth = torch.randint(-1, 2, (7, 5), generator=generator).to(torch.int8)
    expected = slow_nce(cosines.numpy(), truth.numpy(), 8.0)
    got = multi_positive_nce(cosines, truth, torch.tensor(8.0))
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_one_partner_each_is_clips_loss() -> None:
    cosines = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))
    truth = torch.eye(6).to(torch.int8)
    labels = torch.arange(6)
    clip = sum(torch.nn.functional.cross_entropy(10 * c, labels) for c in (cosines, cosines.T)) / 2
    torch.testing.assert_close(multi_positive_nce(cosines, truth, torch.tensor(10.0)), clip)


def test_unknown_pairs_get_no_gradient() -> None:
    cosines = torch.zeros(2, 3, requires_grad=True)
    truth = torch.tensor([[TRUE, UNKNOWN, FALSE], [FALSE, TRUE, FALSE]], dtype=torch.int8)
    multi_positive_nce(cosines, truth, torch.tensor(10.0)).backward()
    assert cosines.grad[0, 1] == 0
    assert (cosines.grad[truth == TRUE] < 0).all()
    assert (cosines.grad[truth == FALSE] > 0).all()


def test_margins_vanish_outside_and_are_squared_inside() -> None:
    truth = torch.tensor([[TRUE, FALSE]], dtype=torch.int8)
    fine = torch.tensor([[TRUE_COSINE + 0.1, FALSE_COSINE - 0.2]])
    assert absolute_margins(fine, truth).item() == 0
    wrong = torch.tensor([[TRUE_COSINE - 0.1, FALSE_COSINE + 0.2]])
    assert absolute_margins(wrong, truth).item() == pytest.approx(0.01 + 0.04, rel=1e-4)


def test_generic_phrases_are_held_at_their_level() -> None:
    assert generic_level(torch.full((3, 2), GENERIC_COSINE)).item() == 0
    assert generic_level(torch.full((3, 2), GENERIC_COSINE + 0.1)).item() == pytest.approx(0.01)


def test_kinds_of_a_class_compete_and_count_alike() -> None:
    truth = torch.tensor(
        [
            [TRUE, FALSE, FALSE, UNKNOWN],
            [TRUE, FALSE, FALSE, UNKNOWN],
            [TRUE, TRUE, FALSE, UNKNOWN],  # a taxi is a sedan
            [UNKNOWN, UNKNOWN, UNKNOWN, TRUE],  # of a class with one kind
            [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN],
        ],
        dtype=torch.int8,
    )
    cosines = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    kind = torch.tensor([0, 0, 1, 3, -1])
    powers = (8.0 * cosines.detach().double()).exp()
    first = [-math.log(p[0] / (p[0] + p[1] + p[2])) for p in powers[:2]]
    p = powers[2]
    taxi = -(math.log(p[0] / (p[0] + p[2])) + math.log(p[1] / (p[1] + p[2]))) / 2
    expected = (sum(first) / 2 + taxi + 0.0) / 3
    loss = kinds_apart(cosines, truth, kind, torch.tensor(8.0))
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert cosines.grad.isfinite().all()
    assert not cosines.grad[3:].any()


def test_no_kinds_cost_nothing() -> None:
    empty = torch.zeros(3, 0)
    loss = kinds_apart(empty, empty.to(torch.int8), torch.full((3,), -1), torch.tensor(8.0))
    assert loss.item() == 0
