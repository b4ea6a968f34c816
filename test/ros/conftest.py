"""A small trained-like checkpoint, glances as messages, and nodes in processes of their own."""

import contextlib
import dataclasses
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
import torch
import torch.nn.functional as F
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.checkpoint import save_checkpoint
from distillnerf_ros.config import ModelConfig
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.ros.messages import header_at
from distillnerf_ros.teachers.pca import Pca

SCRIPT = Path(__file__).with_name("node_under_test.py")
PERIOD_NS = 500_000_000
FIRING_NS = 8_000_000
"""Time from one camera to the next within a glance."""
K = [120.0, 0, 80.0, 0, 120.0, 45.0, 0, 0, 1]
SIZE = (90, 160)


@pytest.fixture(scope="session")
def weights(small_config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small model that sees solid matter wherever it puts voxels."""
    torch.manual_seed(3)
    model = DistillNeRF(small_config)
    with torch.no_grad():
        for head in (model.voxel_net.fine_head, model.voxel_net.coarse_head):
            head.bias[0] = 4.0
    channels, width = small_config.features.channels, 8
    basis = torch.linalg.qr(torch.randn(width, width))[0][:channels]
    pca = Pca(torch.zeros(width), basis, torch.full((channels,), 0.3), 0.9)
    classes = F.normalize(torch.randn(17, width), dim=-1)
    negatives = F.normalize(torch.randn(4, width), dim=-1)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_checkpoint(path, model, Semantics("words", pca, classes, negatives))
    return path


def jpeg(camera: int) -> bytes:
    """A gradient picture, different for each camera."""
    ramp = np.linspace(0, 255, SIZE[1]).astype(np.uint8)
    pixels = np.stack([np.tile(ramp, (SIZE[0], 1))] * 3, axis=-1)
    pixels[..., 1] = 40 * camera
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@dataclasses.dataclass
class Shot:
    """What one camera sends for one glance."""

    camera: str
    image: CompressedImage
    info: CameraInfo


def make_glance(stamp_ns: int) -> list[Shot]:
    """Six images with CameraInfo, fired one after another."""
    shots = []
    for index, camera in enumerate(CAMERA_NAMES):
        header = header_at(stamp_ns + index * FIRING_NS, camera)
        image = CompressedImage(header=header, format="jpeg", data=jpeg(index))
        info = CameraInfo(header=header, height=SIZE[0], width=SIZE[1], k=K)
        shots.append(Shot(camera, image, info))
    return shots


class Vehicle:
    """A rclpy node in this process that plays the cameras and listens to the results."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("vehicle", context=self.context)
        self._images, self._infos = {}, {}
        for camera in CAMERA_NAMES:
            self._images[camera] = self.node.create_publisher(
                CompressedImage, f"/{camera}/image_rect_compressed", 10
            )
            self._infos[camera] = self.node.create_publisher(
                CameraInfo, f"/{camera}/camera_info", 10
            )
        self._static = StaticTransformBroadcaster(self.node)
        self._moving = TransformBroadcaster(self.node)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self.stamp_ns = 1_600_000_000_000_000_000

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def wait_for_node(self) -> None:
        """Until the node under test listens to every camera and to tf."""
        publishers = [*self._images.values(), *self._infos.values(), self._moving.pub_tf]
        wait_until(lambda: all(p.get_subscription_count() for p in publishers), 60.0)
        time.sleep(0.3)

    def listen(
        self, kind: type, topic: str, qos: QoSProfile | int = 10, wait: bool = True
    ) -> list[Any]:
        """A list that fills with the messages of a topic, whose publisher may be waited for."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        if wait:
            wait_until(lambda: self.node.count_publishers(topic), 30.0)
        return received

    def ask(self, kind: type, name: str, request: Any, timeout_s: float = 60.0) -> Any:
        """Call a service."""
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(60.0), f"no service {name}"
        future = client.call_async(request)
        wait_until(future.done, timeout_s)
        self.node.destroy_client(client)
        return future.result()

    def send_poses(self, stamp_ns: int) -> None:
        """Where the vehicle is: 10 m/s along map x; and where its cameras are."""
        self._static.sendTransform([mounting(i, c) for i, c in enumerate(CAMERA_NAMES)])
        for index in range(len(CAMERA_NAMES)):
            at_ns = stamp_ns + index * FIRING_NS
            self._moving.sendTransform(
                transform("map", "base_link", (at_ns % 10**12 * 1e-8, 0, 0), 0.0, at_ns)
            )

    def send(self, change: Callable[[list[Shot]], None] | None = None) -> list[Shot]:
        """Send one glance with its poses; ``change`` may damage it before."""
        self.stamp_ns += PERIOD_NS
        shots = make_glance(self.stamp_ns)
        if change is not None:
            change(shots)
        self.send_poses(self.stamp_ns)
        for shot in shots:
            self._infos[shot.camera].publish(shot.info)
            self._images[shot.camera].publish(shot.image)
        return shots


def transform(
    parent: str, child: str, xyz: tuple[float, float, float], yaw: float, stamp_ns: int
) -> Any:
    from geometry_msgs.msg import TransformStamped

    message = TransformStamped(header=header_at(stamp_ns, parent), child_frame_id=child)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, xyz)
    q.z, q.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def mounting(index: int, camera: str) -> Any:
    """Optical frame of a level camera 1.6 m up, turned clockwise by 60 degrees per index."""
    message = transform("base_link", camera, (0.5, 0.0, 1.6), 0.0, 0)
    half = -index * math.pi / 6  # half of the turn about z
    # Turn about z times the optical axes (x right, y down, z forward), quaternion (x, y, z, w).
    c, s = math.cos(half), math.sin(half)
    x, y, z, w = -0.5, 0.5, -0.5, 0.5
    q = message.transform.rotation
    q.x, q.y, q.z, q.w = c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z
    return message


def wait_until(condition: Callable[[], Any], timeout_s: float) -> None:
    """Poll until a condition holds; fail where it never does."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
        time.sleep(0.01)


@dataclasses.dataclass
class Process:
    """A program under test with its output so far."""

    popen: subprocess.Popen
    log: Path

    def output(self) -> str:
        return self.log.read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        return self.popen.wait(timeout_s)


@contextlib.contextmanager
def started(log: Path, *command: Any) -> Iterator[Process]:
    """A Python program that is gone afterwards, whatever happens."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("w") as stream:
        popen = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    process = Process(popen, log)
    try:
        yield process
    finally:
        if popen.poll() is None:
            popen.kill()
            popen.wait()


def node_command(**parameters: Any) -> list[str]:
    """Command line of the node under test, patient enough for a busy machine."""
    command = [str(SCRIPT), "--ros-args"]
    patience = {"sync_timeout_s": 1.0, "tf_timeout_s": 1.0}
    for name, value in {**patience, **parameters}.items():
        command += ["-p", f"{name}:={value}"]
    return command


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts Python programs; all are gone after the test."""
    with contextlib.ExitStack() as stack:

        def run(*command: Any) -> Process:
            log = tmp_path / f"{len(list(tmp_path.glob('*.log')))}.log"
            return stack.enter_context(started(log, *command))

        yield run


@pytest.fixture
def start_node(start: Callable[..., Process], weights: Path) -> Callable[..., Process]:
    """Starts the node under test with parameters."""

    def run(**parameters: Any) -> Process:
        return start(*node_command(**{"weights": weights, **parameters}))

    return run


@pytest.fixture(scope="module")
def vehicle() -> Iterator[Vehicle]:
    vehicle = Vehicle()
    yield vehicle
    vehicle.close()


@pytest.fixture(scope="module")
def node(
    vehicle: Vehicle, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """The node in a process of its own, active and connected to the vehicle."""
    log = tmp_path_factory.mktemp("node") / "node.log"
    with started(log, *node_command(weights=weights)) as process:
        vehicle.wait_for_node()
        wait_until(lambda: "active:" in process.output(), 60.0)
        yield process
        assert process.stop() == 0, process.output()
