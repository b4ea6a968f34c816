"""The verb ``train``: samples, the loop, progress, pictures and checkpoints."""

import argparse
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from distillnerf_ros.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from distillnerf_ros.config import PRESETS, ModelConfig, preset, with_fields
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import ConfigError, TrainingError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.progress import Progress
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.training.components import carry_over
from distillnerf_ros.training.dense_arguments import (
    add_dense_arguments,
    dense_teacher,
    refuse_dense_arguments,
)
from distillnerf_ros.training.distributed import Processes
from distillnerf_ros.training.feature_store import FeatureStore
from distillnerf_ros.training.lpips import Lpips, add_lpips_arguments, lpips_files
from distillnerf_ros.training.nuscenes_samples import NuScenesSamples
from distillnerf_ros.training.objective import LossWeights, Objective
from distillnerf_ros.training.pictures import draw_glance
from distillnerf_ros.training.samples import TrainSample
from distillnerf_ros.training.schedule import Schedule, ShuffledForever
from distillnerf_ros.training.targets import FeatureTargets, feature_targets
from distillnerf_ros.training.trainer import Trainer
from distillnerf_ros.training.world_samples import WorldSamples

VERB_HELP = "train the model on procedural scenes or on a nuScenes data set"
EXAMPLE = "distillnerf train --preset tiny --scenes 200 --steps 4000 --out runs/tiny"


def train(
    trainer: Trainer,
    samples: Dataset[TrainSample],
    out: Path,
    semantics: Semantics | None,
    batch: int = 1,
    image_glances: int = 0,
    workers: int = 1,
) -> None:
    """Run the remaining steps, from ``state.safetensors`` on if there is one.

    Leaves ``curve.jsonl``, pictures, TensorBoard's log and ``weights.safetensors`` in the folder.

    Args:
        trainer: does the steps.
        samples: what to train on.
        out: folder of the run.
        semantics: what the features mean; goes into the weights.
        batch: glances per step and process.
        image_glances: more of them, for the image network and the lift alone.
        workers: processes that read or render glances ahead; 0 = this one does.
    """
    processes = trainer.processes
    out.mkdir(parents=True, exist_ok=True)
    if (out / "state.safetensors").is_file():
        trainer.load_state(out / "state.safetensors")
    shares = _shares(trainer, samples, batch + image_glances, workers)
    first = samples[0]
    steps, writes = trainer.schedule.steps, processes.first
    with Progress(out, steps, trainer.step, TrainingError, enabled=writes) as progress:
        for share in shares:
            if trainer.step >= steps:
                break
            terms = trainer.train_step(share[:batch], share[batch:])
            rate = trainer.schedule.rate(trainer.step)
            progress.add(trainer.step, terms, learning_rate=rate)
            if trainer.step % trainer.schedule.save_every == 0 and writes:
                model = _keep(trainer, out, semantics, torch.float32).to(trainer.device)
                picture = draw_glance(model, first.to(trainer.device))
                progress.show(trainer.step, "glance", picture)
    if writes:
        _keep(trainer, out, semantics, torch.float16)


def _keep(
    trainer: Trainer, out: Path, semantics: Semantics | None, dtype: torch.dtype
) -> DistillNeRF:
    """Write state and weights; returns the averaged model.

    Raises:
        TrainingError: the state cannot be written; the last one is still there.
        CheckpointError: the same of the weights.
    """
    model = trainer.averaged_model()
    trainer.save_state(out / "state.safetensors")
    save_checkpoint(out / "weights.safetensors", model, semantics, dtype)
    return model


def _shares(
    trainer: Trainer, samples: Dataset[TrainSample], batch: int, workers: int
) -> Iterator[list[TrainSample]]:
    """This process's glances of one batch after the other."""
    processes = trainer.processes
    order = ShuffledForever(
        len(samples),  # type: ignore[arg-type]
        trainer.seed,
        trainer.step,
        batch * processes.count,
        (processes.rank, processes.count),
    )
    loader = DataLoader(
        samples,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    share: list[TrainSample] = []
    for sample in loader:
        share.append(sample)
        if len(share) == batch:
            yield share
            share = []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes")
    _add_model_arguments(parser.add_argument_group("the model"))
    add_data_arguments(parser.add_argument_group("what to train on"))
    _add_step_arguments(parser.add_argument_group("how"))
    add_lpips_arguments(parser)


def _add_model_arguments(model: argparse._ArgumentGroup) -> None:
    model.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    model.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the configuration, such as voxels.completion=false",
    )
    model.add_argument("--start-from", help="weights (name or path) to start from")
    model.add_argument(
        "--encoder-weights",
        metavar="FILE",
        help="pretrained encoder: a file, or hub (presets with one)",
    )


def add_data_arguments(data: argparse._ArgumentGroup) -> None:
    """Arguments of ``make_samples``."""
    data.add_argument("--data", choices=("world", "nuscenes"), default="world")
    data.add_argument("--first-seed", type=int, default=20_000, help="world: first scene's seed")
    data.add_argument("--scenes", type=int, default=200, help="world: number of scenes")
    data.add_argument("--per-scene", type=int, default=2, help="world: glances per scene")
    data.add_argument("--no-virtual", action="store_true", help="no virtual views")
    data.add_argument(
        "--lidar-only", action="store_true", help="world: depth is known where lidar fell alone"
    )
    data.add_argument("--dataroot", type=Path, metavar="DIR", help="nuScenes folder")
    data.add_argument("--version", help="its version folder; default: the only one there is")
    data.add_argument("--split", default="all", help="train, val, ...; default: every scene")
    data.add_argument(
        "--hold-back", type=int, default=0, metavar="K", help="leave out every K-th lidar point"
    )
    add_dense_arguments(data)
    data.add_argument("--no-features", action="store_true", help="geometry and colour only")
    data.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="nuscenes: features that 'distillnerf teach' made; default: the shipped CLIP's",
    )
    data.add_argument("--cache", type=Path, help="folder that keeps what was rendered")


def _add_step_arguments(how: argparse._ArgumentGroup) -> None:
    how.add_argument("--steps", type=int, default=4000)
    how.add_argument("--batch", type=int, default=1, help="glances per step and process")
    how.add_argument(
        "--image-glances",
        type=int,
        default=0,
        metavar="N",
        help="more glances per step, for the image network alone: a quarter of the cost",
    )
    how.add_argument("--learning-rate", type=float, default=1e-3, help="its peak")
    how.add_argument("--decay", choices=("cosine", "step"), default="cosine")
    how.add_argument(
        "--drop-camera", type=float, default=0.1, metavar="P", help="probability that one is lost"
    )
    how.add_argument("--no-augment", action="store_true", help="glances just as they are")
    how.add_argument("--half", action="store_true", help="multiply in bfloat16")
    how.add_argument(
        "--loss",
        action="append",
        default=[],
        metavar="TERM=WEIGHT",
        help="change a term's weight, such as entropy=0",
    )
    how.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    how.add_argument("--workers", type=int, default=1, help="processes that make glances")
    how.add_argument("--seed", type=int, default=0, help="of weights and order")


def run(args: argparse.Namespace) -> int:
    """Train, and leave ``weights.safetensors`` in the run's folder.

    Raises:
        ConfigError: an option does not fit.
        TrainingError: a loss is not a number.
        DatasetError: the data set cannot be read.
        CheckpointError: weights to start from cannot be.
    """
    _check_numbers(args)
    torch.manual_seed(args.seed)
    device = resolve_device(args.device)
    config = with_fields(preset(args.preset), args.set)
    weights = loss_weights(args.loss)
    model = DistillNeRF(config)
    teacher, semantics = None, None
    if not args.no_features:
        teacher, semantics = feature_targets(args.features, config)
    if args.start_from:
        start(model, load_checkpoint(args.start_from, config), semantics)
    if args.encoder_weights:
        if model.backbone.encoder is None:
            raise ConfigError(f"--encoder-weights: preset {args.preset} has no timm encoder")
        model.backbone.encoder.load(args.encoder_weights)
    samples = make_samples(args, config, teacher)
    schedule = Schedule(
        steps=args.steps,
        learning_rate=args.learning_rate,
        decay=args.decay,
        drop_camera=args.drop_camera,
        augment=not args.no_augment,
    )
    files = lpips_files(args)
    lpips = Lpips.load(*files).to(device) if files else None
    objective = Objective(weights, semantics and semantics.to(device), lpips=lpips)
    processes = Processes.join(device)
    trainer = Trainer(model, objective, schedule, device, args.seed, processes, args.half)
    try:
        train(trainer, samples, args.out, semantics, args.batch, args.image_glances, args.workers)
    finally:
        processes.leave()
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    least = {"steps": 1, "batch": 1, "scenes": 1, "per_scene": 1}
    least |= {"image_glances": 0, "workers": 0, "hold_back": 0}
    for name, low in least.items():
        if getattr(args, name) < low:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} {getattr(args, name)}; expected {low} or more")
    if args.hold_back == 1:
        raise ConfigError("--hold-back 1 leaves every lidar point out; expected 0, or 2 or more")
    if not 0 < args.learning_rate < math.inf:
        raise ConfigError(f"--learning-rate {args.learning_rate}; expected more than 0")
    if not 0 <= args.drop_camera <= 1:
        raise ConfigError(f"--drop-camera {args.drop_camera}; expected a probability, 0 to 1")


def start(model: DistillNeRF, given: Checkpoint, semantics: Semantics | None) -> None:
    """Take over weights; features they read out go on in the components of today's teacher."""
    model.load_state_dict(given.model.state_dict())
    old = given.semantics
    if old is not None and semantics is not None and old.clip == semantics.clip:
        carry_over(model.heads.features, old.pca, semantics.pca)


def make_samples(
    args: argparse.Namespace, config: ModelConfig, teacher: FeatureTargets | None
) -> Dataset[TrainSample]:
    """What the arguments say to train on.

    Raises:
        ConfigError: a data set is asked for, but not where it is.
        DatasetError: it cannot be read.
    """
    size = (config.backbone.image_height_px, config.backbone.image_width_px)
    if args.data == "world":
        refuse_dense_arguments(args)
        if args.features is not None:
            raise ConfigError("--features are of keyframes: give --data nuscenes, or leave it out")
        return WorldSamples(
            args.first_seed,
            args.scenes,
            args.per_scene,
            size,
            teacher,
            not args.no_virtual,
            not args.lidar_only,
            args.cache,
        )
    if args.dataroot is None:
        raise ConfigError("--data nuscenes needs --dataroot: the folder that holds samples/")
    from distillnerf_ros.data import nuscenes

    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    scenes = nuscenes.whole_scenes(nusc, nuscenes.scenes_of_split(nusc, args.split))
    tokens = [token for scene in scenes for token in nuscenes.keyframes(nusc, scene)]
    if not tokens:
        raise ConfigError(f"split {args.split!r} of {args.dataroot} has no keyframe that is there")
    if isinstance(teacher, FeatureStore):
        teacher.require(tokens)
    dense = dense_teacher(args, nusc, tokens, size)
    return NuScenesSamples(nusc, tokens, size, teacher, args.hold_back, args.cache, dense)


def loss_weights(changes: list[str]) -> LossWeights:
    """The default weights with changes of the form ``TERM=WEIGHT``.

    Raises:
        ConfigError: no such term, or its weight is no number from 0 on.
    """
    known = [field.name for field in dataclasses.fields(LossWeights)]
    weights: dict[str, float] = {}
    for change in changes:
        term, _, value = change.partition("=")
        try:
            weights[term] = float(value)
        except ValueError:
            weights[term] = -1.0
        if term not in known or not weights[term] >= 0:
            raise ConfigError(
                f"--loss {change}: expected TERM=WEIGHT, a weight from 0 on and a term among "
                + ", ".join(known)
            )
    return LossWeights(**weights)
