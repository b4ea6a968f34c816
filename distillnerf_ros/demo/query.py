"""``distillnerf query``: where things described in words are, in a glance or a fitted scene."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distillnerf_ros.demo.canvas import save_png
from distillnerf_ros.demo.glance import (
    add_glance_arguments,
    answers,
    camera_views,
    feature_colors,
    look,
    snapshot,
)
from distillnerf_ros.demo.overview import overview
from distillnerf_ros.demo.report import Answer, found_things, number, where_is
from distillnerf_ros.demo.snapshot import Snapshot, Voxels
from distillnerf_ros.demo.subject import add_fit_arguments, scene_subject
from distillnerf_ros.query.clusters import gather_hits
from distillnerf_ros.query.hits import Hits
from distillnerf_ros.query.occupancy import GRID_ORIGIN_M, VOXEL_M
from distillnerf_ros.query.text import DEFAULT_THRESHOLD
from distillnerf_ros.training.cache import make_folder_of
from distillnerf_ros.training.evaluate import write_json

VERB_HELP = "ask one glance of a nuScenes folder, or a fitted scene, without ROS"
EXAMPLE = 'distillnerf query --dataroot /data/nuscenes --prompts "a bus" "a tree" --out query.png'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf query``."""
    add_glance_arguments(parser)
    add_fit_arguments(parser)
    add = parser.add_argument
    add("--prompts", nargs="+", required=True, metavar="TEXT", help="what to look for")
    add("--negatives", nargs="+", metavar="TEXT", help="what prompts are weighed against")
    add("--threshold", type=float, metavar="0..1", help="lowest score of a hit")
    add("--out", type=Path, default=Path("query.png"), metavar="FILE", help="picture to write")
    add("--json", type=Path, metavar="FILE", help="write the answers as JSON")


def table(found: Sequence[Answer]) -> str:
    """The answers as a text table."""
    lines = [f"{'prompt':<30}{'score':>7}{'things':>8}  best"]
    for answer in found:
        where = where_is(answer.found[0]) if answer.found else "not here"
        count = len(answer.found)
        lines.append(f"{answer.prompt:<30}{number(answer.score, 2):>7}{count:>8}  {where}")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> int:
    """Ask, print a table and draw.

    Raises:
        ConfigError: a file cannot be written where it is asked for.
        CheckpointError: the weights cannot be loaded.
        DatasetError: the data set, scene or keyframe is not there, or a file cannot be written.
        QueryError: an empty prompt, a threshold outside 0..1, or weights without features.
    """
    for file in filter(None, (args.out, args.json)):
        make_folder_of(file)
    name, hits, shown = ask_glance(args) if args.fit is None else ask_scene(args)
    found = answers(hits)
    save_png(overview(shown, name, args.prompts, found_things(found)), args.out)
    if args.json:
        write_json(args.json, [dataclasses.asdict(answer) for answer in found])
    print(f"{name} -> {args.out}\n{table(found)}")
    return 0


def ask_glance(args: argparse.Namespace) -> tuple[str, Hits, Snapshot]:
    """Ask what the model makes of a keyframe: its name, the answers, and what is drawn."""
    glance = look(args)
    hits = glance.pipeline.query_text(glance.field, args.prompts, args.negatives, args.threshold)
    return glance.name, hits, snapshot(glance, args.prompts)


def ask_scene(args: argparse.Namespace) -> tuple[str, Hits, Snapshot]:
    """The same of a fitted scene at a keyframe."""
    subject = scene_subject(args)
    relevancy, semantics = subject.asked()
    points, features = subject.cells()
    threshold = DEFAULT_THRESHOLD if args.threshold is None else args.threshold
    scores = relevancy(features, args.prompts, args.negatives)
    sure = torch.ones_like(points[:, 0])
    hits = gather_hits(tuple(args.prompts), points, scores, sure, threshold)
    seen = subject.render(subject.field)
    best = relevancy(seen.features.permute(0, 2, 3, 1), args.prompts, args.negatives).amax(dim=-1)
    heat = torch.where(seen.depth_m.isfinite(), best, torch.nan)
    colors = feature_colors(seen.features, semantics.pca.std)
    voxels = coarse_voxels(points, semantics.labels(features))
    return subject.name, hits, Snapshot(0, camera_views(subject.rig, seen, colors, heat), voxels)


def coarse_voxels(points_m: Float[Tensor, "P 3"], labels: UInt8[Tensor, " P"]) -> Voxels:
    """Occ3D's voxels that hold some of the points, each with the label of one of its points."""
    origin = points_m.new_tensor(GRID_ORIGIN_M)
    cells = ((points_m - origin) / VOXEL_M).floor().cpu().numpy()
    cells, first = np.unique(cells, axis=0, return_index=True)
    centers = ((cells + 0.5) * VOXEL_M + GRID_ORIGIN_M).astype(np.float32)
    return Voxels(centers, labels.cpu().numpy()[first], np.ones(len(cells), np.float32))
