"""Which teacher of dense depth the arguments of ``train`` ask for."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.teachers.mono_depth import MonoDepth
from distillnerf_ros.training.dense_depth import DenseTeacher
from distillnerf_ros.training.exports import SceneExports
from distillnerf_ros.training.keyframes import check_keyframes
from distillnerf_ros.training.mono import MonoTeacher


def add_dense_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options to the group of data."""
    group.add_argument(
        "--targets",
        type=Path,
        metavar="DIR",
        help="nuscenes: depth, sky and virtual views of 'distillnerf scene --export DIR'",
    )
    group.add_argument(
        "--mono-depth",
        type=Path,
        metavar="FILE",
        help="nuscenes: depth by a network of single images, an ONNX or TorchScript file",
    )
    group.add_argument(
        "--mono-focal",
        type=float,
        metavar="PX",
        help="its canonical focal length (Metric3D: 1000); default: it says metres",
    )
    group.add_argument(
        "--mono-size",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="of the images it takes, where the file does not say; default: 700 392",
    )


def dense_teacher(
    args: argparse.Namespace, nusc: NuScenes, tokens: Sequence[str], image_size: tuple[int, int]
) -> DenseTeacher | None:
    """The teacher asked for; every keyframe is looked at before any work is done.

    Args:
        args: of the verb.
        nusc: the data set.
        tokens: sample tokens of the keyframes that are trained on.
        image_size: height and width that are trained with.

    Raises:
        ConfigError: depth would be known from nowhere, or from two teachers.
        DatasetError: targets are missing or do not fit, or the vehicle's pose jumps.
        CheckpointError: the depth network cannot be used.
    """
    _check_mono_arguments(args)
    check_keyframes(nusc, tokens)
    if args.targets is not None:
        exports = SceneExports(args.targets, not args.no_virtual)
        exports.check(nusc, tokens, image_size)
        return exports
    if args.mono_depth is not None:
        return _mono_teacher(args, nusc, tokens, image_size)
    if blind := [token for token in tokens if not nuscenes.has_lidar(nusc, token)]:
        raise ConfigError(
            f"{len(blind)} of {len(tokens)} keyframes have no lidar, so that nothing is known of "
            "depth there; give --targets DIR (from 'distillnerf scene --export DIR') or "
            "--mono-depth FILE (a network)"
        )
    return None


def refuse_dense_arguments(args: argparse.Namespace) -> None:
    """The procedural world knows its own depth.

    Raises:
        ConfigError: a teacher of dense depth is asked for.
    """
    for option in ("targets", "mono_depth"):
        if getattr(args, option) is not None:
            name = "--" + option.replace("_", "-")
            raise ConfigError(f"{name} is for --data nuscenes; the world knows its own depth")


def _check_mono_arguments(args: argparse.Namespace) -> None:
    if args.targets is not None and args.mono_depth is not None:
        raise ConfigError("--targets and --mono-depth both say depth; give one of them")
    given = args.mono_focal is not None or args.mono_size is not None
    if given and args.mono_depth is None:
        raise ConfigError("--mono-focal and --mono-size need --mono-depth FILE")
    if args.mono_focal is not None and not args.mono_focal > 0:
        raise ConfigError(f"--mono-focal {args.mono_focal}: expected more than 0 px")
    if args.mono_size is not None and min(args.mono_size) < 14:
        width, height = args.mono_size
        raise ConfigError(f"--mono-size {width} {height}: expected at least 14 14")


def _mono_teacher(
    args: argparse.Namespace, nusc: NuScenes, tokens: Sequence[str], image_size: tuple[int, int]
) -> MonoTeacher:
    """The network, after a look at how it fits the lidar."""
    size = None if args.mono_size is None else (args.mono_size[1], args.mono_size[0])
    teacher = MonoTeacher(MonoDepth.load(args.mono_depth, args.mono_focal, size), args.cache)
    for line in teacher.check(nusc, tokens, image_size):
        print(line)
    return teacher
