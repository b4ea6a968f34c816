"""What replay and recorder share: message classes by name, and QoS between bags and rclpy."""

import importlib

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from distillnerf_ros.data.bag_reader import OfferedQos
from distillnerf_ros.errors import DatasetError


def message_class(msgtype: str) -> type:
    """Python class of a message type such as ``sensor_msgs/msg/Image``.

    Raises:
        DatasetError: no such message package is installed.
    """
    try:
        package, kind, name = msgtype.split("/")
        return getattr(importlib.import_module(f"{package}.{kind}"), name)
    except (ValueError, ImportError, AttributeError) as error:
        raise DatasetError(
            f"message type {msgtype!r} is not installed ({error}); install its package"
        ) from error


def qos_profile(qos: OfferedQos) -> QoSProfile:
    """The rclpy profile of a recorded QoS."""
    return QoSProfile(
        depth=max(qos.depth, 1),
        reliability=ReliabilityPolicy.RELIABLE if qos.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if qos.transient_local else DurabilityPolicy.VOLATILE
        ),
    )
