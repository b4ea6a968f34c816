"""``distillnerf query``: where things described in words are, in one keyframe."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from distillnerf_ros.demo.canvas import save_png
from distillnerf_ros.demo.glance import add_glance_arguments, answers, look, snapshot
from distillnerf_ros.demo.overview import overview
from distillnerf_ros.demo.report import Answer, found_things, number, where_is
from distillnerf_ros.training.cache import make_folder_of
from distillnerf_ros.training.evaluate import write_json

VERB_HELP = "ask one glance of a nuScenes folder, without ROS"
EXAMPLE = 'distillnerf query --dataroot /data/nuscenes --prompts "a bus" "a tree" --out query.png'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf query``."""
    add_glance_arguments(parser)
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
    glance = look(args)
    hits = glance.pipeline.query_text(glance.field, args.prompts, args.negatives, args.threshold)
    found = answers(hits)
    shown = snapshot(glance, args.prompts)
    save_png(overview(shown, glance.name, args.prompts, found_things(found)), args.out)
    if args.json:
        write_json(args.json, [dataclasses.asdict(answer) for answer in found])
    print(f"{glance.name} -> {args.out}\n{table(found)}")
    return 0
