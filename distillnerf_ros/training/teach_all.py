"""``distillnerf teach --all``: features of every keyframe, one task per scene over Ray."""

import argparse
from pathlib import Path
from typing import Any

from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.scene.fleet import Engine, alone, run_tasks
from distillnerf_ros.scene.fleet_summary import report
from distillnerf_ros.scene.fleet_task import Task
from distillnerf_ros.teachers.dense import settled
from distillnerf_ros.training.cache import is_there
from distillnerf_ros.training.feature_store import COMPONENTS_FILE, feature_file

MODULE = "distillnerf_ros.training.teach"
TASKS_FOLDER = "tasks"
"""Below ``--out``: what is done, a folder per scene."""
_COMPONENTS = "components"


def run_all(args: argparse.Namespace) -> int:
    """Fit the components in one task, then fill the folder with a task per scene.

    Args:
        args: of ``distillnerf teach``.

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
    tasks = [components_task(args, nusc.version)]
    outcomes = run_tasks(tasks, engine, describe)
    if outcomes[0].error is None and not args.fit_only:
        # Only now: a scene's task would fit components of its own where there are none.
        tasks = [scene_task(args, nusc, scene) for scene in scenes]
        outcomes = run_tasks(tasks, engine, describe)
    return report(args.out, tasks, outcomes, args.json)


def components_task(args: argparse.Namespace, version: str) -> Task:
    """The task that makes the components which all scenes share."""
    leaves = (args.out.resolve() / COMPONENTS_FILE,)
    return _task(args, _COMPONENTS, leaves, version=version, fit_only=True)


def scene_task(args: argparse.Namespace, nusc: NuScenes, scene: dict[str, Any]) -> Task:
    """The task of one scene."""
    name, out = scene["name"], args.out.resolve()
    leaves = tuple(feature_file(out, name, sample) for sample in nuscenes.keyframes(nusc, scene))
    return _task(args, name, leaves, version=nusc.version, scene=name)


def describe(task: Task) -> str:
    """How far a task has come."""
    if task.name == _COMPONENTS:
        return "fits the components"
    return f"{sum(map(is_there, task.leaves))} of {len(task.leaves)} keyframes"


def _task(args: argparse.Namespace, name: str, leaves: tuple[Path, ...], **own: object) -> Task:
    folder = args.out.resolve() / TASKS_FOLDER / name
    files = {key: _absolute(getattr(args, key)) for key in ("pca", "weights")}
    files["clip"] = settled(args.clip)
    arguments = alone(args, json=folder / "figures.json", **files, **own)
    return Task(name, folder, MODULE, arguments, leaves)


def _absolute(source: str | None) -> str | None:
    """A file's path as every worker finds it; names stay names."""
    return str(Path(source).resolve()) if source and Path(source).is_file() else source
