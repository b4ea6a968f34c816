"""The rooms of the package import one another in one direction, and the core needs no ROS."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "distillnerf_ros"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

# Each level may import itself and those before it.
ORDER = (
    {"cameras"},
    {"teachers"},
    {"voxels"},
    {"render"},
    {"lift"},
    {"query"},
    {"model"},
    {"checkpoint"},
    {"pipeline"},
    {"world", "data"},
    {"scene"},
    {"training"},
    {"bench", "cli", "demo", "ros"},
)
# Anybody may import these, and they import nothing but one another.
FREE = {"config", "device", "errors", "files", "memory", "progress", "taxonomy"}
ROS = {
    "ament_index_python",
    "builtin_interfaces",
    "cv_bridge",
    "diagnostic_msgs",
    "distillnerf_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "lifecycle_msgs",
    "nav_msgs",
    "rcl_interfaces",
    "rclpy",
    "rosgraph_msgs",
    "sensor_msgs",
    "sensor_msgs_py",
    "std_msgs",
    "std_srvs",
    "tf2_msgs",
    "tf2_ros",
    "tf_transformations",
    "visualization_msgs",
}
# Slow to import or not installed everywhere: loaded where they are used.
HEAVY = {"matplotlib", "nuscenes", "open_clip", "timm", "torchvision"}


def level(room: str) -> int:
    """Place of a room in the order; -1 for what anybody may import.

    Raises:
        KeyError: The room stands nowhere: add it to ORDER.
    """
    if room in FREE:
        return -1
    for index, rooms in enumerate(ORDER):
        if room in rooms:
            return index
    raise KeyError(f"{PACKAGE}.{room} has no place in the order of imports")


def imported_modules(module: str, source: str) -> set[str]:
    """Absolute names of all that a module imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # `from distillnerf_ros import errors` imports a room, `from x.y import z` x.y.
            names |= {f"{base}.{a.name}" for a in node.names} if base == PACKAGE else {base}
    return names


def violations(module: str, source: str) -> list[str]:
    """The imports of one module that break the rule, as readable lines."""
    room = module.split(".")[1] if "." in module else ""
    wrong = []
    for name in sorted(imported_modules(module, source)):
        parts = name.split(".")
        if parts[0] in ROS and room != "ros":
            wrong.append(f"{module} imports {name}: only {PACKAGE}.ros may import ROS")
        if parts[0] == PACKAGE and len(parts) > 1 and (not room or level(room) < level(parts[1])):
            wrong.append(f"{module} imports {name}, which stands after it")
    return wrong


def modules() -> dict[str, Path]:
    """Dotted name and file of each module of the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def test_rooms_import_in_one_direction():
    wrong = [
        line for module, path in modules().items() for line in violations(module, path.read_text())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cameras.rig", "from distillnerf_ros.query.text import relevancy"),
        ("cameras.rig", "import distillnerf_ros.voxels.grid"),
        ("lift.lift", "from distillnerf_ros import pipeline"),
        ("voxels.grid", "from ..lift import lift"),
        ("errors", "from distillnerf_ros.cameras import rig"),
        ("query.text", "def f():\n    from distillnerf_ros.training import trainer"),
        ("world.writer", "from distillnerf_ros.scene import fields"),
        ("pipeline", "import rclpy"),
        ("data.bag", "from sensor_msgs.msg import Image"),
    ],
)
def test_rule_fails_on_a_wrong_import(module: str, source: str):
    assert violations(f"{PACKAGE}.{module}", source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("query.text", "from distillnerf_ros.cameras.rig import CameraRig"),
        ("query.text", "from distillnerf_ros.errors import CheckpointError"),
        ("world.occupancy", "from distillnerf_ros.data.occ3d import OccupancyTruth"),
        ("lift.lift", "from .backbone import Backbone"),
        ("ros.node", "import rclpy"),
        ("cameras.rig", "import torch"),
    ],
)
def test_rule_passes_a_right_import(module: str, source: str):
    assert not violations(f"{PACKAGE}.{module}", source)


def test_a_room_of_no_place_is_named():
    with pytest.raises(KeyError, match="attic"):
        violations(f"{PACKAGE}.model", f"import {PACKAGE}.attic")


# Any import of a blocked name raises, as if nothing of that name were installed.
BLOCKER = """
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError("blocked: " + name, name=name)
sys.meta_path.insert(0, Blocker())
for module in {modules}:
    importlib.import_module(module)
"""


def run_python(code: str) -> str:
    """Output of some Python in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_core_imports_without_ros_and_without_heavy_packages():
    core = [name for name in modules() if name.split(".")[1:2] != ["ros"]]
    code = BLOCKER.format(blocked=sorted(ROS | HEAVY), modules=core)
    assert run_python(code + "print('all imported')") == "all imported\n"


def test_blocker_blocks():
    code = BLOCKER.format(blocked=sorted(ROS), modules=["rclpy"])
    with pytest.raises(AssertionError, match="blocked: rclpy"):
        run_python(code)


def test_importing_the_node_loads_nothing_heavy():
    code = f"import sys, {PACKAGE}.ros.node\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    assert run_python(code).strip() == ""
