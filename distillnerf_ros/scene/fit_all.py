"""``distillnerf scene --all``: every scene of a data set, fitted, judged and exported."""

import argparse
import math
from pathlib import Path
from typing import Any

from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.files import json_lines
from distillnerf_ros.scene.export import target_files
from distillnerf_ros.scene.fleet import Engine, alone, run_tasks
from distillnerf_ros.scene.fleet_summary import report
from distillnerf_ros.scene.fleet_task import Task

MODULE = "distillnerf_ros.scene.fit"
_CURVE_FILE = "curve.jsonl"
_TAIL_BYTES = 4096
"""Of a curve: holds its last lines."""


def run_all(args: argparse.Namespace) -> int:
    """Fit all scenes of a split over Ray.

    Args:
        args: of ``distillnerf scene``.

    Returns:
        0, or 2 if a scene is not done.

    Raises:
        ConfigError: an argument is out of range, Ray is missing, or no machine is large enough.
        DatasetError: the data set cannot be read.
        SceneError: the summary cannot be written, or there is no cluster.
    """
    engine = Engine.of(args)
    if args.scene is not None:
        raise ConfigError(f"--scene {args.scene} and --all exclude each other; give one of them")
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    scenes = nuscenes.whole_scenes(nusc, nuscenes.scenes_of_split(nusc, args.all))
    tasks = [scene_task(args, nusc, scene) for scene in scenes]
    outcomes = run_tasks(tasks, engine, describe)
    return report(args.out, tasks, outcomes, args.json)


def scene_task(args: argparse.Namespace, nusc: NuScenes, scene: dict[str, Any]) -> Task:
    """The task of one scene: its folder below ``--out``, targets in the common ``--export``."""
    name, samples = scene["name"], nuscenes.keyframes(nusc, scene)
    folder = args.out.resolve() / name
    own = {"version": nusc.version, "scene": name, "out": folder, "json": folder / "figures.json"}
    targets = () if args.export is None else target_files(args.export.resolve(), name, samples)
    return Task(name, folder, MODULE, alone(args, **own), targets)


def describe(task: Task) -> str:
    """How far a fit has come, from the end of its curve."""
    lines = _tail(task.folder / _CURVE_FILE)
    if not lines:
        return "reads its log"
    last, steps = lines[-1], task.arguments["steps"]
    said = f"step {last['step']} of {steps}"
    if last.get("rgb", 0) > 0:
        said += f", psnr {-10 * math.log10(last['rgb']):.1f}"
    if len(lines) < 2:
        return said
    rate_hz = (last["step"] - lines[-2]["step"]) / (last["seconds"] - lines[-2]["seconds"] + 1e-3)
    left_s = (steps - last["step"]) / rate_hz
    if task.arguments["minutes"] is not None:
        left_s = min(left_s, 60 * task.arguments["minutes"] - last["seconds"])
    return f"{said}, {rate_hz:.1f} steps/s, {max(0.0, left_s) / 60:.0f} min left"


def _tail(curve: Path) -> list[dict[str, Any]]:
    """The last whole lines of a curve; none if there is no curve yet."""
    try:
        with curve.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            return json_lines(file.read())
    except OSError:
        return []
