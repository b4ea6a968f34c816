"""Which teacher of dense depth the arguments of ``train`` ask for."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.training.dense_depth import DenseTeacher
from distillnerf_ros.training.exports import SceneExports
from distillnerf_ros.training.keyframes import check_keyframes


def add_dense_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options to the group of data."""
    group.add_argument(
        "--targets",
        type=Path,
        metavar="DIR",
        help="nuscenes: depth, sky and virtual views of 'distillnerf scene --export DIR'",
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
        ConfigError: depth would be known from nowhere.
        DatasetError: targets are missing or do not fit, or the vehicle's pose jumps.
    """
    check_keyframes(nusc, tokens)
    if args.targets is not None:
        exports = SceneExports(args.targets, not args.no_virtual)
        exports.check(nusc, tokens, image_size)
        return exports
    if blind := [token for token in tokens if not nuscenes.has_lidar(nusc, token)]:
        raise ConfigError(
            f"{len(blind)} of {len(tokens)} keyframes have no lidar, so that nothing is known of "
            "depth there; give --targets DIR (from 'distillnerf scene --export DIR')"
        )
    return None


def refuse_dense_arguments(args: argparse.Namespace) -> None:
    """The procedural world knows its own depth.

    Raises:
        ConfigError: a teacher of dense depth is asked for.
    """
    if args.targets is not None:
        raise ConfigError("--targets is for --data nuscenes; the world knows its own depth")
