"""Times of stages: the last frame, and the mean over frames."""

import pytest

from distillnerf_ros.ros import timing
from distillnerf_ros.ros.timing import StageTimes


def test_stages_add_up_within_a_frame_and_average_over_frames(monkeypatch):
    ticks = iter([0.0, 1.0, 1.0, 1.5, 2.0, 5.0, 10.0, 13.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    times = StageTimes()
    assert times.last() == {}
    for name in ("decode", "publish", "publish"):
        with times.stage(name):
            pass
    times.end_frame()
    assert times.last() == pytest.approx({"decode": 1.0, "publish": 3.5})
    with times.stage("decode"):
        pass
    times.end_frame()
    assert times.last() == pytest.approx({"decode": 3.0})
    assert times.mean() == pytest.approx({"decode": 2.0, "publish": 3.5})
