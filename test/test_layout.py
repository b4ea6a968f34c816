"""Tests lie where the code lies: cameras/rays.py is tested by test/cameras/test_rays.py."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What these judge is the repository and no single module.
OF_THE_WHOLE = {
    f"test_{what}.py"
    for what in ("imports", "layout", "packaging", "pretend_gpu", "run", "shapes")
}


def judged_modules(test: Path) -> list[Path]:
    """Where the module that a test file judges may lie.

    `test/a/test_b.py` judges a/b.py; so does `test/a/test_b_aspect.py`.
    """
    words = test.stem.removeprefix("test_").split("_")
    stems = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    if test.parts[0] == "ros_underlay":
        folders = [Path("ros_underlay"), Path("ros_underlay", "stand_ins")]
    else:
        folders = [Path("distillnerf_ros", test.parent)]
    return [folder / stem for folder in folders for stem in stems]


def is_mirrored(test: Path) -> bool:
    """Whether a test file, relative to test/, has its module."""
    if str(test) in OF_THE_WHOLE:
        return True
    return any(
        (ROOT / module).is_dir() or (ROOT / module).with_suffix(".py").is_file()
        for module in judged_modules(test)
    )


def test_every_test_file_mirrors_a_module():
    tests = [path.relative_to(ROOT / "test") for path in (ROOT / "test").rglob("test_*.py")]
    assert tests
    assert [str(test) for test in tests if not is_mirrored(test)] == []


@pytest.mark.parametrize(
    ("test", "mirrored"),
    [
        ("cameras/test_rays.py", True),
        ("cameras/test_rays_fisheye.py", True),
        ("ros_underlay/test_tf2_ros.py", True),
        ("ros_underlay/test_tf2_msgs.py", True),
        ("cameras/test_gone.py", False),
        ("test_rays.py", False),
    ],
)
def test_the_rule(test: str, mirrored: bool):
    assert is_mirrored(Path(test)) is mirrored


def test_every_file_of_tests_is_collected():
    strays = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "test").rglob("*.py")
        if not path.name.startswith("test_") and "def test_" in path.read_text()
    ]
    assert strays == []
