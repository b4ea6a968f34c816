"""One task in this process: it is claimed, done once, and its folder says what happened."""

import dataclasses
import json
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from distillnerf_ros.errors import SceneError
from distillnerf_ros.scene.fleet_task import (
    Outcome,
    Task,
    claim,
    events,
    is_claimed,
    note,
    work,
    write_whole,
)


@pytest.fixture
def verb(monkeypatch):
    """A verb whose module can be imported; counts its calls."""
    module = types.ModuleType("fake_verb")
    module.calls = []

    def run(args) -> int:
        module.calls.append(args)
        print("\r 10 %| bar")
        print(f"fits {args.scene}")
        args.json.write_text('{"psnr": 20.0}')
        return 0

    module.run = run
    monkeypatch.setitem(sys.modules, "fake_verb", module)
    return module


@pytest.fixture
def task(tmp_path) -> Task:
    folder = tmp_path / "scene-0001"
    arguments = {"scene": "scene-0001", "json": folder / "figures.json", "device": "auto"}
    return Task("scene-0001", folder, "fake_verb", arguments)


def kinds(folder: Path) -> list[str]:
    return [event["event"] for event in events(folder)]


def test_a_task_is_done_once(verb, task):
    assert work(task, 1) == Outcome("scene-0001", {"psnr": 20.0})
    assert work(task, 1) == Outcome("scene-0001", {"psnr": 20.0}, again=True)
    (call,) = verb.calls
    assert (call.scene, call.claimed) == ("scene-0001", True)
    assert kinds(task.folder) == ["start", "finish"]


def test_a_task_that_is_asked_otherwise_is_done_anew(verb, task):
    work(task, 1)
    elsewhere = dataclasses.replace(task, arguments=task.arguments | {"device": "cpu"})
    assert elsewhere.figures() == {"psnr": 20.0}
    longer = dataclasses.replace(task, arguments=task.arguments | {"steps": 99})
    assert longer.figures() is None
    assert not work(longer, 1).again
    assert len(verb.calls) == 2


def test_a_damaged_end_is_no_end(verb, task):
    work(task, 1)
    (task.folder / "done.json").write_text("{")
    assert task.figures() is None


def test_what_is_printed_goes_to_the_log_without_bars(verb, task, capsys):
    work(task, 1)
    assert (task.folder / "log.txt").read_text().split() == ["fits", "scene-0001"]
    assert capsys.readouterr().out == ""


def test_threads_are_set(verb, task, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before, seen = torch.get_num_threads(), []
    verb.run, run = lambda args: seen.append(torch.get_num_threads()) or run(args), verb.run
    try:
        work(task, 2)
    finally:
        torch.set_num_threads(before)
    assert seen == [2]


def test_an_explained_error_is_an_outcome(verb, task):
    verb.run = lambda args: (_ for _ in ()).throw(SceneError("the disk is full"))
    assert work(task, 1) == Outcome("scene-0001", error="the disk is full")
    assert kinds(task.folder) == ["start", "fail"]
    assert "the disk is full" in (task.folder / "log.txt").read_text()
    assert task.figures() is None


def test_a_status_is_an_outcome(verb, task):
    verb.run = lambda args: 3
    assert "ended with status 3" in work(task, 1).error


def test_any_other_error_is_raised(verb, task):
    verb.run = lambda args: (_ for _ in ()).throw(KeyError("bug"))
    with pytest.raises(KeyError, match="bug"):
        work(task, 1)
    assert events(task.folder)[-1]["error"] == "KeyError: 'bug'"


def test_a_folder_is_claimed_by_one(verb, task):
    with claim(task.folder, 0.0):
        outcome = work(task, 1, wait_s=0.0)
    assert "is being worked on by process" in outcome.error
    assert verb.calls == []
    assert work(task, 1, wait_s=0.0).error is None


def test_a_claim_can_be_seen_and_is_not_disturbed(task):
    assert not is_claimed(task.folder)
    with claim(task.folder, 0.0):
        assert is_claimed(task.folder)
    assert not is_claimed(task.folder)


def test_a_dead_process_claims_nothing(task):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from distillnerf_ros.scene.fleet_task import claim\n"
        "with claim(Path(sys.argv[1]), 0.0):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    words = [sys.executable, "-c", code, str(task.folder)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=root) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SceneError, match=f"process {other.pid}"), claim(task.folder, 0.0):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    with claim(task.folder, 0.0):
        assert (task.folder / "claim.lock").is_file()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SceneError, match="cannot be written"), claim(tmp_path / "file", 0.0):
        pass


def test_half_a_line_is_left_out(tmp_path):
    note(tmp_path, "start")
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "fin')
    assert kinds(tmp_path) == ["start"]
    assert kinds(tmp_path / "nowhere") == []


def test_a_file_is_whole_or_not_there(tmp_path):
    write_whole(tmp_path / "new" / "a.json", json.dumps({"a": 1}).encode())
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"a": 1}
    with pytest.raises(SceneError, match="cannot be written"):
        write_whole(tmp_path / "new", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
