"""Judging weights on a nuScenes-format data set, beside answers that look at no image."""

import argparse
import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.checkpoint import find_weights
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.training.figures import Figures, figures
from distillnerf_ros.training.scoring import SceneScores, score_scene

VERB_HELP = "judge weights on a nuScenes-format data set, beside simple baselines"
EXAMPLE = (
    "distillnerf eval --dataroot /data/nuscenes --split val --weights tiny --json eval.json "
    "--pictures eval_pictures"
)


def choose_frames(
    nusc: NuScenes, split: str, names: list[str] | None, every: int
) -> dict[str, list[str]]:
    """Sample tokens to judge by scene name: every K-th keyframe of each scene.

    Raises:
        ConfigError: ``every`` is not positive.
        DatasetError: no such split or scene, or no keyframe at all.
    """
    if every < 1:
        raise ConfigError(f"--every {every}: expected 1 or more")
    if names:
        scenes = [nuscenes.find_scene(nusc, name) for name in names]
    else:
        scenes = nuscenes.scenes_of_split(nusc, split)
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
) -> Figures:
    """Judge frames and compute all figures; shows a progress bar.

    Args:
        nusc: the data set.
        frames: sample tokens by scene name.
        pipeline: what is judged.
        parts: folder of finished scenes to go on from, one file each; None keeps nothing.

    Raises:
        DatasetError: a file of the data set is missing or damaged.
        ImageError: an image is.
    """
    scenes: dict[str, SceneScores] = {}
    with tqdm(total=sum(map(len, frames.values())), unit="frame", desc="eval") as bar:
        for name, tokens in frames.items():
            path = parts / f"{name}.npz" if parts else None
            if path is not None and path.is_file():
                scenes[name] = SceneScores.load(path)
                bar.update(len(tokens))
                continue
            scenes[name] = score_scene(nusc, tokens, pipeline, bar.update)
            if path is not None:
                scenes[name].save(path)
    return figures(scenes, (len(CAMERA_NAMES), *pipeline.depth_size))


def parts_folder(json_file: Path, weights: Path, frames: dict[str, list[str]]) -> Path:
    """Where unfinished work on exactly these weights and frames is kept, beside the JSON file."""
    digest = hashlib.sha256(weights.read_bytes())
    digest.update(json.dumps(frames).encode())
    return json_file.with_name(f".{json_file.name}.{digest.hexdigest()[:12]}.parts")


def write_json(path: Path, content: Figures) -> None:
    """Write figures whole or not at all; NaN becomes null, which JSON can say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(_finite(content), indent=1) + "\n")
    os.replace(temporary, path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


_TABLE = (
    ("depth AbsRel (lower is better)", ("depth", "abs_rel"), ("per_pixel_mean", "flat_road")),
    ("depth delta < 1.25", ("depth", "d1"), ("per_pixel_mean", "flat_road")),
    ("occupancy IoU, camera mask", ("occupancy", "iou"), ("majority_voxel", "flat_road")),
    ("occupancy mIoU, 17 classes", ("occupancy", "miou_17"), ("flat_road",)),
    ("text query mAP, class names", ("query", "map"), ("class_prior",)),
)


def _look_up(content: Figures | None, path: tuple[str, ...]) -> float | None:
    for key in path:
        content = None if content is None else content[key]
    return content  # type: ignore[return-value]


def summary(content: Figures) -> str:
    """The headline figures with their baselines, then a line per scene."""
    lines = [f"{'':34}{'model':>8}   baselines"]
    for title, path, baselines in _TABLE:
        others = [
            f"{name} {_cell(_look_up(content['baselines'][name], path))}" for name in baselines
        ]
        lines.append(f"{title:34}{_cell(_look_up(content, path)):>8}   {', '.join(others)}")
    color, speed = content["reconstruction"], content["speed"]
    lines += [
        f"{'reconstruction PSNR / SSIM':34}{_cell(color['psnr'], 2):>8} / {_cell(color['ssim'])}",
        f"{'speed, frames per second':34}{_cell(speed['frames_hz'], 2):>8}   encode "
        f"{speed['encode_s']:.3f} s, depth {speed['depth_s']:.3f} s, occupancy "
        f"{speed['occupancy_s']:.3f} s",
        "",
        f"{'scene':24}{'frames':>7}{'AbsRel':>8}{'d1':>8}{'IoU':>8}{'mAP':>8}{'PSNR':>8}",
    ]
    for name, one in content["scenes"].items():
        cells = [
            _cell(one["depth"]["abs_rel"]),
            _cell(one["depth"]["d1"]),
            _cell(one["occupancy"]["iou"]),
            _cell(one["query"]["map"]),
            _cell(one["reconstruction"]["psnr"], 2),
        ]
        lines.append(f"{name:24}{one['frames']:>7}" + "".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)


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


def run(args: argparse.Namespace) -> int:
    """Judge, print, and write what was asked for.

    An interrupted run with ``--json`` goes on after its last whole scene when started again.

    Raises:
        DatasetError: not a nuScenes folder, no such scene, or a file is missing or damaged.
        CheckpointError: the weights are missing, damaged or not ours.
        ConfigError: an option is out of range.
    """
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    frames = choose_frames(nusc, args.split, args.scenes, args.every)
    pipeline = Pipeline.load(args.weights, args.device)
    weights = find_weights(args.weights)
    parts = parts_folder(args.json, weights, frames) if args.json else None
    content = evaluate(nusc, frames, pipeline, parts)
    content["run"] = {
        "weights": args.weights,
        "dataset": f"{args.dataroot.resolve().name} ({nusc.version})",
        "scenes": len(frames),
        "frames": sum(map(len, frames.values())),
        "device": str(pipeline.device),
    }
    print(summary(content))
    if args.json and parts:
        write_json(args.json, content)
        shutil.rmtree(parts, ignore_errors=True)
    if args.pictures:
        from distillnerf_ros.training.pictures import draw_extremes

        draw_extremes(nusc, frames, pipeline, content, args.pictures)
    return 0
