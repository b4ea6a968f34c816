"""The verb ``distillnerf scene``: fit the field of one scene, judge it, export targets."""

import argparse
import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from distillnerf_ros.data import nuscenes
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import ConfigError, SceneError
from distillnerf_ros.progress import Progress
from distillnerf_ros.scene.export import check_targets, export_scene
from distillnerf_ros.scene.features import read_features
from distillnerf_ros.scene.fit_all import run_all
from distillnerf_ros.scene.fitter import FitSettings, Fitter, config_of
from distillnerf_ros.scene.fleet import add_fleet_arguments
from distillnerf_ros.scene.fleet_task import claim, write_whole
from distillnerf_ros.scene.judge import SceneFigures, judge
from distillnerf_ros.scene.log import SceneLog, read_log
from distillnerf_ros.scene.pictures import draw_over_time, draw_stamp
from distillnerf_ros.scene.sky import sky_finder, write_sky_masks
from distillnerf_ros.scene.truth import keyframe_truths

VERB_HELP = "fit a per-scene NeRF to a driving log: colour, depth, what moves, virtual views"
EXAMPLE = "distillnerf scene --dataroot world --out scene_out --minutes 30 --json figures.json"

STATE_FILE = "scene.safetensors"
_SAVE_EVERY_S = 120.0
_PICTURES = 5
"""Drawn over a fit."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a fit takes: whichever ends first.

    Attributes:
        steps: at most.
        minutes: at most, over all calls that go on with one another; None = no limit.
    """

    steps: int
    minutes: float | None

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share that is used up, from 0 to 1 (or a little more)."""
        share = step / self.steps
        return share if self.minutes is None else max(share, elapsed_s / (60 * self.minutes))

    def used(self, fitter: Fitter) -> float:
        """The share that a fit has used up so far."""
        return self.progress(fitter.step, fitter.elapsed_s)


def fit(fitter: Fitter, budget: Budget, out: Path) -> None:
    """Fit until the budget is used up.

    Args:
        fitter: fresh, or as its last state left it.
        budget: how long.
        out: folder of state, curve and pictures.

    Raises:
        SceneError: something cannot be written, or the loss is not a number.
    """
    state = out / STATE_FILE
    with Progress(out, budget.steps, fitter.step, SceneError, fitter.elapsed_s) as shown:
        _fit(fitter, budget, shown, lambda: fitter.save(state))
        fitter.save(state)
        log = fitter.log
        shown.show(fitter.step, "stamp", draw_stamp(fitter.field, log, log.duration_s / 2))
        shown.show(fitter.step, "over_time", draw_over_time(fitter.field, log))


def _fit(fitter: Fitter, budget: Budget, shown: Progress, save: Callable[[], None]) -> None:
    saved = last = time.monotonic()
    while (done := budget.used(fitter)) < 1:
        terms = fitter.take_step(done)
        now = time.monotonic()
        fitter.elapsed_s, last = fitter.elapsed_s + now - last, now
        shown.add(fitter.step, terms)
        ahead = budget.used(fitter)
        if int(ahead * _PICTURES) > int(done * _PICTURES) and ahead < 1:
            middle = fitter.log.duration_s / 2
            shown.show(fitter.step, "stamp", draw_stamp(fitter.field, fitter.log, middle))
        if now - saved > _SAVE_EVERY_S:
            save()
            saved = time.monotonic()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf scene``."""
    nuscenes.add_dataset_arguments(parser)
    defaults = FitSettings()
    parser.add_argument(
        "--out", type=Path, required=True, metavar="O", help="folder of state and pictures"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long")
    parser.add_argument("--steps", type=int, default=12000, metavar="K", help="most steps")
    parser.add_argument("--size", default="200x112", metavar="WxH", help="of the images")
    parser.add_argument(
        "--hold-out", type=int, default=8, metavar="K", help="every K-th stamp is only judged on"
    )
    parser.add_argument("--pixels", type=int, default=defaults.pixels, help="rays per step")
    parser.add_argument("--rate", type=float, default=defaults.rate, help="learning rate")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of chance")
    sky = parser.add_mutually_exclusive_group()
    sky.add_argument("--sky", type=Path, metavar="DIR", help="sky masks, TOKEN.png per image")
    sky.add_argument(
        "--sky-by", metavar="CLIP", help="OpenCLIP model that finds the sky, such as world_clip"
    )
    parser.add_argument(
        "--features", type=Path, metavar="DIR", help="fit those of 'distillnerf teach --out DIR'"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures there")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write training targets there")
    add_fleet_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fit, judge, export; one scene, or all of them.

    Raises:
        ConfigError: an argument is out of range.
        DatasetError: the log cannot be read.
        SceneError: something cannot be written, or somebody else works in ``--out``.
    """
    size = parse_size(args.size)
    budget = _budget(args)
    if args.all is not None:
        return run_all(args)
    # A task of --all holds its folder's claim already.
    with contextlib.nullcontext() if args.claimed else claim(args.out, wait_s=0.0):
        return _run_one(args, size, budget)


def _run_one(args: argparse.Namespace, size: tuple[int, int], budget: Budget) -> int:
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    scene = nuscenes.find_scene(nusc, args.scene)
    device = resolve_device(args.device)
    masks = args.sky
    if args.sky_by is not None:
        name, find = sky_finder(args.sky_by, device)
        masks = args.out / f"sky-{name}"
        write_sky_masks(nusc, scene, size, find, masks)
    log = read_log(nusc, scene, size, args.hold_out, masks)
    if log.sweeps is None:
        print(f"{log.name} has no lidar returns: fitted to colour alone, depth will be poor")
    settings = FitSettings(pixels=args.pixels, rate=args.rate, seed=args.seed)
    taught = None if args.features is None else read_features(args.features, nusc, scene, log)
    config = config_of(log, taught.width if taught is not None else 0)
    fitter = Fitter(log, config, settings, device, taught)
    state = args.out / STATE_FILE
    if state.is_file():
        fitter.restore(state)
    if args.export is not None:
        check_targets(args.export, fitter.field, log, fitted=budget.used(fitter) >= 1)
    fit(fitter, budget, args.out)
    figures = judge(fitter.field, log, keyframe_truths(nusc, scene, log))
    _report(figures, fitter, log, args.json)
    if args.export is not None:
        count = export_scene(fitter.field, log, nusc, scene, args.export)
        print(f"{args.export / log.name}: targets of {count} keyframes")
    return 0


def _budget(args: argparse.Namespace) -> Budget:
    positive = ("steps", "minutes", "pixels", "rate")
    for name, value in ((name, getattr(args, name)) for name in positive):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{name} {value} is out of range; expected more than 0")
    if not 0 <= args.seed < 1 << 63:
        raise ConfigError(f"--seed {args.seed} is out of range; expected 0 to 2^63 - 1")
    if args.hold_out < 0 or args.hold_out == 1:
        raise ConfigError(f"--hold-out {args.hold_out} is out of range; expected 0, or 2 or more")
    return Budget(args.steps, args.minutes)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of a text such as ``200x112`` (width first).

    Raises:
        ConfigError: it is something else.
    """
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError as error:
        raise ConfigError(f"--size {text} is no size; expected WxH such as 200x112") from error
    if min(width, height) < 8:
        raise ConfigError(f"--size {text} is too small; expected at least 8x8")
    return height, width


def _report(figures: SceneFigures, fitter: Fitter, log: SceneLog, file: Path | None) -> None:
    for key, value in dataclasses.asdict(figures).items():
        print(f"{key:13} {'unknown' if value is None else f'{value:.3f}'}")
    if file is None:
        return
    known = dataclasses.asdict(figures) | {
        "scene": log.name,
        "steps": fitter.step,
        "minutes": round(fitter.elapsed_s / 60, 2),
        "device": str(fitter.device),
    }
    write_whole(file, json.dumps(known, indent=1).encode())
