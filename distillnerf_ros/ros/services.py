"""The node's services: each asks the worker, and answers every mistake with a message."""

import math
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import Future as ConcurrentFuture
from typing import Any, TypeVar

import numpy as np
import torch
from distillnerf_msgs.srv import QueryImage, QueryText, RenderView
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.cameras.transforms import matrix_from_quaternion
from distillnerf_ros.errors import DistillNerfError, QueryError
from distillnerf_ros.pipeline import IMAGE_THRESHOLD
from distillnerf_ros.query.hits import Hits
from distillnerf_ros.ros import messages
from distillnerf_ros.ros.conversions import calibration_from_info
from distillnerf_ros.ros.frames import EgoFrames
from distillnerf_ros.ros.outputs import feature_span
from distillnerf_ros.ros.perception import Perception
from distillnerf_ros.ros.scene import Scene
from distillnerf_ros.ros.worker import Worker

MAX_PROMPTS = 256
MAX_RENDER_PIXELS = 4096 * 4096

Response = TypeVar("Response", QueryText.Response, QueryImage.Response, RenderView.Response)


class Services:
    """Answers questions about the newest glance. ``running`` is set while the node is active."""

    def __init__(self, node: Node, frames: Callable[[], EgoFrames]) -> None:
        """Create the services. They are coroutines: a question that waits stops no callback.

        The group has to be reentrant: a waiting coroutine keeps any other group to itself.
        """
        self._node, self._frames = node, frames
        self.running: tuple[Worker[Any], Perception] | None = None
        group = ReentrantCallbackGroup()
        self._services = [
            node.create_service(kind, f"~/{name}", answer, callback_group=group)
            for name, kind, answer in (
                ("query_text", QueryText, self._on_query_text),
                ("query_image", QueryImage, self._on_query_image),
                ("render_view", RenderView, self._on_render_view),
            )
        ]

    def close(self) -> None:
        """Destroy the services."""
        for service in self._services:
            self._node.destroy_service(service)

    async def _on_query_text(
        self, request: QueryText.Request, response: QueryText.Response
    ) -> QueryText.Response:
        return await self._answer(response, lambda p: query_text(p, request, response))

    async def _on_query_image(
        self, request: QueryImage.Request, response: QueryImage.Response
    ) -> QueryImage.Response:
        return await self._answer(response, lambda p: query_image(p, request, response))

    async def _on_render_view(
        self, request: RenderView.Request, response: RenderView.Response
    ) -> RenderView.Response:
        return await self._answer(
            response, lambda p: render_view(p, self._frames(), request, response)
        )

    async def _answer(self, response: Response, fill: Callable[[Perception], None]) -> Response:
        """Run a question in the worker and turn every failure into a message."""
        response.success = False
        if self.running is None:
            response.message = (
                "the node is not active; activate it: ros2 lifecycle set "
                f"{self._node.get_fully_qualified_name()} activate (after configure)"
            )
            return response
        worker, perception = self.running
        try:
            await self._soon(worker.ask(lambda: fill(perception)))
        except DistillNerfError as error:
            response.message = str(error)
        except CancelledError:
            response.message = "the node was deactivated before the question could be answered"
        except Exception as error:
            response.message = f"unexpected {type(error).__name__}: {error}"
            self._node.get_logger().error(response.message)
        else:
            response.success = True
        return response

    async def _soon(self, answer: ConcurrentFuture[None]) -> None:
        """Wait for the worker without holding the executor."""
        executor = self._node.executor
        assert executor is not None, "a service is only called by an executor"
        done: Future[None] = Future(executor=executor)

        def wake(_: ConcurrentFuture[None]) -> None:
            done.set_result(None)
            executor.wake()  # a result alone does not interrupt the executor's wait

        answer.add_done_callback(wake)
        await done
        answer.result()


# The questions, run in the worker's thread ---------------------------------------------------


def query_text(
    perception: Perception, request: QueryText.Request, response: QueryText.Response
) -> None:
    """Fill in where the prompts are.

    Raises:
        QueryError: no frame yet, no prompt, an empty one, or weights without features.
    """
    prompts = [prompt.strip() for prompt in request.prompts]
    if len(prompts) > MAX_PROMPTS:
        raise QueryError(
            f"{len(prompts)} prompts; expected at most {MAX_PROMPTS} in one question, since the "
            "cameras wait meanwhile: ask several"
        )
    if not prompts or not all(prompts):
        raise QueryError(
            f"prompts = {list(request.prompts)}; expected at least one text and none empty, such "
            'as prompts: ["bus", "road works"]'
        )
    negatives = [text.strip() for text in request.negatives if text.strip()] or None
    scene = perception.scene()
    hits = perception.pipeline.query_text(
        scene.field, prompts, negatives, _threshold(request.threshold)
    )
    _fill_hits(response, hits, scene)
    response.scores = hits.best.float().cpu().numpy().astype(np.float32)


def query_image(
    perception: Perception, request: QueryImage.Request, response: QueryImage.Response
) -> None:
    """Fill in where it looks like a patch of a camera picture.

    Raises:
        QueryError: no frame yet, an unknown camera, or a patch outside its image.
    """
    scene = perception.scene()
    if request.camera not in scene.rig.names:
        raise QueryError(
            f"camera {request.camera!r} is unknown; cameras are {', '.join(scene.rig.names)}"
        )
    if request.camera not in scene.full_sizes:
        raise QueryError(
            f"{request.camera} is missing in the newest glance; present are "
            f"{', '.join(scene.full_sizes)}"
        )
    camera = scene.rig.names.index(request.camera)
    box = _patch(request, scene.full_sizes[request.camera], scene.rig.image_size)
    feature = perception.pipeline.features_at_pixels(scene.field, scene.rig, camera, box)
    threshold = _threshold(request.threshold)
    hits = perception.pipeline.query_features(
        scene.field,
        feature[None],
        ("image",),
        IMAGE_THRESHOLD if threshold is None else threshold,
    )
    _fill_hits(response, hits, scene)
    response.score = float(hits.best[0])


def _patch(
    request: QueryImage.Request, full_size: tuple[int, int], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The patch in pixels of the rig's images."""
    u1, v1 = request.u + max(request.width, 1), request.v + max(request.height, 1)
    if u1 > full_size[1] or v1 > full_size[0]:
        raise QueryError(
            f"the patch reaches to u = {u1}, v = {v1}, outside the {full_size[1]}x{full_size[0]} "
            f"image of {request.camera}"
        )

    def scaled(pixel: int, axis: int) -> float:
        return pixel * size[axis] / full_size[axis]  # 1600 * (224 / 1600) would be above 224

    return scaled(request.u, 1), scaled(request.v, 0), scaled(u1, 1), scaled(v1, 0)


def render_view(
    perception: Perception,
    frames: EgoFrames,
    request: RenderView.Request,
    response: RenderView.Response,
) -> None:
    """Fill in what a camera anywhere would see.

    Raises:
        QueryError: no frame yet, or a size that cannot be rendered.
        CalibrationError: k or the pose cannot be used.
        StaleTransformError: the pose's frame is not connected to the vehicle frame.
    """
    scene = perception.scene()
    rig = _virtual_rig(scene, frames, request, perception.pipeline.image_size)
    rendered = perception.pipeline.render(scene.field, rig)
    info = request.camera_info
    size = (info.width, info.height)
    rgb = messages.colour_picture(rendered.rgb[0].float().cpu().numpy())
    depth_m = rendered.depth_m[0].float().cpu().numpy()
    features = messages.feature_picture(
        rendered.features[0].float().cpu().numpy(), feature_span(perception.pipeline)
    )
    response.header = scene.header
    response.rgb = messages.rgb_image(messages.enlarged(rgb, size), scene.header)
    response.depth = messages.depth_image(messages.repeated(depth_m, size), scene.header)
    response.features = messages.rgb_image(messages.enlarged(features, size), scene.header)


def _virtual_rig(
    scene: Scene, frames: EgoFrames, request: RenderView.Request, image_size: tuple[int, int]
) -> CameraRig:
    info: CameraInfo = request.camera_info
    if not 0 < info.width * info.height <= MAX_RENDER_PIXELS:
        raise QueryError(
            f"camera_info asks for {info.width}x{info.height} pixels; expected both > 0 and at "
            f"most {MAX_RENDER_PIXELS} in all"
        )
    pinhole = CameraInfo(width=info.width, height=info.height, k=info.k)
    calibration = calibration_from_info(pinhole, rectify=True, camera="the view to render")
    k = calibration.k(image_size, (info.height, info.width))
    return CameraRig(
        ("view",),
        torch.zeros(1, 3, *image_size),
        torch.from_numpy(k).float()[None],
        torch.from_numpy(_ego_from_view(scene, frames, request)).float()[None],
        torch.ones(1, dtype=torch.bool),
    )


def _ego_from_view(scene: Scene, frames: EgoFrames, request: RenderView.Request) -> np.ndarray:
    pose, header = request.camera_pose.pose, request.camera_pose.header
    q, p = pose.orientation, pose.position
    frame_from_view = matrix_from_quaternion((q.w, q.x, q.y, q.z), (p.x, p.y, p.z))
    if not np.isfinite(frame_from_view).all():
        raise QueryError(f"camera_pose = {p}, {q} is not finite")
    reference_ns = messages.stamp_ns(scene.header)
    stamp_ns = messages.stamp_ns(header) or reference_ns
    if not header.frame_id or stamp_ns < 0:
        raise QueryError(
            f"camera_pose has frame_id {header.frame_id!r} and stamp {stamp_ns} ns; expected a "
            f"frame of /tf such as {frames.base_frame}, and a stamp of 0 (the newest glance's) or "
            "above"
        )
    if header.frame_id == frames.base_frame and stamp_ns == reference_ns:
        return frame_from_view
    ego_from_frame = frames.ego_from(header.frame_id, stamp_ns, reference_ns, frames.deadline_s())
    return ego_from_frame @ frame_from_view


def _threshold(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None


def _fill_hits(
    response: QueryText.Response | QueryImage.Response, hits: Hits, scene: Scene
) -> None:
    response.header = scene.header
    response.points = messages.hits_cloud(hits, scene.header)
    response.clusters = messages.cluster_messages(hits)
