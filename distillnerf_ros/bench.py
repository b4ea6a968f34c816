"""The speed of a whole frame, stage by stage: JPEG bytes in, published messages out."""

import argparse
import dataclasses
import os
import platform
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.cameras.pixels import k_to_opencv
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.training.evaluate import write_json

if TYPE_CHECKING:
    from distillnerf_ros.ros.bench_node import BenchNode
else:
    BenchNode = object

VERB_HELP = "measure the speed of a whole frame, stage by stage"
EXAMPLE = "distillnerf bench --dataroot /data/nuscenes --frames 30 --json bench.json"

MODEL_STAGES = ("encode", "depth", "occupancy")
"""Stages of the model; all others are outside it."""
STAGES = ("receive", "decode", *MODEL_STAGES, "publish")
"""In the order they run. ``receive`` and ``publish`` need ROS."""


@dataclasses.dataclass(frozen=True)
class Glance:
    """Compressed images of one glance with their calibration.

    Attributes:
        jpegs: bytes by camera.
        intrinsics: (3, 3) by camera, in pixels of the stored image.
        poses: (4, 4) ego_from_camera by camera.
        size: height and width of the stored images.
    """

    jpegs: dict[str, bytes]
    intrinsics: dict[str, np.ndarray]
    poses: dict[str, np.ndarray]
    size: tuple[int, int]


def made_up_glance(seed: int = 0) -> Glance:
    """Six 1600x900 pictures of soft shapes and noise, as heavy as street scenes, nuScenes' rig."""
    import cv2

    from distillnerf_ros.world.rig_constants import CAMERAS, IMAGE_SIZE_PX

    rng = np.random.default_rng(seed)
    height, width = IMAGE_SIZE_PX
    jpegs = {}
    for name in CAMERA_NAMES:
        picture = np.zeros((height, width, 3), np.float32)
        for cells, weight in ((9, 0.6), (45, 0.25), (450, 0.15)):
            noise = rng.integers(0, 256, (cells, cells * 16 // 9, 3)).astype(np.float32)
            picture += weight * cv2.resize(noise, (width, height))
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        jpegs[name] = cv2.imencode(".jpg", picture.astype(np.uint8), quality)[1].tobytes()
    return Glance(
        jpegs,
        {name: CAMERAS[name].intrinsics for name in CAMERA_NAMES},
        {name: CAMERAS[name].ego_from_camera for name in CAMERA_NAMES},
        IMAGE_SIZE_PX,
    )


def recorded_glance(dataroot: Path, version: str | None, scene_name: str | None) -> Glance:
    """The first keyframe of a scene of a nuScenes folder.

    Raises:
        DatasetError: not a nuScenes folder, no such scene, or none of the six cameras in it.
    """
    from distillnerf_ros.cameras.transforms import invert_rigid
    from distillnerf_ros.data import nuscenes

    nusc = nuscenes.open_dataset(dataroot, version)
    token = nuscenes.keyframes(nusc, nuscenes.find_scene(nusc, scene_name))[0]
    reference = nuscenes.map_from_ego(nusc, nuscenes.reference_record(nusc, token))
    data = nusc.get("sample", token)["data"]
    records = {n: nusc.get("sample_data", data[n]) for n in CAMERA_NAMES if n in data}
    if not records:
        raise DatasetError(
            f"sample {token} has none of the cameras {', '.join(CAMERA_NAMES)}; it has "
            f"{', '.join(data) or 'nothing'}"
        )
    first = next(iter(records.values()))
    return Glance(
        {n: nuscenes.sensor_path(nusc, record).read_bytes() for n, record in records.items()},
        {n: nuscenes.intrinsics(nusc, record) for n, record in records.items()},
        {
            n: invert_rigid(reference)
            @ nuscenes.map_from_ego(nusc, record)
            @ nuscenes.ego_from_sensor(nusc, record)
            for n, record in records.items()
        },
        (first["height"], first["width"]),
    )


class Stopwatch:
    """Seconds per stage and frame."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.frames: list[dict[str, float]] = []

    def next_frame(self) -> None:
        """Start a frame."""
        self.frames.append({})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage of the frame, to the end of its work on the device."""
        start_s = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.frames[-1][name] = time.perf_counter() - start_s


def open_ros() -> BenchNode | None:
    """The ROS end of the bench; None on a machine without ROS."""
    try:
        from distillnerf_ros.ros.bench_node import BenchNode as RosNode
    except ImportError:
        return None
    return RosNode(CAMERA_NAMES)


def measure(
    pipeline: Pipeline, glance: Glance, node: BenchNode | None, frames: int, warm_up: int = 3
) -> list[dict[str, float]]:
    """Seconds of each stage of each frame after the warm-up.

    Args:
        pipeline: the model.
        glance: what comes in, the same in every frame.
        node: the ROS end; None leaves the stages ``receive`` and ``publish`` out.
        frames: frames to time.
        warm_up: frames before them that do not count.
    """
    watch = Stopwatch(pipeline.device)
    packed = node.pack(glance.jpegs) if node else {}
    arrived: Mapping[str, Any] = {
        name: SimpleNamespace(format="jpeg", data=data) for name, data in glance.jpegs.items()
    }
    with ThreadPoolExecutor(os.cpu_count(), "decode") as pool:
        for _ in tqdm(range(warm_up + frames), unit="frame", desc="bench"):
            watch.next_frame()
            if node:
                with watch.stage("receive"):
                    arrived = node.receive(packed)
            _one_frame(pipeline, glance, arrived, node, pool, watch)
    return watch.frames[warm_up:]


def _one_frame(
    pipeline: Pipeline,
    glance: Glance,
    arrived: Mapping[str, Any],
    node: BenchNode | None,
    pool: ThreadPoolExecutor,
    watch: Stopwatch,
) -> None:
    from distillnerf_ros.ros.conversions import Calibration, CameraInput, prepare_glance

    with watch.stage("decode"):
        inputs = []
        for name, image in arrived.items():
            matrix = tuple(k_to_opencv(glance.intrinsics[name]).ravel().tolist())
            calibration = Calibration(matrix, glance.size, (), "")
            inputs.append(CameraInput(name, image, calibration, glance.poses[name]))
        rig = prepare_glance(tuple(arrived), inputs, pipeline.image_size, pool).rig
    with watch.stage("encode"):
        field = pipeline.encode(rig)
    with watch.stage("depth"):
        depth_m = pipeline.depth(field, rig)
    with watch.stage("occupancy"):
        occupancy = pipeline.occupancy(field)
    if node:
        with watch.stage("publish"):
            node.publish(rig, depth_m.cpu().numpy(), occupancy)


def summarise(frames: list[dict[str, float]]) -> dict[str, Any]:
    """Medians: seconds of each stage and of the frame, frames per second, share outside."""
    total = np.array([sum(frame.values()) for frame in frames])
    outside = np.array(
        [sum(v for name, v in frame.items() if name not in MODEL_STAGES) for frame in frames]
    )
    stages = {
        name: float(np.median([frame[name] for frame in frames]))
        for name in STAGES
        if name in frames[0]
    }
    return {
        "frames_hz": float(1 / np.median(total)),
        "frame_s": float(np.median(total)),
        "frame_p90_s": float(np.quantile(total, 0.9)),
        "outside_model_share": float(np.median(outside / total)),
        "stages_s": stages,
    }


def table(result: dict[str, Any]) -> str:
    """The figures for the eye."""
    lines = [f"{'stage':12}{'median':>10}{'share':>8}"]
    for name, seconds in result["stages_s"].items():
        share = seconds / result["frame_s"]
        mark = "" if name in MODEL_STAGES else "   outside the model"
        lines.append(f"{name:12}{1e3 * seconds:>7.1f} ms{share:>8.1%}{mark}")
    lines += [
        f"{'frame':12}{1e3 * result['frame_s']:>7.1f} ms{'':8}   "
        f"90 % within {1e3 * result['frame_p90_s']:.1f} ms",
        f"{result['frames_hz']:.2f} frames per second, {result['outside_model_share']:.1%} of the "
        "frame outside the model",
    ]
    if "publish" not in result["stages_s"]:
        lines.append("no ROS here: receiving and publishing were not timed")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf bench``."""
    parser.add_argument(
        "--dataroot", type=Path, metavar="DIR", help="nuScenes folder; default: made-up pictures"
    )
    parser.add_argument("--version", help="version folder; default: the only one there is")
    parser.add_argument("--scene", help="scene name or token; default: the first")
    parser.add_argument("--weights", default="tiny", help="shipped name or .safetensors file")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--threads", type=int, metavar="N", help="of PyTorch; default: its own")
    parser.add_argument("--frames", type=int, default=20, metavar="N", help="frames to time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write what was asked for.

    Raises:
        ConfigError: an option is out of range.
        CheckpointError: the weights are missing, damaged or not ours.
        DatasetError: ``--dataroot`` is not a nuScenes folder.
    """
    if args.frames < 1 or (args.threads or 1) < 1:
        raise ConfigError(
            f"--frames {args.frames}, --threads {args.threads}: expected 1 or more of each"
        )
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.dataroot:
        glance = recorded_glance(args.dataroot, args.version, args.scene)
    else:
        glance = made_up_glance()
    pipeline = Pipeline.load(args.weights, args.device)
    node = open_ros()
    try:
        result = summarise(measure(pipeline, glance, node, args.frames))
    finally:
        if node:
            node.close()
    result["run"] = {
        "weights": args.weights,
        "device": str(pipeline.device),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "frames": args.frames,
        "jpeg_bytes": sum(map(len, glance.jpegs.values())),
        "image_size": list(glance.size),
    }
    print(table(result))
    if args.json:
        write_json(args.json, result)
    return 0
