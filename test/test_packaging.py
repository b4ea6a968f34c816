"""What gets installed: all files of the package, by pip and where the ament index looks."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

import distillnerf_ros

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "distillnerf_ros"
INTERFACES = sorted((ROOT / "msg").glob("[ms]*/*.[ms]*"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The package as pip installs it."""
    out = tmp_path_factory.mktemp("wheel")
    steps = ["egg_info", "--egg-base", out, "build", "--build-base", out / "build"]
    steps += ["bdist_wheel", "--dist-dir", out]
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", *map(str, steps)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile):
    files = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {str(path.relative_to(ROOT)) for path in files} <= set(wheel.namelist())


def test_wheel_holds_what_the_ament_index_needs(wheel: zipfile.ZipFile):
    shared = {name.split(".data/data/")[-1] for name in wheel.namelist() if ".data/data/" in name}
    expected = {
        "share/ament_index/resource_index/packages/distillnerf_ros",
        "share/distillnerf_ros/package.xml",
    }
    for folder in ("launch", "config"):
        files = [path for path in (ROOT / folder).glob("*.*") if path.is_file()]
        expected |= {f"share/distillnerf_ros/{folder}/{path.name}" for path in files}
    assert expected <= shared


def test_wheel_holds_nothing_but_the_package(wheel: zipfile.ZipFile):
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"distillnerf_ros"}


def test_executables(wheel: zipfile.ZipFile):
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    found = re.findall(r"^(\w+) = ([\w.]+):(\w+)$", wheel.read(name).decode(), re.MULTILINE)
    assert {executable for executable, _, _ in found} == {
        "distillnerf",
        "distillnerf_node",
        "nuscenes_replay",
    }
    for _, module, function in found:
        path = ROOT / Path(*module.split(".")).with_suffix(".py")
        assert f"def {function}(" in path.read_text()


def test_installed_package_is_in_the_ament_index():
    from ament_index_python import get_package_share_directory

    share = Path(get_package_share_directory("distillnerf_ros"))
    assert ElementTree.parse(share / "package.xml").findtext("name") == "distillnerf_ros"
    for folder in ("launch", "config"):
        assert {path.name for path in (ROOT / folder).glob("*.*")} <= {
            path.name for path in (share / folder).iterdir()
        }


# Names of packages by names of modules, where they differ.
PIP_NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "nuscenes": "nuscenes-devkit",
    "open_clip": "open_clip_torch",
    "yaml": "pyyaml",
}


def imported() -> set[str]:
    """What the package and its launch files import, of neither Python's own nor ours."""
    names: set[str] = set()
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"distillnerf_ros"}


def test_all_that_is_imported_is_declared():
    by_pip = set(re.findall(r'"([\w-]+)[>=~]', (ROOT / "setup.py").read_text()))
    by_ros = {
        entry.text
        for entry in ElementTree.parse(ROOT / "package.xml").getroot()
        if entry.tag.endswith("depend")
    }
    assert {PIP_NAMES.get(name, name) for name in imported()} <= by_pip | by_ros


def test_versions_agree():
    (in_setup,) = re.findall(r'version="(.+?)"', (ROOT / "setup.py").read_text())
    in_xml = [
        ElementTree.parse(ROOT / folder / "package.xml").findtext("version")
        for folder in (".", "msg")
    ]
    assert [in_setup, *in_xml] == [distillnerf_ros.__version__] * 3


def test_interfaces_are_there():
    assert len(INTERFACES) >= 4


@pytest.mark.parametrize("path", INTERFACES, ids=lambda path: path.name)
def test_every_field_of_an_interface_is_explained(path: Path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    fields = [line for line in lines if line and not line.startswith("#") and line != "---"]
    assert fields
    assert [line for line in fields if " # " not in line] == []


def test_interfaces_are_all_built():
    listed = re.findall(r'"((?:msg|srv)/\w+\.\w+)"', (ROOT / "msg/CMakeLists.txt").read_text())
    assert sorted(listed) == sorted(str(path.relative_to(ROOT / "msg")) for path in INTERFACES)
