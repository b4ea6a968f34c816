"""The ROS part of a frame, for timing: serialised images in, depth and occupancy messages out."""

from collections.abc import Mapping

import numpy as np
import rclpy
from jaxtyping import Float
from nav_msgs.msg import OccupancyGrid
from rclpy.context import Context
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.query.occupancy import Occupancy
from distillnerf_ros.ros import messages
from distillnerf_ros.ros.outputs import LATCHED, RELIABLE
from distillnerf_ros.ros.parameters import Parameters

_STAMP_NS = 1_000_000_000


class BenchNode:
    """Receives and publishes what the node does for one frame, each topic with one subscriber.

    In a ROS context of its own; the subscriber only lets messages arrive, it never reads them.
    """

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("distillnerf_bench", context=self._context)
        self._cloud = self._topic("occupancy", PointCloud2, RELIABLE)
        self._grid = self._topic("occupancy_grid", OccupancyGrid, LATCHED)
        self._depth = {name: self._topic(f"{name}/depth", Image, RELIABLE) for name in cameras}
        self._info = {name: self._topic(f"{name}/info", CameraInfo, RELIABLE) for name in cameras}

    def _topic(
        self, topic: str, kind: type, qos: rclpy.qos.QoSProfile
    ) -> rclpy.publisher.Publisher:
        name = f"~/{topic}"
        self._node.create_subscription(kind, name, lambda message: None, qos)
        return self._node.create_publisher(kind, name, qos)

    def pack(self, jpegs: Mapping[str, bytes]) -> dict[str, bytes]:
        """Serialised CompressedImages, as they come from the wire."""
        packed = {}
        for name, data in jpegs.items():
            message = CompressedImage(header=messages.header_at(_STAMP_NS, name), format="jpeg")
            message.data = messages.byte_field(np.frombuffer(data, np.uint8))
            packed[name] = serialize_message(message)
        return packed

    def receive(self, packed: Mapping[str, bytes]) -> dict[str, CompressedImage]:
        """Deserialise one image per camera."""
        return {name: deserialize_message(data, CompressedImage) for name, data in packed.items()}

    def publish(
        self, rig: CameraRig, depth_m: Float[np.ndarray, "N h w"], occupancy: Occupancy
    ) -> None:
        """Convert and publish depth and camera_info of each camera, cloud and grid."""
        size = (depth_m.shape[1], depth_m.shape[2])
        height, width = rig.image_size
        scale = np.array([size[1] / width, size[0] / height, 1.0])[:, None]
        for index, name in enumerate(rig.names):
            header = messages.header_at(_STAMP_NS, name)
            k = rig.intrinsics[index].cpu().numpy() * scale
            self._depth[name].publish(messages.depth_image(depth_m[index], header))
            self._info[name].publish(messages.camera_info(k, size, header))
        header = messages.header_at(_STAMP_NS, "base_link")
        band = Parameters()
        self._cloud.publish(messages.occupancy_cloud(occupancy, header))
        grid = messages.occupancy_grid(occupancy, band.grid_z_min_m, band.grid_z_max_m, header)
        self._grid.publish(grid)

    def close(self) -> None:
        """End the ROS context."""
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)
