"""All publishers of the node. What nobody subscribes to is not computed."""

from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from torch import Tensor
from visualization_msgs.msg import MarkerArray

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.errors import QueryError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.hits import Hits
from distillnerf_ros.query.occupancy import Occupancy
from distillnerf_ros.render.renderer import Rendered
from distillnerf_ros.ros import messages
from distillnerf_ros.ros.health import Health
from distillnerf_ros.ros.parameters import Parameters
from distillnerf_ros.ros.qos import overridable
from distillnerf_ros.ros.scene import Scene
from distillnerf_ros.ros.timing import StageTimes

RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
"""What RViz displays ask for by default."""

LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""What maps are published with (REP-2003)."""

CAMERA_TOPICS = {
    "input": ("input/image_rect", Image),
    "depth": ("depth/image_rect", Image),
    "camera_info": ("depth/camera_info", CameraInfo),
    "rgb": ("rgb/image_rect", Image),
    "features": ("features/image_rect", Image),
    "query": ("query/image_rect", Image),
}
TOPICS = {
    "occupancy": ("~/occupancy", PointCloud2, RELIABLE),
    "grid": ("~/occupancy_grid", OccupancyGrid, LATCHED),
    "points": ("~/query/points", PointCloud2, RELIABLE),
    "markers": ("~/query/markers", MarkerArray, RELIABLE),
}

FEATURE_SPAN_STD = 2.5
"""Standard deviations of a principal component that are drawn at full brightness."""


class Outputs:
    """Publishes, of a scene, what is subscribed to."""

    def __init__(self, node: Node, parameters: Parameters, health: Health) -> None:
        """Create the publishers; ``parameters`` may be replaced by live ones later."""
        self.parameters = parameters
        self._node, self._health = node, health
        self._grid_of: Scene | None = None
        self._overall = {
            key: self._create(topic, kind, qos) for key, (topic, kind, qos) in TOPICS.items()
        }
        self._cameras = {
            camera: {
                key: self._create(f"~/{camera}/{topic}", kind, RELIABLE)
                for key, (topic, kind) in CAMERA_TOPICS.items()
            }
            for camera in parameters.cameras
        }

    def _create(self, topic: str, kind: type, qos: QoSProfile) -> Publisher:
        # Each event handler costs the executor 20 us for every message the node receives; with
        # rclpy's default handlers on 40 publishers that was most of the node's own time.
        return self._node.create_publisher(
            kind,
            topic,
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
            **overridable(qos),
        )

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._all():
            self._node.destroy_publisher(publisher)

    def _all(self) -> list[Publisher]:
        cameras = [publisher for group in self._cameras.values() for publisher in group.values()]
        return [*self._overall.values(), *cameras]

    def wanted(self) -> bool:
        """Whether anybody listens to anything."""
        return any(publisher.get_subscription_count() for publisher in self._all())

    def owes_grid(self, scene: Scene | None) -> bool:
        """Whether somebody listens to the latched grid, and the last one was not of this scene.

        None stands for one that is still to be encoded.
        """
        listened = self._overall["grid"].get_subscription_count() > 0
        return listened and (scene is None or self._grid_of is not scene)

    def publish_grid(self, scene: Scene, pipeline: Pipeline) -> None:
        """Publish the latched grid of a scene where it is owed."""
        if self.owes_grid(scene):
            self._send_grid(scene, pipeline.occupancy(scene.field))

    def publish_requested(self, scene: Scene, pipeline: Pipeline, times: StageTimes) -> None:
        """Compute and publish what somebody listens to."""
        with times.stage("publish"):
            self._publish_inputs(scene)
        self._publish_views(scene, pipeline, times)
        self._publish_occupancy(scene, pipeline, times)
        try:
            self._publish_hits(scene, pipeline, times)
        except QueryError as error:
            self._health.problem("query", f"standing queries cannot be answered: {error}")

    def _listened(self, scene: Scene, *keys: str) -> set[str]:
        """Usable cameras of which somebody listens to one of these outputs."""
        return {
            camera
            for camera in scene.full_sizes
            if any(self._cameras[camera][key].get_subscription_count() for key in keys)
        }

    def _publish_inputs(self, scene: Scene) -> None:
        """What the model saw of each camera: rectified and resized."""
        for camera in self._listened(scene, "input"):
            picture = scene.rig.images[scene.rig.names.index(camera)].numpy()
            message = messages.rgb_image(
                messages.colour_picture(picture), scene.camera_headers[camera]
            )
            self._cameras[camera]["input"].publish(message)

    def _publish_views(self, scene: Scene, pipeline: Pipeline, times: StageTimes) -> None:
        pictured = self._listened(scene, "rgb", "features", "query")
        rendered_depth: dict[str, Tensor] = {}
        if pictured:
            rig = scene.views(pictured)
            with times.stage("render"):
                rendered = pipeline.render(scene.field, rig)
            rendered_depth = dict(zip(rig.names, rendered.depth_m, strict=True))
            self._publish_pictures(scene, rig, rendered, pipeline, times)
        depth_only = self._listened(scene, "depth", "camera_info") - pictured
        if depth_only:
            rig = scene.views(depth_only)
            with times.stage("depth"):
                depth_m = pipeline.depth(scene.field, rig)
            rendered_depth |= dict(zip(rig.names, depth_m, strict=True))
        with times.stage("publish"):
            for camera, image in rendered_depth.items():
                self._publish_depth(scene, camera, image.float().cpu().numpy())

    def _publish_depth(self, scene: Scene, camera: str, depth_m: np.ndarray) -> None:
        publishers, header = self._cameras[camera], scene.camera_headers[camera]
        index = scene.rig.names.index(camera)
        size = (depth_m.shape[0], depth_m.shape[1])
        full = scene.rig.image_size
        scale = np.array([size[1] / full[1], size[0] / full[0], 1.0])[:, None]
        k = scene.rig.intrinsics[index].cpu().numpy() * scale
        _publish(publishers["depth"], lambda: messages.depth_image(depth_m, header))
        _publish(publishers["camera_info"], lambda: messages.camera_info(k, size, header))

    def _publish_pictures(
        self,
        scene: Scene,
        rig: CameraRig,
        rendered: Rendered,
        pipeline: Pipeline,
        times: StageTimes,
    ) -> None:
        heat = self._heat(scene, rendered, pipeline, times)
        span = feature_span(pipeline)
        with times.stage("publish"):
            rgb = rendered.rgb.float().cpu().numpy()
            features = rendered.features.float().cpu().numpy()
            for index, camera in enumerate(rig.names):
                pictures = {
                    "rgb": lambda i=index: messages.colour_picture(rgb[i]),
                    "features": lambda i=index: messages.feature_picture(features[i], span),
                }
                if heat is not None:
                    pictures["query"] = lambda i=index: messages.heat_picture(heat[i])
                header = scene.camera_headers[camera]
                for key, draw in pictures.items():
                    _publish(
                        self._cameras[camera][key],
                        lambda draw=draw, header=header: messages.rgb_image(draw(), header),
                    )

    def _heat(
        self, scene: Scene, rendered: Rendered, pipeline: Pipeline, times: StageTimes
    ) -> np.ndarray | None:
        current = self.parameters
        if not current.standing_queries or not self._listened(scene, "query"):
            return None
        try:
            with times.stage("query"):
                heat = pipeline.relevancy_image(
                    rendered, current.standing_queries, current.negatives
                )
        except QueryError as error:
            self._health.problem("query", f"standing queries cannot be answered: {error}")
            return None
        return heat.float().cpu().numpy()

    def _publish_occupancy(self, scene: Scene, pipeline: Pipeline, times: StageTimes) -> None:
        cloud, grid = self._overall["occupancy"], self._overall["grid"]
        if not (cloud.get_subscription_count() or grid.get_subscription_count()):
            return
        with times.stage("occupancy"):
            occupancy = pipeline.occupancy(scene.field)
        with times.stage("publish"):
            _publish(cloud, lambda: messages.occupancy_cloud(occupancy, scene.header))
            if grid.get_subscription_count():
                self._send_grid(scene, occupancy)

    def _send_grid(self, scene: Scene, occupancy: Occupancy) -> None:
        band = (self.parameters.grid_z_min_m, self.parameters.grid_z_max_m)
        message = messages.occupancy_grid(occupancy, *band, scene.header)
        self._overall["grid"].publish(message)
        self._grid_of = scene

    def _publish_hits(self, scene: Scene, pipeline: Pipeline, times: StageTimes) -> None:
        points, markers, current = (
            self._overall["points"],
            self._overall["markers"],
            self.parameters,
        )
        if not (points.get_subscription_count() or markers.get_subscription_count()):
            return
        hits = Hits.none()  # published, too: else the last hits of a dropped query would stay
        if current.standing_queries:
            with times.stage("query"):
                hits = pipeline.query_text(
                    scene.field, current.standing_queries, current.negatives, current.threshold
                )
        with times.stage("publish"):
            _publish(points, lambda: messages.hits_cloud(hits, scene.header))
            _publish(markers, lambda: messages.hit_markers(hits, scene.header))


def feature_span(pipeline: Pipeline) -> np.ndarray:
    """(3,) size of the principal components drawn at full brightness, fixed for the weights."""
    try:
        std = pipeline.semantics.pca.std
    except QueryError:  # untrained features have no scale of their own
        return np.ones(3, np.float32)
    return FEATURE_SPAN_STD * std[:3].float().cpu().numpy()


def _publish(publisher: Publisher, make: Any) -> None:
    if publisher.get_subscription_count():
        publisher.publish(make())
