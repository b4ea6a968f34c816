"""``distillnerf render``: what the model makes of one keyframe, as pictures."""

import argparse
from pathlib import Path

from distillnerf_ros.demo import colors, overview
from distillnerf_ros.demo.birds_eye import draw_birds_eye
from distillnerf_ros.demo.canvas import save_png
from distillnerf_ros.demo.glance import add_glance_arguments, look, snapshot
from distillnerf_ros.demo.snapshot import Picture, Snapshot
from distillnerf_ros.demo.voxel_view import draw_voxels

VERB_HELP = "draw colour, depth, features and occupancy of one glance, without ROS"
EXAMPLE = "distillnerf render --dataroot /data/nuscenes --scene scene-0061 --frame 3 --out render"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf render``."""
    add_glance_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("render"), metavar="DIR")


def pictures(shown: Snapshot) -> dict[str, Picture]:
    """Every picture by file name without its ending."""
    named: dict[str, Picture | None] = {}
    for view in shown.cameras:
        depth = None if view.depth_m is None else colors.depth_picture(view.depth_m)
        named[f"{view.name}_rgb"], named[f"{view.name}_depth"] = view.rgb, depth
        named[f"{view.name}_features"] = view.features
    named["voxels"] = draw_voxels(shown.voxels, (720, 1280))
    named["birds_eye"] = draw_birds_eye(shown.voxels, 800, shown.grid)
    return {name: picture for name, picture in named.items() if picture is not None}


def run(args: argparse.Namespace) -> int:
    """Write the pictures.

    Raises:
        CheckpointError: the weights cannot be loaded.
        DatasetError: the data set, scene or keyframe is not there, or a file cannot be written.
    """
    glance = look(args)
    shown = snapshot(glance)
    save_png(overview.overview(shown, glance.name), args.out / "overview.png")
    for name, picture in pictures(shown).items():
        save_png(picture, args.out / f"{name}.png")
    print(f"{glance.name}: {len(shown.voxels.points_m)} occupied voxels -> {args.out}")
    return 0
