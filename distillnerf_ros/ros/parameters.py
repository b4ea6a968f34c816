"""The node's parameters: one table of defaults, units, ranges and descriptions, and its checks.

``config/distillnerf.yaml`` is `as_yaml` of this table; a test keeps the two equal.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class CameraPreset:
    """Where a bag converter puts its cameras.

    Attributes:
        image_topic: template of the image topic; ``{camera}`` is the name as in the parameter
            ``cameras``, ``{camera_lower}`` the same in lower case.
        camera_info_topic: template of the CameraInfo topic.
        compressed: True for sensor_msgs/CompressedImage, False for sensor_msgs/Image.
    """

    image_topic: str
    camera_info_topic: str
    compressed: bool


CAMERA_PRESETS: dict[str, CameraPreset] = {
    "distillnerf": CameraPreset(
        "/{camera}/image_rect_compressed", "/{camera}/camera_info", compressed=True
    ),
    "image_transport": CameraPreset(
        "/{camera}/image_raw/compressed", "/{camera}/camera_info", compressed=True
    ),
    "raw": CameraPreset("/{camera}/image_raw", "/{camera}/camera_info", compressed=False),
    "watonomous": CameraPreset(
        "/{camera}/image_rect_compressed", "/{camera}/camera_info", compressed=True
    ),
    "chris7462": CameraPreset(
        "/nuscenes/{camera_lower}/image_raw",
        "/nuscenes/{camera_lower}/camera_info",
        compressed=False,
    ),
    "ros2_dataset_bridge": CameraPreset(
        "/nuscenes/{camera}/image", "/nuscenes/{camera}/camera_info", compressed=False
    ),
}
"""Topic layouts by name: `distillnerf bag`, the usual drivers, and public nuScenes converters."""

RECTIFY_CHOICES = ("auto", "always", "never")


def _entry(
    default: Any,
    description: str,
    *,
    unit: str = "",
    low: int | float | None = None,
    high: int | float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    metadata = {
        "description": description,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "live": live,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Every parameter of the node. Those marked live may be changed while the node runs."""

    autostart: bool = _entry(
        True, "configure and activate at start; false: a lifecycle manager does it"
    )
    weights: str = _entry("tiny", "name of shipped weights, or path of a .safetensors file")
    device: str = _entry("auto", "compute device: auto, cpu, cuda or cuda:K")
    cameras: tuple[str, ...] = _entry(
        CAMERA_NAMES, "camera names, clockwise from the front; they fill the topic templates"
    )
    camera_preset: str = _entry(
        "distillnerf", "layout of the camera topics", choices=tuple(CAMERA_PRESETS)
    )
    image_topic: str = _entry(
        "", "image topic template with {camera} or {camera_lower}; empty: from camera_preset"
    )
    camera_info_topic: str = _entry("", "CameraInfo topic template; empty: from camera_preset")
    image_type: str = _entry(
        "preset",
        "message type of the image topics",
        choices=("preset", "compressed", "raw"),
    )
    rectify: str = _entry(
        "auto",
        "undistort by CameraInfo k and d; auto: unless the image topic has image_rect in its name",
        choices=RECTIFY_CHOICES,
    )
    base_frame: str = _entry("base_link", "vehicle frame: x forward, y left, z up, on the ground")
    fixed_frame: str = _entry(
        "map",
        "world-fixed frame that ties the cameras' different stamps together; "
        "empty: ignore the vehicle's motion between them",
    )
    tf_timeout_s: float = _entry(
        0.2, "how long a glance waits for its transforms", unit="s", low=0.0, high=5.0
    )
    sync_window_s: float = _entry(
        0.06,
        "largest stamp difference within one glance (nuScenes cameras fire 42 ms apart)",
        unit="s",
        low=0.001,
        high=1.0,
    )
    sync_timeout_s: float = _entry(
        0.15, "how long a glance waits for late cameras", unit="s", low=0.0, high=5.0
    )
    min_cameras: int = _entry(
        3,
        "fewest cameras of a glance; with fewer entries in cameras, all of them",
        low=1,
        high=64,
    )
    decode_threads: int = _entry(2, "threads that decode images", low=1, high=64)
    no_image_warn_s: float = _entry(
        5.0,
        "warn when a camera was silent for this long",
        unit="s",
        low=0.5,
        high=3600.0,
        live=True,
    )
    grid_z_min_m: float = _entry(
        0.2,
        "lower end of the height band the grid looks at, in base_frame",
        unit="m",
        low=-5.0,
        high=20.0,
        live=True,
    )
    grid_z_max_m: float = _entry(
        2.2,
        "upper end of the height band the grid looks at, in base_frame",
        unit="m",
        low=-5.0,
        high=20.0,
        live=True,
    )
    queries: tuple[str, ...] = _entry(
        ("car", "pedestrian"),
        'standing text queries, answered for every glance; [""]: none',
        live=True,
    )
    query_negatives: tuple[str, ...] = _entry(
        ("",),
        'texts a query must beat; [""]: the model\'s own list',
        live=True,
    )
    query_threshold: float = _entry(
        0.0,
        "lowest score of a hit; 0: the model's own threshold",
        low=0.0,
        high=1.0,
        live=True,
    )

    def __post_init__(self) -> None:
        """Check every value, and what values must say together.

        Raises:
            ConfigError: names the parameter, its value and what is allowed.
        """
        for entry in dataclasses.fields(self):
            _check_value(entry, getattr(self, entry.name))
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ConfigError(f"cameras = {list(self.cameras)}; expected distinct names, one each")
        for name in self.cameras:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                raise ConfigError(
                    f"camera name {name!r}; expected letters, digits and _, a letter first, as in "
                    "the topics made from it"
                )
        if self.grid_z_min_m >= self.grid_z_max_m:
            raise ConfigError(
                f"grid_z_min_m = {self.grid_z_min_m} is not below "
                f"grid_z_max_m = {self.grid_z_max_m}"
            )
        for name in ("image_topic", "camera_info_topic"):
            _check_template(name, getattr(self, name), len(self.cameras))

    @property
    def standing_queries(self) -> tuple[str, ...]:
        """The queries without the empty entry that stands for none."""
        return tuple(text.strip() for text in self.queries if text.strip())

    @property
    def negatives(self) -> tuple[str, ...] | None:
        """The negatives, or None for the model's own list."""
        return tuple(text.strip() for text in self.query_negatives if text.strip()) or None

    @property
    def threshold(self) -> float | None:
        """The query threshold, or None for the model's own."""
        return self.query_threshold or None

    @property
    def fewest_cameras(self) -> int:
        """``min_cameras``, at most the number of cameras there are."""
        return min(self.min_cameras, len(self.cameras))

    def camera_topics(self, camera: str) -> tuple[str, str, bool]:
        """Image topic, CameraInfo topic and whether the images are compressed."""
        preset = CAMERA_PRESETS[self.camera_preset]
        names = {"camera": camera, "camera_lower": camera.lower()}
        image = (self.image_topic or preset.image_topic).format(**names)
        info = (self.camera_info_topic or preset.camera_info_topic).format(**names)
        compressed = {"preset": preset.compressed, "compressed": True, "raw": False}
        return image, info, compressed[self.image_type]

    def rectifies(self, image_topic: str) -> bool:
        """Whether images of this topic are to be undistorted."""
        if self.rectify == "auto":
            return "image_rect" not in image_topic
        return self.rectify == "always"


def _check_value(entry: dataclasses.Field[Any], value: Any) -> None:
    low, high = entry.metadata["low"], entry.metadata["high"]
    unit = f" {entry.metadata['unit']}" if entry.metadata["unit"] else ""
    if low is not None and not (math.isfinite(value) and low <= value <= high):
        raise ConfigError(f"{entry.name} = {value}; expected {low} to {high}{unit}")
    choices = entry.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(f"{entry.name} = {value!r}; expected one of {', '.join(choices)}")


def _check_template(name: str, template: str, cameras: int) -> None:
    if not template:
        return
    try:
        first = template.format(camera="A", camera_lower="a")
        second = template.format(camera="B", camera_lower="b")
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"{name} = {template!r} is no template ({error!r}); write {{camera}} or "
            "{camera_lower} where the camera's name goes"
        ) from error
    if first == second and cameras > 1:
        raise ConfigError(
            f"{name} = {template!r} names one topic for {cameras} cameras; write {{camera}} or "
            "{camera_lower} where the camera's name goes"
        )


def from_values(values: Mapping[str, Any]) -> Parameters:
    """Build checked parameters from plain values (lists become tuples).

    Raises:
        ConfigError: a name is unknown or a value is not allowed.
    """
    known = {entry.name for entry in dataclasses.fields(Parameters)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown parameters {unknown}; known are {sorted(known)}")
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, (list, tuple)) else value
        for key, value in values.items()
    }
    return Parameters(**plain)


# ROS side -----------------------------------------------------------------------------------


def declare(node: Node) -> None:
    """Declare every parameter with its type, description and range."""
    for entry in dataclasses.fields(Parameters):
        kind = _ros_type(entry.default)
        node.declare_parameter(entry.name, kind, descriptor(entry))
        if node.get_parameter_or(entry.name).value is None:
            default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
            node.set_parameters([Parameter(entry.name, kind, default)])


def descriptor(entry: dataclasses.Field[Any]) -> ParameterDescriptor:
    """The ROS description of one entry of the table."""
    meta = entry.metadata
    result = ParameterDescriptor(name=entry.name, description=_describe(entry))
    if meta["low"] is not None and isinstance(entry.default, float):
        limits = FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]))
        result.floating_point_range = [limits]
    elif meta["low"] is not None:
        result.integer_range = [
            IntegerRange(from_value=int(meta["low"]), to_value=int(meta["high"]), step=1)
        ]
    if meta["choices"]:
        result.additional_constraints = "one of " + ", ".join(meta["choices"])
    return result


def read(node: Node, updates: Mapping[str, Any] = MappingProxyType({})) -> Parameters:
    """Read and check the declared parameters.

    Args:
        node: where they are declared.
        updates: values that are to replace declared ones; see :func:`changed`.

    Raises:
        ConfigError: a value, or a combination of values, is not allowed.
    """
    entries = dataclasses.fields(Parameters)
    return from_values({e.name: node.get_parameter(e.name).value for e in entries} | _own(updates))


def _own(updates: Mapping[str, Any]) -> dict[str, Any]:
    names = {entry.name for entry in dataclasses.fields(Parameters)}
    return {name: value for name, value in updates.items() if name in names}


def changed(current: Parameters, updates: Mapping[str, Any]) -> Parameters:
    """The parameters of a configured node after a change.

    Args:
        current: parameters in force.
        updates: new values by name; names that are not in the table are left to their owners.

    Raises:
        ConfigError: a value is not allowed, or the parameter is read at configure only.
    """
    entries = {entry.name: entry for entry in dataclasses.fields(Parameters)}
    mine = _own(updates)
    for name, value in mine.items():
        plain = tuple(value) if isinstance(value, (list, tuple)) else value
        if not entries[name].metadata["live"] and plain != getattr(current, name):
            raise ConfigError(
                f"{name} is read when the node is configured; run `ros2 lifecycle set` with "
                "deactivate and cleanup, change it, then configure and activate"
            )
    return from_values({**dataclasses.asdict(current), **mine})


def as_yaml() -> str:
    """The text of ``config/distillnerf.yaml``."""
    lines = [
        "# Every parameter of the node with its default. Generated from the table in",
        "# distillnerf_ros/ros/parameters.py; a test keeps the two equal.",
        "# (live) may be changed while the node runs: ros2 param set /distillnerf NAME VALUE",
        "/**:",
        "  ros__parameters:",
    ]
    for entry in dataclasses.fields(Parameters):
        lines += _wrap(_describe(entry))
        lines.append(f"    {entry.name}: {_yaml_value(entry.default)}")
    return "\n".join(lines) + "\n"


def _describe(entry: dataclasses.Field[Any]) -> str:
    meta = entry.metadata
    text = meta["description"]
    if meta["low"] is not None:
        unit = f" {meta['unit']}" if meta["unit"] else ""
        text += f" [{meta['low']} to {meta['high']}{unit}]"
    if meta["choices"]:
        text += f" [{', '.join(meta['choices'])}]"
    return text + (" (live)" if meta["live"] else "")


def _wrap(text: str, width: int = 92) -> list[str]:
    lines, line = [], "    #"
    for word in text.split():
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "    #"
        line += f" {word}"
    return [*lines, line]


def _yaml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml_value(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _ros_type(default: Any) -> Parameter.Type:
    if isinstance(default, tuple):
        return Parameter.Type.STRING_ARRAY
    return Parameter.Type.from_parameter_value(default)
