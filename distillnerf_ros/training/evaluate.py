"""Judging weights on a nuScenes-format data set, beside answers that look at no image."""

import argparse
import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.checkpoint import find_weights
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.files import whole_file
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.training.dense_depth import DenseTeacher
from distillnerf_ros.training.exports import SceneExports
from distillnerf_ros.training.figures import Figures, figures
from distillnerf_ros.training.judge import Judge
from distillnerf_ros.training.lpips import Lpips, add_lpips_arguments, lpips_files
from distillnerf_ros.training.scoring import SceneScores, score_scene
from distillnerf_ros.training.table import summary

VERB_HELP = "judge weights on a nuScenes-format data set, beside simple baselines"
EXAMPLE = (
    "distillnerf eval --dataroot /data/nuscenes --split val --weights tiny --json eval.json "
    "--pictures eval_pictures"
)


def choose_frames(
    nusc: NuScenes, split: str, names: list[str] | None, every: int
) -> dict[str, list[str]]:
    """Sample tokens to judge by scene name: every K-th keyframe of each scene.

    Of a split, scenes whose files are not all there are left out, which is said.

    Raises:
        ConfigError: ``every`` is not positive.
        DatasetError: no such split or scene, or no keyframe at all.
    """
    if every < 1:
        raise ConfigError(f"--every {every}: expected 1 or more")
    if names:
        scenes = [nuscenes.find_scene(nusc, name) for name in names]
    else:
        scenes = nuscenes.whole_scenes(nusc, nuscenes.scenes_of_split(nusc, split))
    chosen = {scene["name"]: nuscenes.keyframes(nusc, scene)[::every] for scene in scenes}
    chosen = {name: tokens for name, tokens in chosen.items() if tokens}
    if not chosen:
        raise DatasetError(
            f"split {split!r} of {nusc.dataroot} ({nusc.version}) holds none of the scenes that "
            "are there; choose --split all or --scenes"
        )
    return chosen


def evaluate(
    nusc: NuScenes,
    frames: dict[str, list[str]],
    pipeline: Pipeline,
    parts: Path | None = None,
    lpips: Lpips | None = None,
    dense: DenseTeacher | None = None,
) -> Figures:
    """Judge frames and compute all figures; shows a progress bar.

    Args:
        nusc: the data set.
        frames: sample tokens by scene name.
        pipeline: what is judged.
        parts: folder of finished scenes to go on from, one file each; None keeps nothing.
        lpips: judges colour in addition; None does not.
        dense: says the depth of every pixel, to judge by in addition; None does not.

    Raises:
        DatasetError: a file of the data set is missing or damaged.
        ImageError: an image is.
    """
    scenes: dict[str, SceneScores] = {}
    judge = Judge(pipeline, lpips, dense)
    with tqdm(total=sum(map(len, frames.values())), unit="frame", desc="eval") as bar:
        for name, tokens in frames.items():
            path = parts / f"{name}.npz" if parts else None
            if path is not None and path.is_file():
                scenes[name] = SceneScores.load(path)
                bar.update(len(tokens))
                continue
            scenes[name] = score_scene(nusc, tokens, judge, bar.update)
            if path is not None:
                scenes[name].save(path)
    return figures(scenes, (len(CAMERA_NAMES), *pipeline.depth_size))


def parts_folder(
    json_file: Path,
    weights: Path,
    nusc: NuScenes,
    frames: dict[str, list[str]],
    more: Sequence[Path] = (),
) -> Path:
    """Where unfinished work on exactly these weights and data is kept, beside the JSON file.

    Args:
        json_file: where the figures will be.
        weights: what is judged.
        nusc: the data set; labels that it gets meanwhile are judged.
        frames: sample tokens by scene name.
        more: further files that figures depend on.
    """
    digest = hashlib.sha256(weights.read_bytes())
    for path in more:
        digest.update(path.read_bytes())
    columns = [field.name for field in dataclasses.fields(SceneScores)]
    tokens = [token for tokens in frames.values() for token in tokens]
    labelled = [nuscenes.occ3d_path(nusc, token).is_file() for token in tokens]
    data = [str(Path(nusc.dataroot).resolve()), nusc.version, frames, labelled]
    digest.update(json.dumps([columns, data]).encode())
    return json_file.with_name(f".{json_file.name}.{digest.hexdigest()[:12]}.parts")


def write_json(path: Path, content: Figures | list[Figures]) -> None:
    """Write figures whole or not at all; NaN becomes null, which JSON can say.

    Raises:
        ConfigError: they cannot be written.
    """
    with whole_file(path, ConfigError) as part:
        part.write_text(json.dumps(_finite(content), indent=1) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf eval``."""
    parser.add_argument("--dataroot", type=Path, required=True, metavar="DIR")
    parser.add_argument("--version", help="version folder; default: the only one there is")
    parser.add_argument("--split", default="all", help="train, val, ...; default: every scene")
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="these scenes alone")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="every K-th keyframe")
    parser.add_argument("--weights", default="tiny", help="shipped name or .safetensors file")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="draw the best and the worst frames here"
    )
    parser.add_argument(
        "--targets",
        type=Path,
        metavar="DIR",
        help="judge the depth of every pixel, too, by what 'distillnerf scene --export DIR' wrote",
    )
    add_lpips_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Judge, print, and write what was asked for.

    An interrupted run with ``--json`` goes on after its last whole scene when started again.

    Raises:
        DatasetError: not a nuScenes folder, no such scene, or a file is missing or damaged; or no
            targets of a keyframe.
        CheckpointError: the weights, or LPIPS's, are missing, damaged or not what they should be.
        ConfigError: an option is out of range.
    """
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    frames = choose_frames(nusc, args.split, args.scenes, args.every)
    pipeline = Pipeline.load(args.weights, args.device)
    weights, files = find_weights(args.weights), lpips_files(args)
    lpips = Lpips.load(*files).to(pipeline.device) if files else None
    dense, more = None, [*(files or ())]
    if args.targets is not None:
        dense = SceneExports(args.targets, virtual=False)
        dense.check(nusc, [t for tokens in frames.values() for t in tokens], pipeline.image_size)
        more += [args.targets / name / "scene.json" for name in frames]
    parts = parts_folder(args.json, weights, nusc, frames, more) if args.json else None
    content = evaluate(nusc, frames, pipeline, parts, lpips, dense)
    content["run"] = {
        "weights": args.weights,
        "dataset": f"{args.dataroot.resolve().name} ({nusc.version})",
        "scenes": len(frames),
        "frames": sum(map(len, frames.values())),
        "device": str(pipeline.device),
    }
    if args.json and parts:
        write_json(args.json, content)
        shutil.rmtree(parts, ignore_errors=True)
    print(summary(content))
    if args.pictures:
        from distillnerf_ros.training.pictures import draw_extremes

        draw_extremes(nusc, frames, pipeline, content, args.pictures)
    return 0
