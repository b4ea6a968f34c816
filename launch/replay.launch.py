"""Plays a bag into the node: with RViz it shows the cameras, depth, voxels, grid and hits.

ros2 launch distillnerf_ros replay.launch.py bag:=scene-0061_bag rviz:=true loop:=true
"""

from collections.abc import Callable
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from distillnerf_ros.ros.parameters import from_values

SHARE = Path(get_package_share_directory("distillnerf_ros"))


def launch_player(context: LaunchContext) -> list[Node | RegisterEventHandler]:
    def value_of(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    options = ["--rate", value_of("rate"), "--start", value_of("start")]
    options += ["--clock", value_of("clock")]
    if value_of("loop").lower() in ("true", "1"):
        options.append("--loop")
    topics = value_of("wait_for")
    if topics == "auto":
        topics = first_image_topic(value_of)
    if topics:
        options += ["--wait-for", *topics.split()]
    player = Node(
        package="distillnerf_ros",
        executable="nuscenes_replay",
        arguments=[value_of("bag"), *options],
        output="screen",
    )
    at_end = RegisterEventHandler(
        OnProcessExit(
            target_action=player, on_exit=[EmitEvent(event=Shutdown(reason="bag ended"))]
        ),
        condition=IfCondition(LaunchConfiguration("exit_at_end")),
    )
    return [at_end, player]


def first_image_topic(value_of: Callable[[str], str]) -> str:
    names = ("cameras", "camera_preset", "image_topic", "image_type")
    given = {name: text for name in names if (text := value_of(name))}
    if "cameras" in given:
        given["cameras"] = yaml.safe_load(given["cameras"])
    parameters = from_values(given)
    return parameters.camera_topics(parameters.cameras[0])[0]


def generate_launch_description() -> LaunchDescription:
    arguments = {
        "bag": (None, "rosbag2 folder, or a single .mcap or .db3 file"),
        "rate": ("1.0", "bag seconds per second"),
        "start": ("0.0", "seconds to skip at the beginning"),
        "loop": ("false", "start over at the end"),
        "clock": ("100.0", "rate of /clock in Hz"),
        "wait_for": (
            "auto",
            "topics, separated by blanks, that need a subscriber before the bag starts: the node "
            "subscribes once its model is loaded; auto: the first camera's images, by cameras, "
            "camera_preset and image_topic",
        ),
        "exit_at_end": ("false", "stop everything when the bag ends"),
    }
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "distillnerf.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    return LaunchDescription([*declared, node, OpaqueFunction(function=launch_player)])
