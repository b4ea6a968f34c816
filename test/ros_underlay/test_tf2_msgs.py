"""The messages built beside the wheels are those of every other ROS 2."""

import pytest
import rclpy
from rclpy.context import Context
from tf2_msgs.msg import TFMessage

# Type description hash (REP-2011) of tf2_msgs/msg/TFMessage in ROS 2 from Iron on.
TF_MESSAGE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("hashes", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.ros
def test_tf_message_has_the_upstream_hash(node):
    node.create_publisher(TFMessage, "hashed", 1)
    (info,) = node.get_publishers_info_by_topic("hashed")
    assert str(info.topic_type_hash) == TF_MESSAGE_HASH
