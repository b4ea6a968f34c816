"""Average precision in closed form, and a perfect and a random space."""

import pytest
import torch

from distillnerf_ros.training.dense_eval import average_precision


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.9, 0.8, 0.1], [1, 1, 0], 1.0),
        ([0.9, 0.8, 0.1], [0, 0, 1], 1 / 3),
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
    ],
)
def test_average_precision(scores: list[float], positive: list[int], expected: float) -> None:
    got = average_precision(torch.tensor(scores), torch.tensor(positive).bool())
    assert got == pytest.approx(expected)


def test_random_scores_give_the_share_of_positives() -> None:
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(20000, generator=generator) < 0.2
    scores = torch.rand(20000, generator=generator)
    assert average_precision(scores, positive) == pytest.approx(0.2, abs=0.01)
