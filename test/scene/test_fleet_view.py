"""What is shown of a fleet, on a terminal and in a file."""

import io
import sys

import pytest

from distillnerf_ros.scene import fleet_view
from distillnerf_ros.scene.fleet_task import Outcome, Task, claim, note
from distillnerf_ros.scene.fleet_view import FleetView, is_begun


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(fleet_view, "_TERMINAL_S", 0.0)
    monkeypatch.setattr(fleet_view, "_FILE_S", 0.0)


@pytest.fixture
def tasks(tmp_path):
    made = [Task(name, tmp_path / name, "verb", {}) for name in ("a", "b")]
    made[0].folder.mkdir()
    note(made[0].folder, "start")
    with claim(made[0].folder, wait_s=0.0):
        yield made


def show(tasks) -> None:
    with FleetView(3, 1, lambda task: "step 7 of 9") as view:
        view.look(tasks)
        view.ended(Outcome("a", {"psnr": 24.25, "device": "cpu", "abs_rel": None}))
        view.ended(Outcome("b", error="no lidar"))


def test_a_file_gets_plain_lines(tasks, at_once, capsys):
    show(tasks)
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "a: step 7 of 9",
        "a: psnr 24.2 (2 of 3)",
        "b: NOT DONE: no lidar (2 of 3)",
    ]


def test_a_terminal_gets_a_bar_and_a_line_per_scene(tasks, at_once, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    show(tasks)
    text = terminal.getvalue()
    assert "a: step 7 of 9" in text
    assert "b: step 7 of 9" not in text
    assert "| 2/3 [" in text
    assert "b: NOT DONE: no lidar (2 of 3)" in text


def test_it_does_not_look_all_the_time(tasks, capsys):
    with FleetView(2, 0, lambda task: "step 7 of 9") as view:
        view.look(tasks)
    assert capsys.readouterr().err == ""


def test_a_task_is_begun_from_its_start_to_its_end(tasks):
    assert [is_begun(task) for task in tasks] == [True, False]
    note(tasks[0].folder, "finish")
    assert not is_begun(tasks[0])


def test_a_lost_worker_is_told(tasks, at_once, capsys):
    tasks[1].folder.mkdir()
    note(tasks[1].folder, "start")  # and nobody holds its claim
    with FleetView(2, 0, lambda task: "step 7 of 9") as view:
        view.look(tasks)
    assert "b: its worker was lost; it waits for another" in capsys.readouterr().err
