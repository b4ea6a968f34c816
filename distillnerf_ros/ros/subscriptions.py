"""Image and CameraInfo subscriptions of all cameras. Callbacks only sort messages in."""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind, qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from distillnerf_ros.ros.health import Health
from distillnerf_ros.ros.messages import stamp_ns
from distillnerf_ros.ros.parameters import Parameters
from distillnerf_ros.ros.qos import overridable
from distillnerf_ros.ros.synchronizer import Frame


class CameraSubscriptions:
    """Feeds frames to the synchroniser and keeps the newest CameraInfo of each camera.

    Attributes:
        infos: newest CameraInfo by camera name.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        health: Health,
        on_frame: Callable[[Frame], None],
    ) -> None:
        """Subscribe to every camera."""
        self.infos: dict[str, CameraInfo] = {}
        self._node, self._health, self._on_frame = node, health, on_frame
        self._subscriptions: list[Subscription] = []
        for index, camera in enumerate(parameters.cameras):
            image_topic, info_topic, compressed = parameters.camera_topics(camera)
            kind = CompressedImage if compressed else Image
            on_incompatible = self._incompatible_callback(camera, image_topic)
            on_image = self._image_callback(index, camera)
            self._subscribe(kind, image_topic, on_image, on_incompatible)
            self._subscribe(CameraInfo, info_topic, self._info_callback(camera))

    def close(self) -> None:
        """Destroy the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        on_incompatible: Callable[[Any], None] | None = None,
    ) -> None:
        # No default handlers: each costs the executor time for every message of the node.
        events = SubscriptionEventCallbacks(
            incompatible_qos=on_incompatible, use_default_callbacks=False
        )
        self._subscriptions.append(
            self._node.create_subscription(
                kind,
                topic,
                callback,
                event_callbacks=events,
                **overridable(qos_profile_sensor_data),
            )
        )

    def _incompatible_callback(self, camera: str, topic: str) -> Callable[[Any], None]:
        def on_incompatible(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind)
            self._health.cameras[camera].incompatible_qos = policy
            self._health.camera_problem(
                camera, "qos", f"{camera}: a publisher of {topic} offers an incompatible {policy}"
            )

        return on_incompatible

    def _image_callback(self, index: int, camera: str) -> Callable[[Any], None]:
        def on_image(message: Any) -> None:
            self._health.cameras[camera].arrived()
            stamp = stamp_ns(message.header)
            if stamp <= 0:
                self._health.camera_problem(
                    camera,
                    "zero_stamp",
                    f"{camera}: images have no stamp in their header, so they cannot be matched "
                    "with other cameras and with tf; have the driver or the bag converter set "
                    "header.stamp",
                )
                return
            now_s = self._node.get_clock().now().nanoseconds * 1e-9
            self._on_frame(Frame(index, stamp, now_s, message))

        return on_image

    def _info_callback(self, camera: str) -> Callable[[CameraInfo], None]:
        def on_info(message: CameraInfo) -> None:
            self.infos[camera] = message

        return on_info
