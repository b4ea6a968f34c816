"""``distillnerf edit``: take away, keep, recolour, move or copy what a text or patch finds."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.demo import canvas
from distillnerf_ros.demo.glance import add_glance_arguments
from distillnerf_ros.demo.overview import TILE_PX, tile_rows
from distillnerf_ros.demo.snapshot import Picture
from distillnerf_ros.demo.subject import (
    Subject,
    add_fit_arguments,
    glance_subject,
    scene_subject,
)
from distillnerf_ros.errors import ConfigError, QueryError
from distillnerf_ros.pipeline import IMAGE_THRESHOLD
from distillnerf_ros.query import edit
from distillnerf_ros.query.edit import Edited
from distillnerf_ros.query.region import Region, Thing, find_things, union
from distillnerf_ros.query.text import DEFAULT_THRESHOLD
from distillnerf_ros.render.renderer import Rendered
from distillnerf_ros.training.cache import make_folder_of
from distillnerf_ros.training.evaluate import write_json
from distillnerf_ros.voxels.field import Field

VERB_HELP = "take away, keep alone, recolour, move or copy things of a field"
EXAMPLE = (
    'distillnerf edit --dataroot /data/nuscenes --prompt "a yellow car" --recolor 0.2 0.4 1 '
    "--out edit.png"
)
MOST_LISTED = 12
"""Lines of the table."""
CHOSEN_COLOR = (1.0, 0.0, 1.0)
"""What is chosen is drawn in it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf edit``."""
    add_glance_arguments(parser)
    add_fit_arguments(parser)
    which = parser.add_argument_group("which part").add_mutually_exclusive_group(required=True)
    which.add_argument("--prompt", metavar="TEXT", help="what answers to a text")
    which.add_argument(
        "--patch", nargs=5, metavar=("CAM", "U0", "V0", "U1", "V1"), help="what looks like a patch"
    )
    which.add_argument("--click", nargs=3, metavar=("CAM", "U", "V"), help="the thing at a pixel")
    which.add_argument(
        "--box", nargs=6, type=float, metavar="M", help="X Y Z of the lowest corner, the highest"
    )
    more = parser.add_argument_group("how it is found")
    more.add_argument("--threshold", type=float, metavar="0..1", help="least score of a hit")
    more.add_argument(
        "--near", nargs=2, type=float, metavar=("X", "Y"), help="only the thing nearest to there"
    )
    what = parser.add_argument_group("what is done").add_mutually_exclusive_group(required=True)
    what.add_argument("--delete", action="store_true", help="take it away")
    what.add_argument("--extract", action="store_true", help="keep it alone")
    what.add_argument(
        "--recolor", nargs=3, type=float, metavar=("R", "G", "B"), help="colour it; 0..1"
    )
    what.add_argument(
        "--move", nargs=3, type=float, metavar=("X", "Y", "Z"), help="by metres: ahead, left, up"
    )
    what.add_argument("--copy", nargs=3, type=float, metavar=("X", "Y", "Z"), help="likewise")
    parser.add_argument(
        "--turn", type=float, default=0.0, metavar="DEG", help="what is moved, to the left"
    )
    parser.add_argument("--out", type=Path, default=Path("edit.png"), metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was chosen")


def run(args: argparse.Namespace) -> int:
    """Choose, edit, draw before and after, and list what was chosen.

    Raises:
        CheckpointError: weights or fit cannot be loaded, or do not belong together.
        ConfigError: an argument is out of range, or a file cannot be written where asked.
        DatasetError: the data set, scene or keyframe is not there.
        QueryError: nothing was found, the patch is empty or outside, or there are no features.
    """
    for file in filter(None, (args.out, args.json)):
        make_folder_of(file)
    subject = glance_subject(args) if args.fit is None else scene_subject(args)
    before = subject.render(subject.field)
    things = choose(args, subject, before)
    region = union(things)
    chosen = edit.recolored(subject.field, region, edit.tinted(torch.tensor(CHOSEN_COLOR)))
    after = edited(args, subject.field, region)
    shown = {
        "as it was": before,
        f"chosen: {chosen_by(args)}": subject.render(chosen),
        f"after: {done(args)}": subject.render(after),
    }
    rows = {"camera": tiles(subject.rig.images)} | {k: tiles(v.rgb) for k, v in shown.items()}
    canvas.save_png(tile_rows(subject.rig.names, rows), args.out)
    if args.json:
        write_json(args.json, [figures(thing) for thing in things])
    print(f"{subject.name}: {len(things)} chosen -> {args.out}\n{table(things)}")
    return 0


def choose(args: argparse.Namespace, subject: Subject, seen: Rendered) -> list[Thing]:
    """The things that the arguments are about, at least one.

    Raises:
        QueryError: nothing answers, or the arguments point nowhere.
    """
    if args.box is not None:
        low, high = subject.rig.images.new_tensor(args.box).split(3)
        return [Thing(Region.box(low, high), low, high, 1.0, 1)]
    relevancy, semantics = subject.asked()
    near, limit = args.near, args.threshold
    points, features = subject.cells()
    if args.prompt is not None:
        limit = DEFAULT_THRESHOLD if limit is None else limit
        scores = relevancy(features, [args.prompt], None)[:, 0]
    else:
        limit = IMAGE_THRESHOLD if limit is None else limit
        place, asked = looked_at(args.patch or args.click, subject, seen)
        scores = semantics.pca.alike(features, asked)
        near = place if args.click else near
    things = find_things(points, scores, limit, subject.cell_m)
    if not things:
        best = f"{scores.max():.2f}" if len(scores) else "nothing, for nothing is there"
        raise QueryError(
            f"{chosen_by(args)}: nothing reaches {limit}, the best is {best}; ask for something "
            "else or give a lower --threshold"
        )
    if near is None:
        return things
    at = points.new_tensor(near)
    return [min(things, key=lambda thing: thing.apart_m(at))]


def looked_at(
    words: Sequence[str], subject: Subject, seen: Rendered
) -> tuple[list[float], Float[Tensor, " C"]]:
    """Where the middle of a patch or a pixel ends, in ego metres, and its mean feature.

    Raises:
        QueryError: no such camera, outside its picture, or nothing is hit there.
    """
    name, place = words[0], f"{' '.join(words[1:])} of {words[0]}"
    if name not in subject.rig.names:
        raise QueryError(f"camera {name!r}; there are {', '.join(subject.rig.names)}")
    index = subject.rig.names.index(name)
    (rows, cols), (height, width) = subject.rig.image_size, subject.file_sizes[index]
    try:
        u0, v0, u1, v1 = (float(word) for word in [*words[1:], *words[1:]][:4])
    except ValueError as error:
        raise QueryError(f"{place}: expected pixels, counted from 0") from error
    if not (0 <= u0 <= u1 < width and 0 <= v0 <= v1 < height):
        raise QueryError(
            f"{place} is not inside its picture of {width}x{height} pixels, counted from 0, the "
            "upper left corner first"
        )
    left, top = int(u0 * cols / width), int(v0 * rows / height)
    right, bottom = int(u1 * cols / width) + 1, int(v1 * rows / height) + 1
    depth = seen.depth_m[index, top:bottom, left:right]
    hit = depth.isfinite()
    if not hit.any():
        raise QueryError(f"nothing is hit at {place} (sky?)")
    v, u = hit.nonzero().float().mean(dim=0).add(0.5).tolist()
    pixel = torch.tensor([left + u, top + v, 1.0]).to(depth)
    optical = torch.linalg.inv(subject.rig.intrinsics[index]) @ pixel * depth[hit].median()
    pose = subject.rig.ego_from_camera[index]
    ends_m = pose[:3, :3] @ optical + pose[:3, 3]
    return ends_m.tolist(), seen.features[index, :, top:bottom, left:right][:, hit].mean(dim=1)


def edited(args: argparse.Namespace, field: Field, region: Region) -> Edited:
    """The field after what the arguments ask for.

    Raises:
        ConfigError: a colour outside 0..1, or a turn of what is not put anywhere.
    """
    if args.turn and not (args.move or args.copy):
        raise ConfigError("--turn is for what is put somewhere: give --move 0 0 0 or --copy, too")
    if args.delete:
        return edit.deleted(field, region)
    if args.extract:
        return edit.extracted(field, region)
    if args.recolor is not None:
        if not all(0 <= part <= 1 for part in args.recolor):
            raise ConfigError(f"--recolor {args.recolor}: expected red, green and blue in 0..1")
        return edit.recolored(field, region, edit.tinted(torch.tensor(args.recolor)))
    pose = turned(region, args.turn, args.move or args.copy)
    return (edit.moved if args.move else edit.copied)(field, region, pose)


def turned(region: Region, degrees: float, by_m: Sequence[float]) -> Float[Tensor, "4 4"]:
    """Turns a region about the vertical through its middle, then moves it."""
    low, high = region.bounds_m
    middle = (low + high) / 2
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    pose = torch.eye(4, device=middle.device)
    pose[:2, :2] = middle.new_tensor([[cosine, -sine], [sine, cosine]])
    pose[:3, 3] = middle - pose[:3, :3] @ middle + middle.new_tensor(by_m)
    return pose


def chosen_by(args: argparse.Namespace) -> str:
    """What was asked for, in words."""
    for name in ("prompt", "patch", "click", "box"):
        value = getattr(args, name)
        if value is not None:
            return value if name == "prompt" else f"{name} {' '.join(map(str, value))}"
    raise AssertionError


def done(args: argparse.Namespace) -> str:
    """What was done, in words."""
    for name in ("recolor", "move", "copy"):
        value = getattr(args, name)
        if value is not None:
            return f"{name} {' '.join(f'{part:g}' for part in value)}"
    return "deleted" if args.delete else "extracted"


def tiles(images: Float[Tensor, "N 3 H W"]) -> list[Picture]:
    """Pictures of the size of an overview's tiles."""
    pictures = images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [canvas.fit(np.ascontiguousarray(picture), *TILE_PX) for picture in pictures]


def figures(thing: Thing) -> dict[str, object]:
    """A thing as JSON has it."""
    corners = {"low_m": thing.low_m.tolist(), "high_m": thing.high_m.tolist()}
    return corners | {"score": thing.score, "cells": thing.count}


def table(things: Sequence[Thing]) -> str:
    """The things as a text table."""
    lines = [f"{'middle, m (ahead, left, up)':<30}{'size, m':<22}{'score':>6}{'cells':>7}"]
    for thing in things[:MOST_LISTED]:
        middle, size = ((thing.low_m + thing.high_m) / 2).tolist(), thing.high_m - thing.low_m
        at, edges = ("  ".join(f"{x:.1f}" for x in v) for v in (middle, size.tolist()))
        lines.append(f"{at:<30}{edges:<22}{thing.score:>6.2f}{thing.count:>7}")
    if len(things) > MOST_LISTED:
        lines.append(f"and {len(things) - MOST_LISTED} smaller ones")
    return "\n".join(lines)
