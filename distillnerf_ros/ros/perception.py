"""From a glance of messages to a field that can be asked: the node's core, run by the worker."""

import dataclasses
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from distillnerf_ros.errors import (
    CalibrationError,
    DistillNerfError,
    ImageError,
    QueryError,
    StaleTransformError,
)
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.ros.conversions import (
    Calibration,
    CameraInput,
    calibration_from_info,
    prepare_glance,
)
from distillnerf_ros.ros.frames import RETRY_S, EgoFrames
from distillnerf_ros.ros.health import Health
from distillnerf_ros.ros.outputs import Outputs
from distillnerf_ros.ros.parameters import Parameters
from distillnerf_ros.ros.scene import Scene
from distillnerf_ros.ros.synchronizer import Frame, Glance
from distillnerf_ros.ros.timing import StageTimes


@dataclasses.dataclass(frozen=True)
class PosedGlance:
    """A glance whose cameras know where they are.

    Attributes:
        glance: the frames.
        inputs: one per camera; None where it is missing or unusable.
    """

    glance: Glance
    inputs: tuple[CameraInput | None, ...]


class Perception:
    """Turns glances into scenes. Everything but the constructor runs in the worker's thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        frames: EgoFrames,
        outputs: Outputs,
        health: Health,
        parameters: Parameters,
        camera_infos: Mapping[str, Any],
    ) -> None:
        """Put the parts together.

        Args:
            pipeline: the model.
            frames: camera poses from TF.
            outputs: the publishers.
            health: where problems go.
            parameters: those that are read at configure only.
            camera_infos: newest CameraInfo message by camera, filled by the subscriptions.
        """
        self.pipeline = pipeline
        self.times = StageTimes()
        self._frames, self._outputs, self._health = frames, outputs, health
        self._parameters, self._camera_infos = parameters, camera_infos
        self._pool = ThreadPoolExecutor(parameters.decode_threads, "decode")
        self._awaited: set[str] = set()
        self._waiting: PosedGlance | None = None
        self._scene: Scene | None = None

    def warm_up(self) -> None:
        """Load what text queries need before the first frame, not during one."""
        prompts = self._outputs.parameters.standing_queries
        if not prompts:
            return
        try:
            self.pipeline.embed(prompts)
        except DistillNerfError as error:
            self._health.problem("query", f"standing queries cannot be answered: {error}")

    def process(self, glance: Glance) -> None:
        """Take a glance in, and publish what somebody listens to."""
        with self.times.stage("transforms"):
            posed = self._posed(glance)
        if posed is None:
            return
        self._waiting = posed
        if self._outputs.wanted() and (scene := self._take_in()):
            self._outputs.publish_requested(scene, self.pipeline, self.times)
        self.times.end_frame()

    def owes_grid(self) -> bool:
        """Whether somebody listens to the latched grid and has not got that of the newest glance.

        May be called from any thread.
        """
        if self._waiting is not None:
            return self._outputs.owes_grid(None)
        return self._scene is not None and self._outputs.owes_grid(self._scene)

    def latch(self) -> None:
        """Publish the newest scene's grid to who subscribed after that scene.

        Raises:
            QueryError: no glance could be used yet.
        """
        self._outputs.publish_grid(self.scene(), self.pipeline)

    def scene(self) -> Scene:
        """The newest scene, encoded now if nobody needed it before.

        Raises:
            QueryError: no glance came yet, or none could be used.
        """
        self._take_in()
        if self._scene is None:
            raise QueryError(
                "there is no frame yet: no glance of the cameras has been processed; check that "
                "the image, camera_info and tf topics are published (see /diagnostics)"
            )
        return self._scene

    def close(self) -> None:
        """Let go of the decoding threads."""
        self._pool.shutdown()

    def _take_in(self) -> Scene | None:
        """Encode the glance that waits; None where none does, or it turns out to be unusable."""
        if self._waiting is None:
            return None
        waiting, self._waiting = self._waiting, None
        scene = self._encoded(waiting)
        self._scene = scene or self._scene
        return scene

    def _encoded(self, posed: PosedGlance) -> Scene | None:
        with self.times.stage("decode"):
            prepared = prepare_glance(
                self._parameters.cameras, posed.inputs, self.pipeline.image_size, self._pool
            )
        self._report(prepared.errors)
        usable = int(prepared.rig.valid.sum())
        if usable < self._parameters.fewest_cameras:
            self._too_few(usable)
            return None
        with self.times.stage("encode"):
            field = self.pipeline.encode(prepared.rig)
        return Scene.of(prepared, field, posed.glance, self._parameters)

    def _posed(self, glance: Glance) -> PosedGlance | None:
        deadline_s = self._frames.deadline_s()
        inputs: list[CameraInput | None] = [None] * len(glance.frames)
        errors: dict[str, DistillNerfError] = {}
        for frame in glance.present:
            try:
                inputs[frame.camera] = self._input(frame, glance.reference_ns, deadline_s)
            except DistillNerfError as error:
                errors[self._parameters.cameras[frame.camera]] = error
        self._report(errors)
        usable = len(glance.present) - len(errors)
        if usable < self._parameters.fewest_cameras:
            self._too_few(usable)
            return None
        return PosedGlance(glance, tuple(inputs))

    def _input(self, frame: Frame, reference_ns: int, deadline_s: float) -> CameraInput:
        name = self._parameters.cameras[frame.camera]
        calibration = self._calibration(name, deadline_s)
        pose = self._frames.ego_from(
            frame.image.header.frame_id, frame.stamp_ns, reference_ns, deadline_s
        )
        return CameraInput(name, frame.image, calibration, pose)

    def _report(self, errors: Mapping[str, DistillNerfError]) -> None:
        """Count what makes cameras unusable; one log line per kind of problem."""
        kinds: dict[str, dict[str, str]] = {}
        for name, error in errors.items():
            text = str(error)
            kinds.setdefault(_kind(error), {})[name] = text if name in text else f"{name}: {text}"
        for kind, texts in kinds.items():
            self._health.camera_problems(kind, texts)

    def _calibration(self, name: str, deadline_s: float) -> Calibration:
        """A camera's first image may come before its camera_info, and waits for it; once."""
        image_topic, info_topic, _ = self._parameters.camera_topics(name)
        wait = name not in self._awaited
        self._awaited.add(name)
        while (info := self._camera_infos.get(name)) is None:
            if not wait or time.monotonic() >= deadline_s:
                raise CalibrationError(
                    f"{name}: no camera_info yet on {info_topic}; publish it, or set "
                    "camera_info_topic; where it is published once (transient local), set "
                    "qos_overrides.TOPIC.subscription.durability and .reliability (docs/ros.md)"
                )
            time.sleep(RETRY_S)
        return calibration_from_info(info, self._parameters.rectifies(image_topic), name)

    def _too_few(self, usable: int) -> None:
        self._health.problem(
            "too_few_cameras",
            f"a glance was left out: {usable} usable cameras, expected at least "
            f"{self._parameters.fewest_cameras} (parameter min_cameras)",
        )


def _kind(error: DistillNerfError) -> str:
    names = {ImageError: "image", CalibrationError: "calibration", StaleTransformError: "tf"}
    return names.get(type(error), "other")
