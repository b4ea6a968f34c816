"""A whole data set: one task per scene over Ray, on this machine or on a cluster.

Ray starts the tasks, gives each its GPU, and starts those of a lost worker anew; the tasks' own
folders say what is done (see :mod:`distillnerf_ros.scene.fleet_task`). Needs the extra
``cluster``.
"""

import argparse
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from distillnerf_ros.errors import ConfigError, SceneError
from distillnerf_ros.scene.fleet_task import Outcome, Task, work
from distillnerf_ros.scene.fleet_view import Describe, FleetView

ALL_SCENES = "all"
"""``--all`` without a split."""
_OBJECT_STORE_BYTES = 100 << 20
"""Tasks hand over arguments and figures only; what they make goes to files."""
_TICK_S = 0.5
_STARTS = 3
_OF_THE_MACHINE = [MemoryError, OSError, RuntimeError]
"""Errors that may not come again: memory, disk, network; PyTorch's of a GPU are the last."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where tasks run.

    Attributes:
        address: of a Ray cluster; None = this machine alone.
        workers: tasks at a time; None = as many as there are GPUs, or cores, for.
        threads: of the CPU per task; None = with GPUs a node's cores shared among them, else 1.
        gpus: per task where there are GPUs, also less than one.
        retries: how often a task is begun again after its worker or machine failed.
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    gpus: float = 1.0
    retries: int = 3

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        for name, value in (("workers", self.workers), ("threads", self.threads)):
            if value is not None and value < 1:
                raise ConfigError(f"--{name} {value} is out of range; expected 1 or more")
        if not 0 < self.gpus <= 1:
            raise ConfigError(
                f"--gpus-per-task {self.gpus} is out of range; expected more than 0, at most 1"
            )
        if self.retries < 0:
            raise ConfigError(f"--retries {self.retries} is out of range; expected 0 or more")

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Engine":
        """Of the arguments that :func:`add_fleet_arguments` added.

        Raises:
            ConfigError: one is out of range.
        """
        return cls(args.address, args.workers, args.threads, args.gpus_per_task, args.retries)


def add_fleet_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--all`` and what goes with it to a verb."""
    defaults = Engine()
    group = parser.add_argument_group("whole data sets, over Ray")
    group.add_argument(
        "--all",
        nargs="?",
        const=ALL_SCENES,
        metavar="SPLIT",
        help="every scene (of a split), each in a folder of its own below --out",
    )
    group.add_argument(
        "--address", metavar="ADDR", help="of a Ray cluster; default: start one here"
    )
    group.add_argument(
        "--workers", type=int, metavar="N", help="scenes at a time; default: one per GPU or core"
    )
    group.add_argument(
        "--threads", type=int, metavar="T", help="of the CPU per scene; default: by the GPUs, or 1"
    )
    group.add_argument(
        "--gpus-per-task", type=float, default=defaults.gpus, metavar="G", help="per scene"
    )
    group.add_argument(
        "--retries", type=int, default=defaults.retries, metavar="R", help="after a lost worker"
    )
    parser.set_defaults(claimed=False)


def alone(args: argparse.Namespace, **changed: Any) -> dict[str, Any]:
    """The arguments of a verb for one scene, with absolute paths, as a task wants them."""
    fleet = ("address", "workers", "threads", "gpus_per_task", "retries", "claimed")
    kept = {k: v for k, v in vars(args).items() if k not in fleet} | {"all": None} | changed
    return {k: v.resolve() if isinstance(v, Path) else v for k, v in kept.items()}


def run_tasks(tasks: Sequence[Task], engine: Engine, describe: Describe) -> list[Outcome]:
    """Do what is not done.

    A task whose worker is lost is begun again, and so is one that its machine fails; one that
    fails by an error of the package or of its code is not. The others go on in any case. After
    an interruption the same call goes on.

    Args:
        tasks: one per scene.
        engine: where.
        describe: says how far a task at work has come.

    Returns:
        The outcome of each task.

    Raises:
        ConfigError: Ray is missing, or no machine of the cluster has what a task needs.
    """
    outcomes = {}
    for task in tasks:
        figures = task.figures()
        if figures is not None:
            outcomes[task.name] = Outcome(task.name, figures, again=True)
    todo = [task for task in tasks if task.name not in outcomes]
    with FleetView(len(tasks), len(outcomes), describe) as view:
        if todo:
            with _cluster(engine) as ray:
                outcomes |= _run(ray, todo, engine, view)
    return [outcomes[task.name] for task in tasks]


def _run(
    ray: ModuleType, todo: Sequence[Task], engine: Engine, view: FleetView
) -> dict[str, Outcome]:
    """Submit tasks and gather their outcomes, by name."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    share = _share(machines, str(todo[0].arguments.get("device", "auto")), engine)
    remote = ray.remote(work).options(
        num_cpus=share.threads,
        num_gpus=share.gpus,
        max_retries=engine.retries,
        retry_exceptions=_OF_THE_MACHINE,
    )
    queue = list(reversed(todo))
    running: dict[Any, Task] = {}
    outcomes: dict[str, Outcome] = {}
    try:
        while queue or running:
            while queue and len(running) < (engine.workers or len(todo)):
                task = queue.pop()
                running[remote.remote(task, share.threads)] = task
            ended, _ = ray.wait(list(running), timeout=_TICK_S)
            for reference in ended:
                outcome = _outcome(ray, reference, running.pop(reference))
                outcomes[outcome.name] = outcome
                view.ended(outcome)
            view.look(list(running.values()))
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
    return outcomes


def _outcome(ray: ModuleType, reference: Any, task: Task) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        said = f"{type(error.cause).__name__}: {error.cause}; see {task.folder / 'log.txt'}"
    except ray.exceptions.RayError as error:
        said = f"its worker was lost too often: {' '.join(str(error).split())}"
    return Outcome(task.name, error=said)


@dataclasses.dataclass(frozen=True)
class _Share:
    """What a task gets of its machine."""

    threads: int
    gpus: float


def _share(machines: Sequence[dict[str, float]], device: str, engine: Engine) -> _Share:
    """What each task gets of one of the machines.

    Raises:
        ConfigError: no machine has that much.
    """
    if device.startswith("cuda:"):
        raise ConfigError(
            f"--device {device}: with --all each task sees its own GPU alone; use auto or cpu"
        )
    with_gpu = [machine for machine in machines if machine.get("GPU", 0) >= engine.gpus]
    if device == "cpu" or (device == "auto" and not with_gpu):
        share, among = _Share(engine.threads or 1, 0.0), machines
    else:
        tasks = [int(machine["GPU"] / engine.gpus) for machine in with_gpu]
        fair = min(
            (int(machine.get("CPU", 1) // n) for machine, n in zip(with_gpu, tasks, strict=True)),
            default=1,
        )
        share, among = _Share(engine.threads or max(1, fair), engine.gpus), with_gpu
    if not any(machine.get("CPU", 0) >= share.threads for machine in among):
        raise ConfigError(
            f"no machine of the cluster has {share.threads} CPUs and {share.gpus:g} GPUs for a "
            f"task; there are {[_brief(machine) for machine in machines]}: give other --threads, "
            "--gpus-per-task or --device"
        )
    return share


def _brief(machine: dict[str, float]) -> str:
    return f"{machine.get('CPU', 0):g} CPUs, {machine.get('GPU', 0):g} GPUs"


@contextlib.contextmanager
def _cluster(engine: Engine) -> Iterator[ModuleType]:
    """Ray, connected; a connection that was there before is used and left."""
    ray = _import_ray(engine.address is None)
    if ray.is_initialized():
        yield ray
        return
    _init(ray, engine)
    try:
        yield ray
    finally:
        ray.shutdown()


def _init(ray: ModuleType, engine: Engine) -> None:
    """Start Ray, or join it.

    Raises:
        SceneError: says where it is not to be had, and why.
    """
    # Ray gives its processes half a minute to start, which is too little on a busy machine.
    for again in reversed(range(_STARTS if engine.address is None else 1)):
        try:
            ray.init(**_init_arguments(engine))
            return
        except Exception as error:  # Ray raises nothing narrower
            ray.shutdown()
            if not again:
                where = engine.address or "this machine"
                raise SceneError(f"Ray cannot be had at {where}: {error}") from error


def _import_ray(here: bool) -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if here:
        # Ray's name for it says whom it was made for. Without a cluster it listens to this
        # machine alone.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    elif _has_token():
        # To an address that it is given Ray shows its token only if told to.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "going over a whole data set needs Ray: pip install 'distillnerf_ros[cluster]'"
        ) from error
    return ray


def _has_token() -> bool:
    """Whether Ray finds what clusters that are not open to everybody ask for."""
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return given or (Path.home() / ".ray" / "auth_token").is_file()


def _init_arguments(engine: Engine) -> dict[str, Any]:
    common = {"log_to_driver": False, "logging_level": "warning"}
    if engine.address is not None:
        return common | {"address": engine.address}
    cores = max(len(os.sched_getaffinity(0)), (engine.workers or 1) * (engine.threads or 1))
    return common | {
        "address": "local",
        "num_cpus": cores,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
