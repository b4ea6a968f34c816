"""Fills a Buffer from /tf and /tf_static."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
from tf2_ros.buffer import Buffer
from tf2_ros.exceptions import InvalidArgumentException

_DEPTH = 100


class TransformListener:
    """Subscribes for as long as it lives."""

    def __init__(
        self,
        buffer: Buffer,
        node: Node,
        *,
        spin_thread: bool = False,
        qos: QoSProfile | int | None = None,
        static_qos: QoSProfile | int | None = None,
    ) -> None:
        """Args:
        buffer: Where transforms go.
        node: Whose subscriptions these are.
        spin_thread: Spin the node in a thread of its own; then nobody else may spin it.
        qos: For /tf; None = reliable, volatile, depth 100.
        static_qos: For /tf_static; None = reliable, transient_local, depth 100.
        """
        self.buffer = buffer
        self.node = node
        # Reentrant, so that transforms arrive while another callback waits for one.
        self.group = ReentrantCallbackGroup()
        self.tf_sub = node.create_subscription(
            TFMessage,
            "/tf",
            self.callback,
            QoSProfile(depth=_DEPTH) if qos is None else qos,
            callback_group=self.group,
        )
        self.tf_static_sub = node.create_subscription(
            TFMessage,
            "/tf_static",
            self.static_callback,
            _latched() if static_qos is None else static_qos,
            callback_group=self.group,
        )
        if spin_thread:
            self.executor = SingleThreadedExecutor(context=node.context)
            self.executor.add_node(node)
            self.dedicated_listener_thread = Thread(target=self._spin, daemon=True)
            self.dedicated_listener_thread.start()

    def _spin(self) -> None:
        # Where the context goes first, there is nothing left to listen to.
        with suppress(ExternalShutdownException):
            self.executor.spin()

    def unregister(self) -> None:
        """Stop listening."""
        if hasattr(self, "executor"):
            self.executor.shutdown()
            self.dedicated_listener_thread.join()
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)

    def callback(self, data: TFMessage) -> None:
        """Take in moving transforms."""
        self._store(data, self.buffer.set_transform)

    def static_callback(self, data: TFMessage) -> None:
        """Take in transforms that hold at any time."""
        self._store(data, self.buffer.set_transform_static)

    def _store(self, data: TFMessage, store: Callable[[TransformStamped, str], None]) -> None:
        for transform in data.transforms:
            try:
                store(transform, "default_authority")
            except InvalidArgumentException as error:
                self.node.get_logger().error(f"ignored: {error}")


def _latched() -> QoSProfile:
    return QoSProfile(
        depth=_DEPTH,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        history=HistoryPolicy.KEEP_LAST,
    )
