"""Problems are counted always and logged at a bearable rate."""

import pytest

from distillnerf_ros.ros import health
from distillnerf_ros.ros.health import Health


@pytest.fixture
def clock(monkeypatch):
    """The wall clock, moved by hand."""

    class Clock:
        now_s = 100.0

    monkeypatch.setattr(health.time, "monotonic", lambda: Clock.now_s)
    return Clock


def test_the_same_problem_is_counted_each_time_and_logged_now_and_then(clock):
    lines = []
    watch = Health(lines.append, {"A": "/a", "B": "/b"})
    for _ in range(11):
        watch.camera_problem("A", "image", "A is damaged")
        clock.now_s += 1.0
    assert watch.cameras["A"].problems == {"image": 11}
    assert lines == ["A is damaged"] * 3


def test_other_problems_and_other_cameras_are_not_hidden(clock):
    lines = []
    watch = Health(lines.append, {"A": "/a", "B": "/b"})
    watch.camera_problem("A", "image", "A image")
    watch.camera_problem("A", "tf", "A tf")
    watch.camera_problem("B", "image", "B image")
    watch.problem("query", "query")
    assert lines == ["A image", "A tf", "B image", "query"]


def test_several_cameras_with_one_problem_are_one_line(clock):
    lines = []
    watch = Health(lines.append, {"A": "/a", "B": "/b", "C": "/c"})
    watch.camera_problems("tf", {"A": "A has no pose", "B": "B has no pose"})
    assert lines == ["A has no pose (likewise B)"]
    assert [camera.problems["tf"] for camera in watch.cameras.values()] == [1, 1, 0]
    assert watch.cameras["B"].last_problem == "B has no pose"


def test_rate_and_silence(clock):
    camera = Health(lambda line: None, {"A": "/a"}).cameras["A"]
    assert camera.rate_hz() == 0.0
    for _ in range(50):
        clock.now_s += 0.1
        camera.arrived()
    assert camera.rate_hz() == pytest.approx(10.0)
    clock.now_s += 7.0
    assert camera.silent_s() == pytest.approx(7.0)
    # 29 intervals of 0.1 s, and 6.9 s since the next image was due
    assert camera.rate_hz() == pytest.approx(29 / (2.9 + 6.9))


def test_silence_counts_from_the_moment_of_listening(clock):
    watch = Health(lambda line: None, {"A": "/a"})
    clock.now_s += 60.0
    watch.listen()
    clock.now_s += 2.0
    assert watch.cameras["A"].silent_s() == pytest.approx(2.0)
