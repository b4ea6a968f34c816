"""The virtual environment is an ament prefix without anything sourced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).resolve().parents[2] / "ros_underlay" / "ament_prefix.py"
SHOW = "import os; print(os.environ['AMENT_PREFIX_PATH']); print(os.environ['LD_LIBRARY_PATH'])"
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp")}


@pytest.fixture
def hooked(tmp_path: Path) -> Path:
    """Python of an empty virtual environment with the hook, as where a ROS 2 is installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "v"], check=True)
    (site,) = (tmp_path / "v" / "lib").glob("python*/site-packages")
    (site / "distillnerf_ament_prefix.py").write_text(HOOK.read_text())
    (site / "distillnerf_ament_prefix.pth").write_text("import distillnerf_ament_prefix\n")
    return tmp_path / "v" / "bin" / "python"


def paths(python: Path, **variables: str) -> list[str]:
    done = subprocess.run(
        [python, "-c", SHOW], env=BARE | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_both_paths_begin_with_the_environment(hooked: Path):
    prefix = str(hooked.parents[1])
    assert paths(hooked) == [prefix, f"{prefix}/lib"]


def test_what_was_sourced_comes_after(hooked: Path):
    prefix = str(hooked.parents[1])
    found = paths(hooked, AMENT_PREFIX_PATH="/opt/ros/x", LD_LIBRARY_PATH="/opt/ros/x/lib")
    assert found == [f"{prefix}:/opt/ros/x", f"{prefix}/lib:/opt/ros/x/lib"]


def test_a_child_of_the_environment_adds_nothing(hooked: Path):
    prefix = str(hooked.parents[1])
    found = paths(hooked, AMENT_PREFIX_PATH=prefix, LD_LIBRARY_PATH=f"{prefix}/lib")
    assert found == [prefix, f"{prefix}/lib"]


def test_arguments_survive(hooked: Path):
    code = "import sys; print(sys.argv[1:])"
    done = subprocess.run(
        [hooked, "-c", code, "a b", "--c"], env=BARE, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['a b', '--c']"
