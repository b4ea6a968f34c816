"""Many tasks over Ray, with two local workers: some are killed, some fail, none is done twice."""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from distillnerf_ros.errors import ConfigError, SceneError
from distillnerf_ros.scene import fit, fit_all, fleet
from distillnerf_ros.scene.fleet import Engine, add_fleet_arguments, alone, run_tasks
from distillnerf_ros.scene.fleet_task import Outcome, Task, events
from distillnerf_ros.scene.fleet_view import FleetView, is_begun
from distillnerf_ros.scene.state import read_tensors

# What a worker finds by the name of fake_verb; ``fate`` says what happens at the first attempts.
FAKE_VERB = """
import json, os, signal, time
from distillnerf_ros.errors import SceneError

def run(args):
    tries = args.out / "tries"
    before = len(tries.read_text()) if tries.exists() else 0
    with tries.open("a") as file:
        file.write("x")
    if before < args.times:
        if args.fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if args.fate == "refused":
            raise SceneError("the disk is full")
        if args.fate == "no memory":
            raise MemoryError("of the GPU")
        if args.fate == "bug":
            raise KeyError("bug")
        if args.fate == "slow":
            time.sleep(60)
    args.json.write_text(json.dumps({"psnr": 20.0 + before, "pid": os.getpid()}))
    return 0
"""
# The real verb with a small field on three fake scenes; one fit is killed before its sixth step.
SMALL_FIT = """
import os, signal
from ray import cloudpickle
from distillnerf_ros.scene import fit, fitter

SETTINGS, STEP = fit.FitSettings, fitter.Fitter.take_step

def killed(self, progress):
    mark = OUT / "killed"
    if self.log.name == "scene-0001" and self.step == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return STEP(self, progress)

def run(args):
    global OUT
    OUT = args.out
    nusc, config = cloudpickle.loads((args.dataroot / "fake.pickle").read_bytes())
    fit.nuscenes.open_dataset = lambda *_: nusc
    fit.config_of = lambda log, width: config
    fit.FitSettings = lambda **k: SETTINGS(beams=32, **k)
    fit._SAVE_EVERY_S = 0.0
    fitter.WARM_UP_STEPS = 1
    fitter.Fitter.take_step = killed
    return fit.run(args)
"""

TOGETHER = """
import json, os, time
from pathlib import Path

def run(args):
    (args.out / "here").touch()
    until = time.monotonic() + 60
    while len(list(args.out.parent.glob("*/here"))) < 2:
        if time.monotonic() > until:
            raise KeyError("nobody else came")
        time.sleep(0.05)
    args.json.write_text(json.dumps({"machine": os.getppid()}))
    return 0
"""
"""A task that ends once another is at work, which on machines of one CPU each takes two."""
DRIVER = """
import json, sys
from pathlib import Path
from distillnerf_ros.scene.fleet import Engine, run_tasks
from distillnerf_ros.scene.fleet_task import Task

out = Path(sys.argv[2])
tasks = [
    Task(name, out / name, "together", {"out": out / name, "json": out / name / "figures.json"})
    for name in ("scene-0000", "scene-0001")
]
done = run_tasks(tasks, Engine(sys.argv[1]), lambda task: "")
print(json.dumps([[outcome.figures, outcome.error] for outcome in done]))
"""


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """Ray with two local workers that find the modules above; ended whatever happens."""
    pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
    modules = tmp_path_factory.mktemp("modules")
    (modules / "fake_verb.py").write_text(FAKE_VERB)
    (modules / "small_fit.py").write_text(SMALL_FIT)
    # Ray's sockets have their names there, of which the system allows 107 characters.
    folder = tempfile.mkdtemp(prefix="ray")
    paths = [str(modules), str(Path(__file__).resolve().parents[2])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_TMPDIR", folder)
        try:
            with fleet._cluster(Engine(workers=2)) as connected:
                yield connected
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def fake_task(out: Path, name: str, fate: str = "well", times: int = 0) -> Task:
    folder = out / name
    own = {"out": folder, "json": folder / "figures.json", "fate": fate, "times": times}
    return Task(name, folder, "fake_verb", own)


def kinds(task: Task) -> list[str]:
    return [event["event"] for event in events(task.folder)]


FATES = {
    "first": fake_task(Path(), "first"),
    "killed once": fake_task(Path(), "killed once", "killed", 1),
    "killed always": fake_task(Path(), "killed always", "killed", 9),
    "refused": fake_task(Path(), "refused", "refused", 9),
    "no memory once": fake_task(Path(), "no memory once", "no memory", 1),
    "no memory": fake_task(Path(), "no memory", "no memory", 9),
    "bug": fake_task(Path(), "bug", "bug", 9),
    "last": fake_task(Path(), "last"),
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory) -> dict[str, Task]:
    out = tmp_path_factory.mktemp("out")
    return {
        name: fake_task(out, name, task.arguments["fate"], task.arguments["times"])
        for name, task in FATES.items()
    }


@pytest.fixture(scope="module")
def outcomes(ray, tasks) -> dict[str, Outcome]:
    """Of all fates together, with one retry."""
    done = run_tasks(list(tasks.values()), Engine(workers=2, retries=1), lambda task: "")
    return {outcome.name: outcome for outcome in done}


@pytest.mark.parametrize(
    ("name", "history"),
    [
        ("first", ["start", "finish"]),
        ("last", ["start", "finish"]),
        ("killed once", ["start", "start", "finish"]),
        ("no memory once", ["start", "fail", "start", "finish"]),
    ],
)
def test_nothing_is_lost_and_nothing_done_twice(tasks, outcomes, name, history):
    assert outcomes[name].error is None
    assert outcomes[name].figures["psnr"] == 20.0 + (len(history) > 2)
    assert kinds(tasks[name]) == history


@pytest.mark.parametrize(
    ("name", "history", "said"),
    [
        ("killed always", ["start", "start"], "its worker was lost too often"),
        ("refused", ["start", "fail"], "the disk is full"),
        ("no memory", ["start", "fail", "start", "fail"], "MemoryError: of the GPU; see"),
        ("bug", ["start", "fail"], "KeyError: 'bug'; see"),
    ],
)
def test_what_fails_is_reported_and_the_others_go_on(tasks, outcomes, name, history, said):
    assert said in outcomes[name].error
    assert outcomes[name].figures is None
    assert kinds(tasks[name]) == history


def test_a_second_call_does_what_is_left(ray, tasks, outcomes):
    mended = fake_task(tasks["refused"].folder.parent, "refused", "refused", 1)
    again = run_tasks([tasks["first"], mended, tasks["last"]], Engine(), lambda task: "")
    assert [outcome.again for outcome in again] == [True, False, True]
    assert kinds(tasks["first"]) == ["start", "finish"]
    assert kinds(mended) == ["start", "fail", "start", "finish"]


def test_nothing_to_do_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "_cluster", None)
    assert run_tasks([], Engine(), lambda task: "") == []


def test_an_interruption_ends_the_workers_and_can_be_gone_on_from(ray, tmp_path, monkeypatch):
    task = fake_task(tmp_path, "slow", "slow", 1)

    def look(view, waiting):
        if any(is_begun(task) for task in waiting):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FleetView, "look", look)
        with pytest.raises(KeyboardInterrupt):
            run_tasks([task], Engine(), lambda task: "")
    assert run_tasks([task], Engine(), lambda task: "")[0].figures["psnr"] == 21.0
    assert kinds(task) == ["start", "start", "finish"]


def test_a_killed_fit_goes_on_from_its_last_state(ray, fake_nusc, scene_config, monkeypatch):
    """The verb itself, on three scenes that differ in their names: so their fields must not."""
    root = Path(fake_nusc.dataroot)
    names = ["scene-0001", "scene-0002", "scene-0003"]
    fake_nusc.tables["scene"] = {
        name: {"token": name, "name": name, "first_sample_token": "k0"} for name in names
    }
    # The worker cannot import this test's folder.
    ray.cloudpickle.register_pickle_by_value(sys.modules[type(fake_nusc).__module__])
    (root / "fake.pickle").write_bytes(ray.cloudpickle.dumps((fake_nusc, scene_config)))
    monkeypatch.setattr(fit_all, "MODULE", "small_fit")
    monkeypatch.setattr(fit_all.nuscenes, "open_dataset", lambda *_: fake_nusc)
    parser = argparse.ArgumentParser()
    fit.add_arguments(parser)
    words = f"--dataroot {root} --out {root / 'out'} --size 16x12 --pixels 64 --steps 8 --all"
    args = parser.parse_args(f"{words} --workers 2 --device cpu --export {root / 'x'}".split())
    assert fit_all.run_all(args) == 0
    starts = {n: [e["event"] for e in events(root / "out" / n)].count("start") for n in names}
    assert starts == {"scene-0001": 2, "scene-0002": 1, "scene-0003": 1}
    fields = [read_tensors(root / "out" / n / "scene.safetensors")[1] for n in names]
    assert all(fields[0][key].equal(value) for key, value in fields[1].items())
    assert (root / "x" / "scene-0003" / "k1.npz").is_file()
    summary = json.loads((root / "out" / "summary.json").read_text())
    assert (summary["done"], summary["mean"]["steps"]) == (3, 8.0)


def machine(cpus: float, gpus: float = 0.0) -> dict[str, float]:
    return {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})


@pytest.mark.parametrize(
    ("machines", "engine", "device", "expected"),
    [
        ([machine(8)], Engine(), "auto", (1, 0.0)),
        ([machine(8)], Engine(threads=4), "auto", (4, 0.0)),
        ([machine(64), machine(48, 4)], Engine(), "auto", (12, 1.0)),
        ([machine(64, 8), machine(8, 4)], Engine(), "auto", (2, 1.0)),
        ([machine(16, 1)], Engine(gpus=0.25), "cuda", (4, 0.25)),
        ([machine(16, 1)], Engine(), "cpu", (1, 0.0)),
        ([machine(1, 4)], Engine(), "auto", (1, 1.0)),
    ],
)
def test_each_task_gets_its_share(machines, engine, device, expected):
    share = fleet._share(machines, device, engine)
    assert (share.threads, share.gpus) == expected


@pytest.mark.parametrize(
    ("machines", "engine", "device", "said"),
    [
        ([machine(8)], Engine(), "cuda", "no machine of the cluster has 1 CPUs and 1 GPUs"),
        ([machine(8), machine(4)], Engine(threads=9), "auto", "has 9 CPUs and 0 GPUs"),
        ([machine(8, 2)], Engine(), "cuda:1", "sees its own GPU alone"),
    ],
)
def test_what_no_machine_has_is_refused(machines, engine, device, said):
    with pytest.raises(ConfigError, match=said):
        fleet._share(machines, device, engine)


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'distillnerf_ros\[cluster\]'"):
        run_tasks([fake_task(Path("nowhere"), "a")], Engine(), lambda task: "")


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"threads": 0}, {"gpus": 0.0}, {"gpus": 2.0}, {"retries": -1}]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="is out of range; expected"):
        Engine(**wrong)


def test_arguments_become_an_engine_and_tasks_of_one_scene(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    add_fleet_arguments(parser)
    words = "--out o --all train --address head:6379 --workers 3 --gpus-per-task 0.5 --retries 1"
    args = parser.parse_args(words.split())
    assert Engine.of(args) == Engine("head:6379", 3, None, 0.5, 1)
    assert alone(args, scene="a") == {"out": tmp_path / "o", "all": None, "scene": "a"}
    assert parser.parse_args(["--all"]).all == "all"
    assert Engine.of(parser.parse_args([])) == Engine()


def test_ray_may_need_a_second_start(monkeypatch):
    calls = []

    def init(**arguments) -> None:
        calls.append(arguments["address"])
        if calls.count("local") < fail:
            raise Exception("timed out during startup")

    ray = types.ModuleType("ray")
    ray.init, ray.shutdown = init, lambda: calls.append("ended")
    fail = 3
    fleet._init(ray, Engine())
    assert calls == ["local", "ended", "local", "ended", "local"]
    fail, calls[:] = 9, []
    with pytest.raises(SceneError, match="cannot be had at this machine: timed out"):
        fleet._init(ray, Engine())
    assert calls.count("local") == 3
    calls[:] = []
    with pytest.raises(SceneError, match="cannot be had at head:6379"):
        fleet._init(ray, Engine("head:6379"))
    assert calls == ["head:6379", "ended"]


def test_ray_is_joined_by_address_or_started_for_this_machine_alone():
    joined = fleet._init_arguments(Engine("head:6379"))
    assert joined["address"] == "head:6379"
    assert "num_cpus" not in joined
    started = fleet._init_arguments(Engine(workers=64, threads=2))
    assert started["address"] == "local"
    assert started["num_cpus"] >= 128
    assert started["include_dashboard"] is False


@pytest.fixture
def environment(tmp_path) -> Iterator[dict[str, str]]:
    """What the processes of a cluster are given: where their code is, and its token."""
    pytest.importorskip("ray", reason="the extra 'cluster' is not installed")
    (tmp_path / "together.py").write_text(TOGETHER)
    # Ray's sockets have their names there, of which the system allows 107 characters.
    folder = tempfile.mkdtemp(prefix="ray")
    paths = [str(tmp_path), str(Path(__file__).resolve().parents[2])]
    known = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    yield known | {
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]),
        "RAY_TMPDIR": folder,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    }
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def machine(environment: dict[str, str], *words: str) -> Iterator[None]:
    """One CPU, as ``ray start`` on a machine of its own would lend it."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
    size = ["--object-store-memory", str(100 << 20)]
    shown = environment | {"RAY_AUTH_MODE": "token"}
    started = subprocess.Popen([*ray, *size, *words], env=shown, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        started.terminate()
        started.wait(timeout=30)


def wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < until, "the head did not start within a minute"
            time.sleep(0.2)


@pytest.mark.slow
def test_two_machines_share_the_scenes(environment, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with machine(environment, "--head", "--port", str(port), "--include-dashboard=false"):
        wait_for(port)
        with machine(environment, "--address", address):
            driver = subprocess.run(
                [sys.executable, "-c", DRIVER, address, str(tmp_path / "out")],
                env=environment,
                capture_output=True,
                text=True,
                timeout=150,
            )
    assert driver.returncode == 0, driver.stderr
    outcomes = json.loads(driver.stdout.splitlines()[-1])
    assert [error for _, error in outcomes] == [None, None]
    assert len({figures["machine"] for figures, _ in outcomes}) == 2
