"""What users may override, durability included."""

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo

from distillnerf_ros.ros.qos import overridable

pytestmark = pytest.mark.ros

TOPIC = "/CAM_ONCE/camera_info"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def context():
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


@pytest.mark.parametrize("overridden", [True, False])
def test_a_camera_info_that_was_published_once_is_heard_with_an_override(context, overridden):
    driver = rclpy.create_node("driver", context=context)
    publisher = driver.create_publisher(CameraInfo, TOPIC, LATCHED)
    publisher.publish(CameraInfo(width=7))
    values = {"durability": "transient_local", "reliability": "reliable"}
    overrides = [
        Parameter(f"qos_overrides.{TOPIC}.subscription.{name}", value=value)
        for name, value in values.items()
        if overridden
    ]
    listener = rclpy.create_node("listener", context=context, parameter_overrides=overrides)
    heard = []
    listener.create_subscription(
        CameraInfo, TOPIC, heard.append, **overridable(qos_profile_sensor_data)
    )
    assert qos_profile_sensor_data.durability == DurabilityPolicy.VOLATILE
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    for _ in range(50 if overridden else 10):
        executor.spin_once(timeout_sec=0.1)
        if heard:
            break
    assert [info.width for info in heard] == ([7] if overridden else [])
    executor.shutdown()
    driver.destroy_node()
    listener.destroy_node()
