"""A cluster of two machines, joined by its address; both are processes of this one."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def environment(tmp_path) -> Iterator[dict[str, str]]:
    """What all processes are given: where their code is, and the cluster's token."""
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
