"""The ROS part of the demo: node, replay, recorder and asker as processes that talk over DDS."""

import dataclasses
import importlib.util
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data.bag_messages import TopicLayout
from distillnerf_ros.demo.processes import Child, Children
from distillnerf_ros.demo.report import Answer
from distillnerf_ros.demo.snapshot import Found
from distillnerf_ros.errors import ProcessError

READY_TIMEOUT_S = 180.0
"""Loading PyTorch and the weights takes 5 to 20 s on two cores of their own."""
SETTLE_TIMEOUT_S = 180.0
FASTDDS_PROFILE = Path(__file__).with_name("fastdds.xml")
_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_DISTROS_WITH_FASTDDS_2 = ("humble", "iron", "jazzy")  # they read the second of these
_DOMAINS = 100
"""ROS_DOMAIN_ID 1..100: the ports of higher ones may collide with the system's own."""


@dataclasses.dataclass(frozen=True)
class SessionOptions:
    """How to play.

    Attributes:
        weights: name or file of the weights.
        device: compute device of the node.
        queries: standing queries.
        prompts: asked through the service.
        rate: bag seconds per second.
        cameras: camera names, as in the bag.
    """

    weights: str
    device: str
    queries: tuple[str, ...]
    prompts: tuple[str, ...]
    rate: float
    cameras: tuple[str, ...] = CAMERA_NAMES


def check_ros() -> None:
    """Make sure that ROS 2 and the interfaces of this package are there.

    Raises:
        ProcessError: something is missing; says what and what to do.
    """
    missing = [
        name for name in ("rclpy", "distillnerf_msgs") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ProcessError(
            f"the demo runs through ROS 2, and {' and '.join(missing)} cannot be imported by this "
            "Python; start it as ./run demo, which sets everything up, or source a ROS 2 "
            "workspace in which distillnerf_ros was built. Without ROS: distillnerf render, "
            "distillnerf query"
        )


def environment(logs: Path) -> dict[str, str]:
    """Environment of the processes: a ROS domain of their own that stays on this machine.

    Fast DDS gets shared memory for whole glances, unless the user has a profile of their own.
    """
    own_profile = any(name in os.environ for name in _PROFILE_VARIABLES)
    old = os.environ.get("ROS_DISTRO") in _DISTROS_WITH_FASTDDS_2
    profile = {} if own_profile else {_PROFILE_VARIABLES[old]: str(FASTDDS_PROFILE)}
    return {
        **os.environ,
        **profile,
        "ROS_DOMAIN_ID": str(os.getpid() % _DOMAINS + 1),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(logs / "ros"),
    }


def play(bag: Path, outputs: Path, logs: Path, options: SessionOptions) -> list[dict[str, Any]]:
    """Play a bag into the node, record what it publishes, and ask it meanwhile.

    Args:
        bag: rosbag2 of the inputs.
        outputs: rosbag2 folder to make.
        logs: folder for the logs of the processes.
        options: how.

    Returns:
        What the service answered, in order (see ``ros.asker``).

    Raises:
        ProcessError: a process failed or hung; quotes its log.
    """
    answers = logs / "answers.jsonl"
    answers.unlink(missing_ok=True)
    with Children() as children:
        node, asker = _start_listeners(children, outputs, answers, logs, options)
        children.wait_until(lambda: bool(_lines(answers)), READY_TIMEOUT_S, "the node", node)
        replay = children.add(_start_replay(bag, logs, options))
        children.wait_until(lambda: not replay.running, math.inf, "the end of the bag", replay)
        replay.check()
        # Two more answers: the node was through with the last glance before the second.
        enough = len(_lines(answers)) + 2
        children.wait_until(
            lambda: len(_lines(answers)) >= enough, SETTLE_TIMEOUT_S, "the last answers", asker
        )
        time.sleep(1.5)  # one more round of /diagnostics, which come every second
    return _lines(answers)[1:]


def _start_listeners(
    children: Children, outputs: Path, answers: Path, logs: Path, options: SessionOptions
) -> tuple[Child, Child]:
    """Start recorder, node and asker; returns the last two."""
    around = environment(logs)
    children.add(
        Child(
            "recorder",
            "distillnerf_ros.ros.recorder",
            [str(outputs), "--prefix", "/distillnerf", "--topics", "/diagnostics"],
            logs / "recorder.log",
            around,
        )
    )
    node = children.add(
        Child(
            "distillnerf_node",
            "distillnerf_ros.ros.node",
            _node_arguments(options),
            logs / "node.log",
            around,
        )
    )
    asker = children.add(
        Child(
            "asker",
            "distillnerf_ros.ros.asker",
            [str(answers), "--prompts", *options.prompts],
            logs / "asker.log",
            around,
        )
    )
    return node, asker


def _node_arguments(options: SessionOptions) -> list[str]:
    values = {
        "use_sim_time": True,
        "weights": options.weights,
        "device": options.device,
        "queries": list(options.queries) or [""],
        "cameras": list(options.cameras),
    }
    # JSON is YAML, which is what ROS reads parameters as.
    pairs = [f"{name}:={json.dumps(value)}" for name, value in values.items()]
    return ["--ros-args", *[word for pair in pairs for word in ("-p", pair)]]


def _start_replay(bag: Path, logs: Path, options: SessionOptions) -> Child:
    layout = TopicLayout()
    names = [
        topic.format(camera=camera)
        for camera in options.cameras
        for topic in (layout.image, layout.camera_info)
    ]
    return Child(
        "nuscenes_replay",
        "distillnerf_ros.ros.replay",
        [str(bag), "--rate", str(options.rate), "--wait-for", "/tf", "/tf_static", *names],
        logs / "replay.log",
        environment(logs),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a JSON-lines file that may be growing."""
    if not path.is_file():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def answers_at(records: Sequence[dict[str, Any]], stamp_ns: int) -> tuple[Answer, ...]:
    """What the service said about each prompt of the glance with this stamp; empty if nothing."""
    for record in records:
        if record["success"] and record["stamp_ns"] == stamp_ns:
            return tuple(
                Answer(
                    prompt,
                    math.nan if score is None else score,
                    tuple(_found(c) for c in record["clusters"] if c["prompt"] == prompt),
                )
                for prompt, score in zip(record["prompts"], record["scores"], strict=True)
            )
    return ()


def _found(cluster: dict[str, Any]) -> Found:
    return Found(
        cluster["prompt"],
        tuple(cluster["center_m"]),
        tuple(cluster["size_m"]),
        cluster["score"],
        cluster["count"],
    )
