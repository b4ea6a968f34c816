"""Sends transforms that hold at any time on /tf_static."""

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage


class StaticTransformBroadcaster:
    """Publisher of /tf_static. Late subscribers get the last message, so each holds all."""

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        """Args:
        node: Whose publisher this is.
        qos: None = reliable, transient_local, depth 1.
        """
        latched = QoSProfile(
            depth=1,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
            history=HistoryPolicy.KEEP_LAST,
        )
        self.pub_tf = node.create_publisher(
            TFMessage, "/tf_static", latched if qos is None else qos
        )
        self._sent: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Send one or several transforms, with those sent before."""
        several = [transform] if isinstance(transform, TransformStamped) else transform
        self._sent.update({one.child_frame_id: one for one in several})
        self.pub_tf.publish(TFMessage(transforms=list(self._sent.values())))
