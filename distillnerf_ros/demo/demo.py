"""``distillnerf demo``: the whole chain through ROS, and a report made of what was recorded."""

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.bag import write_bag
from distillnerf_ros.demo.canvas import save_png
from distillnerf_ros.demo.overview import overview
from distillnerf_ros.demo.recording import Recording, read_recording, with_pictures
from distillnerf_ros.demo.report import Answer, Contents, found_things, number, report, where_is
from distillnerf_ros.demo.session import SessionOptions, answers_at, check_ros, play
from distillnerf_ros.demo.snapshot import Snapshot
from distillnerf_ros.demo.truth import Judgement, judge, true_voxels
from distillnerf_ros.errors import ConfigError

if TYPE_CHECKING:
    from nuscenes.nuscenes import NuScenes
else:
    NuScenes = object

VERB_HELP = "show the whole chain through ROS, with a report"
EXAMPLE = "distillnerf demo --dataroot /data/nuscenes --scene scene-0061 --out demo_output"

PROMPTS = (
    "a car",
    "a delivery van",
    "a bus",
    "somebody crossing the street",
    "a tree",
    "a building",
    "an elephant",
)
"""What the demo asks; the last is never there."""
QUERIES = ("a car", "a tree")
"""Standing queries, drawn as heat."""
SIZES = ("1600x900", "800x450", "400x225")
"""Widths and heights of the images of the procedural scene to choose from."""
PICTURE_PX = (270, 480)
"""Height and width of the cameras' pictures in the report."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf demo``."""
    nuscenes.add_dataset_arguments(parser, required=False)
    add = parser.add_argument
    add("--out", type=Path, default=Path("demo_output"), metavar="DIR", help="default demo_output")
    add("--seed", type=int, default=12, help="of the procedural scene (without --dataroot)")
    add("--seconds", type=float, default=6.0, metavar="S", help="length of that scene")
    add("--size", choices=SIZES, default="800x450", help="of its images; default 800x450")
    add("--weights", default="tiny", help="shipped weights by name, or a .safetensors file")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:K")
    add("--prompts", nargs="+", default=list(PROMPTS), metavar="TEXT", help="what to ask")
    add("--queries", nargs="+", default=list(QUERIES), metavar="TEXT", help="drawn as heat")
    add("--rate", type=float, default=0.5, help="bag seconds per second")


def run(args: argparse.Namespace) -> int:
    """Run the demo, print a table and where to look.

    Raises:
        ConfigError: an option is not usable.
        DatasetError: the data set cannot be read.
        ProcessError: ROS is missing, or a process of the demo failed.
    """
    if args.rate <= 0 or not all(text.strip() for text in args.prompts):
        raise ConfigError(
            f"--rate {args.rate}, --prompts {args.prompts}; expected a rate above 0 and no empty "
            "prompt"
        )
    check_ros()
    start_s = time.monotonic()
    nusc, scene = _data_set(args)
    bag = write_bag(nusc, scene, args.out / "input", force=True, progress=True)
    say(f"{bag}: {scene['name']} as a rosbag2")
    outputs, logs = args.out / "outputs", args.out / "logs"
    shutil.rmtree(outputs, ignore_errors=True)
    say("distillnerf_node, nuscenes_replay, recorder and asker are talking over DDS ...")
    options = SessionOptions(
        args.weights, args.device, tuple(args.queries), tuple(args.prompts), args.rate
    )
    records = play(bag, outputs, logs, options)
    (args.out / "answers.json").write_text(json.dumps(records, indent=1))
    recording = read_recording(outputs, options.cameras)
    say(f"{outputs}: {sum(recording.counts.values())} messages recorded; drawing ...")
    contents = _contents(args, nusc, scene, bag, recording, records)
    _write(args.out, contents)
    print(summary(contents))
    print(f"\ntook {time.monotonic() - start_s:.0f} s; look at")
    for name in ("report.html", "overview.png", "outputs"):
        print(f"  {args.out / name}")
    return 0


def say(text: str) -> None:
    """Tell how far the demo is."""
    print(f"[demo] {text}", flush=True)


def _data_set(args: argparse.Namespace) -> tuple[NuScenes, dict[str, Any]]:
    """The data set asked for; without one, the procedural scene of the seed, written if new."""
    root, version = args.dataroot, args.version
    if root is None:
        from distillnerf_ros.world import writer

        settings = writer.Settings(args.seconds, writer.SIZES[args.size], sweeps=False)
        root, version = args.out / "world" / f"{args.seconds:g}s_{args.size}", None
        say(f"a made-up drive of {args.seconds:g} s, seed {args.seed}, in the nuScenes format ...")
        writer.write_dataset(root, range(args.seed, args.seed + 1), settings, progress=True)
        args.scene = writer.scene_name(args.seed)
    nusc = nuscenes.open_dataset(root, version)
    return nusc, nuscenes.find_scene(nusc, args.scene)


def _contents(
    args: argparse.Namespace,
    nusc: NuScenes,
    scene: dict[str, Any],
    bag: Path,
    recording: Recording,
    records: Sequence[dict[str, Any]],
) -> Contents:
    shown, answers = choose(recording.snapshots, records)
    facts = {
        "data": f"{nusc.dataroot} ({nusc.version}, {scene['name']})",
        "weights": args.weights,
        "shown glance": f"{shown.stamp_ns / 1e9:.3f} s",
    }
    refused = next((r["message"] for r in reversed(records) if not r["success"]), None)
    if refused and not answers:
        facts["text queries"] = refused
    return Contents(
        f"distillnerf_ros: {scene['name']} through ROS 2",
        with_pictures(shown, bag, PICTURE_PX),
        recording.snapshots,
        tuple(args.queries),
        answers,
        true_voxels(nusc, scene, shown),
        judge(nusc, scene, recording.snapshots),
        recording.stages_ms,
        recording.memory_mib,
        recording.counts,
        facts,
    )


def choose(
    snapshots: Sequence[Snapshot], records: Sequence[dict[str, Any]]
) -> tuple[Snapshot, tuple[Answer, ...]]:
    """The glance to show: one that was asked about, with most prompts found; else the middle."""
    best, best_rank = snapshots[len(snapshots) // 2], (-1, 0)
    best_answers: tuple[Answer, ...] = ()
    for snapshot in snapshots:
        answers = answers_at(records, snapshot.stamp_ns)
        rank = (sum(bool(answer.found) for answer in answers), len(snapshot.cameras))
        if answers and rank > best_rank:
            best, best_answers, best_rank = snapshot, answers, rank
    return best, best_answers


def _write(out: Path, contents: Contents) -> None:
    picture = overview(
        contents.snapshot, contents.title, contents.queries, found_things(contents.answers)
    )
    save_png(picture, out / "overview.png")
    (out / "report.html").write_text(report(contents))
    figures = {"stages_ms": contents.stages_ms, "memory_mib": contents.memory_mib}
    if contents.judgement is not None:
        figures["judgement"] = dataclasses.asdict(contents.judgement)
    (out / "figures.json").write_text(json.dumps(figures, indent=1))


def summary(contents: Contents) -> str:
    """The short table for the terminal."""
    lines = [f"\n{len(contents.snapshots)} glances processed"]
    if contents.stages_ms:
        total = sum(contents.stages_ms.values())
        lines[0] += f", {total:.0f} ms each with every output subscribed"
    lines += _judgement_lines(contents.judgement)
    lines.append(f"{'asked through the service':<32}{'score':>7}  where")
    for answer in contents.answers:
        where = where_is(answer.found[0]) if answer.found else "not here"
        lines.append(f"  {answer.prompt:<30}{number(answer.score, 2):>7}  {where}")
    if not contents.answers:
        lines.append(f"  no answer: {contents.facts.get('text queries', 'see logs/asker.log')}")
    return "\n".join(lines)


def _judgement_lines(judgement: Judgement | None) -> list[str]:
    if judgement is None:
        return ["no glance was a keyframe, so nothing can be compared with the truth"]
    lines = [f"{'against lidar':<32}{'AbsRel':>7}{'d<1.25':>8}"]
    for name, errors in [*judgement.depth.items(), ("all cameras", judgement.all_depth)]:
        lines.append(f"  {name:<30}{number(errors.abs_rel):>7}{number(errors.d1):>8}")
    if judgement.occupancy_frames:
        lines.append(f"{'occupancy IoU':<32}{judgement.occupancy_iou:>7.3f}")
    return lines
