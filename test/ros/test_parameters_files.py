"""Launch files and the RViz configuration name only what the node has."""

import ast
import dataclasses
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.ros.outputs import CAMERA_TOPICS, TOPICS
from distillnerf_ros.ros.parameters import Parameters

ROOT = Path(__file__).parents[2]


def table(path, name):
    """A dictionary literal assigned at the top of a Python file."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == name:
            return ast.literal_eval(statement.value)
    raise AssertionError(f"no {name} in {path}")


def test_launch_arguments_are_parameters():
    arguments = table(ROOT / "launch" / "distillnerf.launch.py", "PARAMETERS")
    assert set(arguments) <= {entry.name for entry in dataclasses.fields(Parameters)}


@pytest.mark.parametrize("name", ["distillnerf", "replay"])
def test_launch_files_are_python(name):
    path = ROOT / "launch" / f"{name}.launch.py"
    functions = [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert "generate_launch_description" in functions


def displays(entry):
    for display in entry.get("Displays", []):
        yield display
        yield from displays(display)


def test_rviz_shows_topics_that_the_node_publishes():
    config = yaml.safe_load((ROOT / "config" / "distillnerf.rviz").read_text())
    shown = {
        display["Topic"]["Value"]
        for display in displays(config["Visualization Manager"])
        if "Topic" in display
    }
    published = {topic.replace("~", "/distillnerf") for topic, _, _ in TOPICS.values()}
    published |= {
        f"/distillnerf/{camera}/{topic}"
        for camera in CAMERA_NAMES
        for topic, _ in CAMERA_TOPICS.values()
    }
    assert shown <= published
    infos = {topic for topic in published if topic.endswith("camera_info")}
    assert published - shown == infos


def test_rviz_voxels_are_boxes_of_the_right_size():
    config = yaml.safe_load((ROOT / "config" / "distillnerf.rviz").read_text())
    (voxels,) = [
        display
        for display in displays(config["Visualization Manager"])
        if display.get("Name") == "Occupied voxels"
    ]
    assert (voxels["Style"], voxels["Size (m)"]) == ("Boxes", 0.4)
