"""How sure a class name must be before it counts as found, from streets of known occupancy."""

import argparse
import dataclasses
import functools
import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int8
from tqdm import tqdm

from distillnerf_ros.checkpoint import Checkpoint, find_weights, load_checkpoint, save_checkpoint
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import CheckpointError, DatasetError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.text import DEFAULT_THRESHOLD
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.training.absent import ABSENT, PRESENT, presence
from distillnerf_ros.training.cache import Arrays, kept
from distillnerf_ros.training.evaluate import choose_frames
from distillnerf_ros.training.judge import Judge
from distillnerf_ros.training.truth import load_frame

VERB_HELP = "set how sure each class name must be before it counts as found"
EXAMPLE = (
    "distillnerf calibrate --weights runs/tiny/weights.safetensors --dataroot runs/streets "
    "--out tiny.safetensors"
)

REFUSED = 0.95
"""Share of the frames without a thing in which nothing may be taken for it."""
PRIOR_FRAMES = 3.0
"""Frames that the average class counts as, beside those in which a class is absent itself."""
_LEVELS = np.linspace(DEFAULT_THRESHOLD, 0.98, 97)


def choose_thresholds(
    best: Float[np.ndarray, "F 17"], there: Int8[np.ndarray, "F 17"]
) -> Float[np.ndarray, " 17"]:
    """The least score from which each class name is believed; never below neutral.

    A class that some frames lack: the lowest threshold that refuses ``REFUSED`` of them. One that
    no frame lacks: where the share that is found and the share that is refused of all classes
    together are largest in sum (Youden 1950).

    Args:
        best: best score of the frame's occupied voxels for each class name, without caution.
        there: see ``absent.presence``.

    Raises:
        DatasetError: no frame lacks anything.
    """
    everything = best[there == ABSENT]
    if not len(everything):
        raise DatasetError(
            f"none of the {len(best)} frames lacks any of the classes, so that nothing is known "
            "of false answers; calibrate on more and other scenes"
        )
    pool = (everything < _LEVELS[:, None]).mean(axis=1)
    thresholds = np.full(best.shape[1], DEFAULT_THRESHOLD)
    for name, (scores, state) in enumerate(zip(best.T, there.T, strict=True)):
        absent, present = scores[state == ABSENT], scores[state == PRESENT]
        if len(absent):
            below = (absent < _LEVELS[:, None]).sum(axis=1) + PRIOR_FRAMES * pool
            enough = below >= REFUSED * (len(absent) + PRIOR_FRAMES)
            thresholds[name] = _LEVELS[enough.argmax()] if enough.any() else _LEVELS[-1]
        elif len(present):
            found = (present >= _LEVELS[:, None]).mean(axis=1)
            thresholds[name] = _LEVELS[(found + pool).argmax()]
    return thresholds


def caution_of(thresholds: Float[np.ndarray, " 17"]) -> Float[torch.Tensor, " 17"]:
    """Logits that take scores at the thresholds to ``DEFAULT_THRESHOLD``."""
    given = torch.from_numpy(thresholds).float().logit()
    return given - torch.tensor(DEFAULT_THRESHOLD).logit()


def best_scores(
    nusc: NuScenes, tokens: list[str], pipeline: Pipeline, parts: Path | None, key: str
) -> tuple[Float[np.ndarray, "F 17"], Int8[np.ndarray, "F 17"]]:
    """Best score of each class name in each frame, and whether it is there; shows progress.

    Args:
        nusc: the data set.
        tokens: samples to ask.
        pipeline: whom to ask.
        parts: folder of finished frames to go on from.
        key: says exactly who is asked.

    Raises:
        DatasetError: a frame has no occupancy truth, or a file is missing or damaged.
    """
    judge = Judge(pipeline)

    def ask(token: str) -> Arrays:
        frame = load_frame(nusc, token, pipeline.image_size, pipeline.depth_size)
        if frame.occupancy is None:
            raise DatasetError(
                f"sample {token} has no occupancy truth (gts/SCENE/TOKEN/labels.npz): nobody "
                "knows what is absent there; give a data set with the files of Occ3D"
            )
        field = pipeline.encode(frame.rig)
        best = judge.class_best(field, pipeline.occupancy(field))
        return {"best": best, "there": presence(frame.occupancy)}

    frames = [
        kept(parts, "frames", f"{key}-{token}", functools.partial(ask, token))
        for token in tqdm(tokens, unit="frame", desc="calibrate")
    ]
    return np.stack([f["best"] for f in frames]), np.stack([f["there"] for f in frames])


def table(
    thresholds: Float[np.ndarray, " 17"],
    best: Float[np.ndarray, "F 17"],
    there: Int8[np.ndarray, "F 17"],
) -> str:
    """Threshold of each class, with the shares of frames that are refused and found at it."""
    lines = [f"{'class':22}{'threshold':>10}{'absent':>8}{'refused':>9}{'present':>9}{'found':>7}"]
    for name, threshold, scores, state in zip(
        OCC3D_CLASSES, thresholds, best.T, there.T, strict=True
    ):
        hit = scores >= threshold
        absent, present = hit[state == ABSENT], hit[state == PRESENT]
        refused = f"{1 - absent.mean():9.2f}" if len(absent) else f"{'-':>9}"
        found = f"{present.mean():7.2f}" if len(present) else f"{'-':>7}"
        lines.append(f"{name:22}{threshold:10.2f}{len(absent):8}{refused}{len(present):9}{found}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf calibrate``."""
    parser.add_argument("--dataroot", type=Path, required=True, metavar="DIR")
    parser.add_argument("--version", help="version folder; default: the only one there is")
    parser.add_argument("--split", default="all", help="train, val, ...; default: every scene")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="every K-th keyframe")
    parser.add_argument("--weights", default="tiny", help="shipped name or .safetensors file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="weights to write")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")


def run(args: argparse.Namespace) -> int:
    """Ask every frame, choose thresholds, and write the weights with them.

    An interrupted run goes on after its last frame when started again.

    Raises:
        DatasetError: not a nuScenes folder, no occupancy truth, or nothing is absent anywhere.
        CheckpointError: the weights cannot be read, or their features know no texts.
    """
    checkpoint = load_checkpoint(args.weights)
    semantics = checkpoint.semantics
    if semantics is None or not semantics.has_texts:
        raise CheckpointError(
            f"{args.weights!r} has no features that can be asked with words: there is nothing to "
            "calibrate"
        )
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    frames = choose_frames(nusc, args.split, None, args.every)
    bare = Checkpoint(checkpoint.model, semantics.without_caution())
    pipeline = Pipeline(bare, resolve_device(args.device))
    digest = hashlib.sha256(find_weights(args.weights).read_bytes()).hexdigest()[:12]
    parts = args.out.with_name(f".{args.out.name}.parts")
    tokens = [token for scene in frames.values() for token in scene]
    best, there = best_scores(nusc, tokens, pipeline, parts, digest)
    thresholds = choose_thresholds(best, there)
    print(table(thresholds, best, there))
    cautious = dataclasses.replace(semantics, caution=caution_of(thresholds))
    save_checkpoint(args.out, checkpoint.model, cautious, torch.float16)
    shutil.rmtree(parts, ignore_errors=True)
    print(f"{args.out}: {args.weights} with these thresholds, 0.5 in its own scores")
    return 0
