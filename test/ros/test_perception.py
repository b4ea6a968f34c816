"""What a glance costs and when: nothing is computed that nobody asked for."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy")

from distillnerf_ros.checkpoint import load_checkpoint
from distillnerf_ros.errors import QueryError, StaleTransformError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.ros.frames import EgoFrames
from distillnerf_ros.ros.health import Health
from distillnerf_ros.ros.messages import header_at
from distillnerf_ros.ros.outputs import Outputs
from distillnerf_ros.ros.parameters import Parameters
from distillnerf_ros.ros.perception import Perception
from distillnerf_ros.ros.synchronizer import Frame, Glance

T0_NS = 1_600_000_000_000_000_000
PARAMETERS = Parameters()


class CountingPipeline(Pipeline):
    """The real small model, with a count of what it did."""

    encoded = 0

    def encode(self, rig):
        self.encoded += 1
        self.valid = rig.valid.tolist()
        return super().encode(rig)


class Listeners(Outputs):
    """Publishers with as many subscribers as the test says."""

    def __init__(self):
        self.parameters = PARAMETERS
        self.listening = False
        self.scenes = []

    def wanted(self):
        return self.listening

    def publish_requested(self, scene, pipeline, times):
        self.scenes.append(scene)

    def owes_grid(self, scene):
        return not any(scene is other for other in self.scenes)

    def publish_grid(self, scene, pipeline):
        self.scenes.append(scene)


class Poses(EgoFrames):
    """Level cameras in a ring; those in ``lost`` have no transform."""

    lost = ()

    def ego_from(self, frame, stamp_ns, reference_ns, deadline_s):
        if frame in self.lost:
            raise StaleTransformError(f"no transform from {frame!r}")
        yaw = -PARAMETERS.cameras.index(frame) * np.pi / 3
        pose = np.eye(4)
        pose[:3, 0] = [np.sin(yaw), -np.cos(yaw), 0]
        pose[:3, 1] = [0, 0, -1]
        pose[:3, 2] = [np.cos(yaw), np.sin(yaw), 0]
        return pose


def info():
    return SimpleNamespace(
        k=np.array([120.0, 0, 80, 0, 120, 45, 0, 0, 1]),
        p=np.zeros(12),
        d=[],
        height=90,
        width=160,
        distortion_model="plumb_bob",
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )


def glance(seconds=0):
    frames = []
    for index, camera in enumerate(PARAMETERS.cameras):
        at_ns = T0_NS + seconds * 10**9 + index
        pixels = np.full((90, 160, 3), 40 * index, np.uint8)
        image = SimpleNamespace(
            header=header_at(at_ns, camera),
            encoding="rgb8",
            height=90,
            width=160,
            step=480,
            data=pixels.tobytes(),
        )
        frames.append(Frame(index, at_ns, 0.0, image))
    return Glance(tuple(frames))


@pytest.fixture
def parts(weights):
    pipeline = CountingPipeline(load_checkpoint(str(weights)), torch.device("cpu"))
    log = []
    health = Health(log.append, {name: f"/{name}" for name in PARAMETERS.cameras})
    outputs = Listeners()
    poses = object.__new__(Poses)
    object.__setattr__(poses, "timeout_s", 0.0)
    infos = {name: info() for name in PARAMETERS.cameras}
    perception = Perception(pipeline, poses, outputs, health, PARAMETERS, infos)
    yield SimpleNamespace(
        perception=perception,
        pipeline=pipeline,
        outputs=outputs,
        health=health,
        poses=poses,
        infos=infos,
        log=log,
    )
    perception.close()


def test_without_listeners_nothing_is_encoded_until_somebody_asks(parts):
    parts.perception.process(glance(0))
    parts.perception.process(glance(1))
    assert parts.pipeline.encoded == 0
    scene = parts.perception.scene()
    assert parts.pipeline.encoded == 1
    assert scene.header.stamp.sec == T0_NS // 10**9 + 1
    assert parts.perception.scene() is scene
    assert parts.pipeline.encoded == 1


def test_with_a_listener_every_glance_is_published(parts):
    parts.outputs.listening = True
    parts.perception.process(glance(0))
    parts.perception.process(glance(1))
    assert [scene.header.stamp.sec - T0_NS // 10**9 for scene in parts.outputs.scenes] == [0, 1]
    assert parts.outputs.scenes[0].full_sizes["CAM_BACK"] == (90, 160)
    assert {"transforms", "decode", "encode"} <= set(parts.perception.times.last())


def test_before_the_first_frame_the_question_is_refused(parts):
    with pytest.raises(QueryError, match="no frame yet"):
        parts.perception.scene()


def test_cameras_without_pose_or_info_are_missing_and_counted(parts):
    parts.outputs.listening = True
    object.__setattr__(parts.poses, "lost", ("CAM_BACK",))
    del parts.infos["CAM_FRONT"]
    parts.perception.process(glance())
    assert parts.pipeline.valid == [False, True, True, False, True, True]
    assert parts.health.cameras["CAM_BACK"].problems == {"tf": 1}
    assert parts.health.cameras["CAM_FRONT"].problems == {"calibration": 1}
    assert any("no camera_info yet on /CAM_FRONT/camera_info" in line for line in parts.log)
    assert "CAM_FRONT" not in parts.outputs.scenes[0].camera_headers


def test_a_first_image_waits_for_its_camera_info_but_later_ones_do_not(parts):
    late = parts.infos.pop("CAM_FRONT")
    del parts.infos["CAM_BACK"]
    object.__setattr__(parts.poses, "timeout_s", 0.5)
    timer = threading.Timer(0.05, parts.infos.__setitem__, ("CAM_FRONT", late))
    timer.start()
    parts.outputs.listening = True
    parts.perception.process(glance(0))
    timer.join()
    assert parts.pipeline.valid == [True, True, True, False, True, True]
    object.__setattr__(parts.poses, "timeout_s", 60.0)
    began_s = time.monotonic()
    parts.perception.process(glance(1))
    assert time.monotonic() - began_s < 30
    assert parts.health.cameras["CAM_BACK"].problems == {"calibration": 2}


def test_a_glance_with_too_few_usable_cameras_is_left_out_and_counted(parts):
    parts.outputs.listening = True
    object.__setattr__(parts.poses, "lost", PARAMETERS.cameras[:4])
    parts.perception.process(glance())
    assert parts.outputs.scenes == []
    assert parts.health.problems == {"too_few_cameras": 1}
    assert any("2 usable cameras, expected at least 3" in line for line in parts.log)


def test_a_bad_glance_leaves_the_last_scene(parts):
    parts.outputs.listening = True
    parts.perception.process(glance(0))
    object.__setattr__(parts.poses, "lost", PARAMETERS.cameras)
    parts.perception.process(glance(1))
    assert parts.perception.scene().header.stamp.sec == T0_NS // 10**9


def test_a_glance_that_cannot_be_decoded_publishes_nothing_old(parts):
    parts.outputs.listening = True
    parts.perception.process(glance(0))
    damaged = glance(1)
    for frame in damaged.present:
        frame.image.data = b""
    parts.perception.process(damaged)
    assert [scene.header.stamp.sec - T0_NS // 10**9 for scene in parts.outputs.scenes] == [0]
    assert parts.health.problems == {"too_few_cameras": 1}


def test_who_comes_late_is_owed_the_grid_of_the_newest_glance_once(parts):
    assert not parts.perception.owes_grid()
    parts.perception.process(glance(0))
    for seconds in (1, 2):
        parts.perception.process(glance(seconds))
        assert parts.perception.owes_grid()
        parts.perception.latch()
        assert not parts.perception.owes_grid()
    assert [scene.header.stamp.sec - T0_NS // 10**9 for scene in parts.outputs.scenes] == [1, 2]


def test_views_are_some_cameras_in_the_rig_order(parts):
    parts.perception.process(glance())
    views = parts.perception.scene().views({"CAM_BACK", "CAM_FRONT"})
    assert views.names == ("CAM_FRONT", "CAM_BACK")
    assert views.images.shape[0] == 2
    torch.testing.assert_close(
        views.ego_from_camera[1, :3, 2], torch.tensor([-1.0, 0.0, 0.0]), atol=1e-6, rtol=0
    )
