"""Rates and orders."""

from itertools import islice

import pytest

from distillnerf_ros.training.schedule import Schedule, ShuffledForever


def test_samples_are_shuffled_without_repeats_and_resume_where_they_stopped() -> None:
    order = list(islice(ShuffledForever(5, 1, 0, 1), 15))
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order[:5] != order[5:10]
    assert list(islice(ShuffledForever(5, 1, 7, 1), 8)) == order[7:]


def test_schedule_rises_then_falls() -> None:
    schedule = Schedule(steps=1000, learning_rate=1.0, warmup_steps=100)
    assert schedule.rate(0) == pytest.approx(0.01)
    assert schedule.rate(100) == pytest.approx(1.0)
    assert schedule.rate(1000) == pytest.approx(0.02)


def test_a_step_schedule_falls_twice() -> None:
    schedule = Schedule(steps=1100, learning_rate=1.0, decay="step", warmup_steps=100)
    rates = [schedule.rate(step) for step in (100, 699, 701, 949, 951)]
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("start_step", [0, 2])
def test_processes_split_every_batch_of_one_order(start_step: int) -> None:
    whole = list(islice(ShuffledForever(7, 3, start_step, 4), 12))
    parts = [list(islice(ShuffledForever(7, 3, start_step, 4, (k, 2)), 6)) for k in (0, 1)]
    merged = []
    for step in range(3):
        merged += parts[0][2 * step : 2 * step + 2] + parts[1][2 * step : 2 * step + 2]
    assert merged == whole
