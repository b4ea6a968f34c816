"""Starts the node, and RViz where asked for.

ros2 launch distillnerf_ros distillnerf.launch.py queries:="[bus, road works]" rviz:=true
"""

from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = Path(get_package_share_directory("distillnerf_ros"))

PARAMETERS = {
    "weights": "name of shipped weights, or path of a .safetensors file",
    "device": "auto, cpu, cuda or cuda:K",
    "cameras": "YAML list of camera names",
    "camera_preset": "layout of the camera topics, see config/distillnerf.yaml",
    "image_topic": "image topic template with {camera} or {camera_lower}",
    "camera_info_topic": "CameraInfo topic template",
    "image_type": "preset, compressed or raw",
    "base_frame": "vehicle frame",
    "fixed_frame": "world-fixed frame; none: ignore the vehicle's motion within a glance",
    "queries": "YAML list of standing text queries",
    "query_threshold": "lowest score of a hit",
    "autostart": "configure and activate at start",
}
"""Parameters of the node that have a launch argument; where it is empty, params_file counts."""


LISTS = ("cameras", "queries")


def launch_nodes(context: LaunchContext) -> list[Node]:
    overrides = {
        name: parameter_value(name, text)
        for name in (*PARAMETERS, "use_sim_time")
        if (text := value_of(name, context))
    }
    node = Node(
        package="distillnerf_ros",
        executable="distillnerf_node",
        name="distillnerf",
        namespace=value_of("namespace", context),
        parameters=[value_of("params_file", context), overrides],
        arguments=["--ros-args", "--log-level", value_of("log_level", context)],
        output="screen",
        emulate_tty=True,
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", LaunchConfiguration("rviz_config")],
        parameters=[{name: overrides[name] for name in ("use_sim_time",) if name in overrides}],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return [node, rviz]


def parameter_value(name: str, text: str) -> bool | float | list[str] | ParameterValue:
    if name in LISTS:
        said = yaml.safe_load(text)
        texts = said if isinstance(said, list) else [text]
        return [str(entry) for entry in texts] or [""]  # ROS has no empty list of unknown type
    if name in ("autostart", "use_sim_time"):
        return text.lower() in ("true", "1")
    if name == "query_threshold":
        return float(text)
    if (name, text) == ("fixed_frame", "none"):
        text = ""
    return ParameterValue(text, value_type=str)  # else launch reads {camera} as YAML


def value_of(name: str, context: LaunchContext) -> str:
    return LaunchConfiguration(name).perform(context)


def generate_launch_description() -> LaunchDescription:
    arguments = {
        "params_file": (str(SHARE / "config" / "distillnerf.yaml"), "YAML file of parameters"),
        "namespace": ("", "namespace of the node"),
        "use_sim_time": ("", "follow /clock (bags, simulators); empty: from params_file"),
        "log_level": ("info", "debug, info, warn or error"),
        "rviz": ("false", "start RViz"),
        "rviz_config": (str(SHARE / "config" / "distillnerf.rviz"), "RViz configuration"),
        **{name: ("", f"{text}; empty: from params_file") for name, text in PARAMETERS.items()},
    }
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=launch_nodes)])
