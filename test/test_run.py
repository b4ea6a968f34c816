"""./run says what is missing on a machine before it makes anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What ./run calls before it looks for a compiler.
TOOLS = ("bash", "cat", "cut", "dirname", "find", "flock", "printf", "sha256sum", "sort", "xargs")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which nothing was set up."""
    shutil.copy(ROOT / "run", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def run(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """./run with nothing of ROS in its environment but the given variables."""
    inherited = {"HOME": os.environ.get("HOME", "/tmp"), "PATH": os.environ["PATH"]}
    return subprocess.run(
        ["bash", clone / "run", *arguments],
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def bare_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH of few tools, without Python and compiler."""
    folder = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    return folder


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_help_names_the_verbs(clone: Path, arguments: tuple[str, ...]):
    done = run(clone, *arguments)
    assert done.returncode == 0
    for verb in ("setup", "demo", "test"):
        assert f"./run {verb}" in done.stdout


def test_unknown_verb_is_refused(clone: Path):
    done = run(clone, "tset")
    assert done.returncode == 1
    assert "unknown: tset" in done.stderr


def test_no_python(clone: Path, bare_path: Path):
    done = run(clone, "setup", PATH=str(bare_path))
    assert done.returncode == 1
    assert "no Python 3.10 to 3.13 found" in done.stderr
    assert not (clone / ".venv").exists()


def test_no_compiler(clone: Path, bare_path: Path):
    done = run(clone, "setup", PATH=str(bare_path), DISTILLNERF_PYTHON=sys.executable)
    assert done.returncode == 1
    assert "no C++ compiler" in done.stderr
    assert not (clone / ".venv").exists()


def test_sourced_ros_that_no_python_imports(clone: Path, bare_path: Path):
    python = bare_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = run(clone, "setup", ROS_DISTRO="kilted", DISTILLNERF_PYTHON=str(python))
    assert done.returncode == 1
    assert "ROS_DISTRO=kilted" in done.stderr
    assert "DISTILLNERF_PYTHON" in done.stderr
