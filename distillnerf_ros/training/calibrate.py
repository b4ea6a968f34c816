"""How sure a class must be, to be occupied and to be found, from streets of known occupancy."""

import argparse
import dataclasses
import functools
import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Int8
from tqdm import tqdm

from distillnerf_ros.checkpoint import Checkpoint, find_weights, load_checkpoint, save_checkpoint
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import CheckpointError, DatasetError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.kinds import Usual
from distillnerf_ros.query.occupancy import OCCUPIED_PROBABILITY, voxel_centers_m
from distillnerf_ros.query.text import DEFAULT_THRESHOLD
from distillnerf_ros.taxonomy import FREE_LABEL, OCC3D_CLASSES
from distillnerf_ros.training.absent import ABSENT, PRESENT, presence
from distillnerf_ros.training.cache import Arrays, kept
from distillnerf_ros.training.evaluate import choose_frames
from distillnerf_ros.training.truth import Frame, load_frame

VERB_HELP = "set how sure each class must be before it counts as occupied, and as found"
EXAMPLE = (
    "distillnerf calibrate --weights runs/tiny/weights.safetensors --dataroot runs/streets "
    "--out tiny.safetensors"
)

REFUSED = 0.95
"""Share of the frames without a thing in which nothing may be taken for it."""
VERSION = 2
"""Counts changes of what a frame says: finished frames of an interrupted run are stale then."""
MOMENTS = ("count", "first", "second")
"""What a frame adds to ``Usual.of``."""
PRIOR_FRAMES = 3.0
"""Frames that the average class counts as, beside those in which a class is absent itself."""
_SCORES = np.linspace(DEFAULT_THRESHOLD, 0.98, 97)
PROBABILITIES = np.linspace(0.35, 0.95, 13)
"""From which voxels may count as occupied. Lower ones would cost time: features of all voxels from
the lowest on are worked out."""


def choose_probabilities(
    named: Int[np.ndarray, "17 L"], right: Int[np.ndarray, "17 L"], truth: Int[np.ndarray, " 17"]
) -> Int[np.ndarray, " 17"]:
    """The level from which voxels of each class make its IoU largest.

    Args:
        named: voxels that look like each class, by the level of their probability.
        right: those of them that are of the class.
        truth: voxels of each class.

    Returns:
        (17,) levels; that of one half where nothing is known of a class.
    """
    named, right = (np.cumsum(x[:, ::-1], axis=1)[:, ::-1] for x in (named, right))
    iou = right / np.maximum(named + truth[:, None] - right, 1)
    half = int(np.searchsorted(PROBABILITIES, OCCUPIED_PROBABILITY - 1e-6))
    return np.where(iou.max(axis=1) > 0, iou.argmax(axis=1), half)


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
    pool = (everything < _SCORES[:, None]).mean(axis=1)
    thresholds = np.full(best.shape[1], DEFAULT_THRESHOLD)
    for name, (scores, state) in enumerate(zip(best.T, there.T, strict=True)):
        absent, present = scores[state == ABSENT], scores[state == PRESENT]
        if len(absent):
            below = (absent < _SCORES[:, None]).sum(axis=1) + PRIOR_FRAMES * pool
            enough = below >= REFUSED * (len(absent) + PRIOR_FRAMES)
            thresholds[name] = _SCORES[enough.argmax()] if enough.any() else _SCORES[-1]
        elif len(present):
            found = (present >= _SCORES[:, None]).mean(axis=1)
            thresholds[name] = _SCORES[(found + pool).argmax()]
    return thresholds


def caution_of(thresholds: Float[np.ndarray, " 17"]) -> Float[torch.Tensor, " 17"]:
    """Logits that take scores at the thresholds to ``DEFAULT_THRESHOLD``."""
    given = torch.from_numpy(thresholds).float().logit()
    return given - torch.tensor(DEFAULT_THRESHOLD).logit()


def ask(pipeline: Pipeline, frame: Frame) -> Arrays:
    """What a frame says, by class and level of probability; there are L levels.

    Args:
        pipeline: without caution, to which voxels of the lowest level are occupied.
        frame: with occupancy truth.

    Returns:
        ``best`` (17, L, 17): best score of the voxels of a class and a level for each class name;
        ``named``, ``right`` (17, L) and ``truth`` (17,): see `choose_probabilities`, of what
        cameras see; ``there`` (17,): see ``absent.presence``; ``count`` (17,), ``first`` (17, D)
        and ``second`` (17, D, D): see ``Usual.of``, of voxels that are rather occupied than not.

    Raises:
        DatasetError: the frame has no occupancy truth.
    """
    truth = frame.occupancy
    if truth is None:
        raise DatasetError(
            f"sample {frame.token} has no occupancy truth (gts/SCENE/TOKEN/labels.npz): nobody "
            "knows what is absent there; give a data set with the files of Occ3D"
        )
    field = pipeline.encode(frame.rig)
    occupancy = pipeline.occupancy(field)
    assert occupancy.labels is not None
    points = voxel_centers_m(pipeline.device)[occupancy.occupied]
    features, semantics = pipeline.voxel_features(field, points), pipeline.semantics
    scores = semantics.relevancy(features, semantics.classes).cpu().numpy()
    occupied = occupancy.occupied.cpu()
    labels = occupancy.labels.cpu()[occupied].numpy().astype(int)
    probability = occupancy.probability.cpu()[occupied].numpy()
    level = np.searchsorted(PROBABILITIES, probability, side="right").clip(1) - 1
    shape = (len(OCC3D_CLASSES), len(PROBABILITIES))
    best = np.zeros((*shape, len(OCC3D_CLASSES)))
    np.maximum.at(best, (labels, level), scores)
    seen = truth.mask_camera[occupied.numpy()]
    agree = truth.semantics[occupied.numpy()] == labels
    named, right = np.zeros(shape, int), np.zeros(shape, int)
    np.add.at(named, (labels, level), seen)
    np.add.at(right, (labels, level), seen & agree)
    visible = np.bincount(truth.semantics[truth.mask_camera], minlength=FREE_LABEL + 1)
    there = presence(truth)
    likely = probability >= OCCUPIED_PROBABILITY
    moments = _moments(semantics.pca.shown(features).cpu()[likely], labels[likely])
    truths = dict(truth=visible[:FREE_LABEL], there=there)
    return dict(best=best, named=named, right=right, **truths, **moments)


def _moments(shown: Float[torch.Tensor, "P D"], labels: Int[np.ndarray, " P"]) -> Arrays:
    of_class = [shown[torch.from_numpy(labels == name)] for name in range(len(OCC3D_CLASSES))]
    return {
        "count": np.array([len(x) for x in of_class]),
        "first": np.stack([x.sum(dim=0).numpy() for x in of_class]),
        "second": np.stack([(x.T @ x).numpy() for x in of_class]),
    }


def answers(
    nusc: NuScenes, tokens: list[str], pipeline: Pipeline, parts: Path | None, key: str
) -> Arrays:
    """What all frames say, stacked; shows progress.

    Args:
        nusc: the data set.
        tokens: samples to ask.
        pipeline: whom to ask.
        parts: folder of finished frames to go on from.
        key: says exactly who is asked.

    Raises:
        DatasetError: a frame has no occupancy truth, or a file is missing or damaged.
    """

    def make(token: str) -> Arrays:
        return ask(pipeline, load_frame(nusc, token, pipeline.image_size, pipeline.depth_size))

    frames = [
        kept(parts, "frames", f"{VERSION}-{key}-{token}", functools.partial(make, token))
        for token in tqdm(tokens, unit="frame", desc="calibrate")
    ]
    return {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}


def table(
    enough: Float[np.ndarray, " 17"],
    thresholds: Float[np.ndarray, " 17"],
    best: Float[np.ndarray, "F 17"],
    there: Int8[np.ndarray, "F 17"],
) -> str:
    """What was chosen for each class; shares of frames that are refused and found at it."""
    first = f"{'class':22}{'occupied':>10}{'threshold':>10}"
    lines = [f"{first}{'absent':>8}{'refused':>9}{'present':>9}{'found':>7}"]
    for name, probability, threshold, scores, state in zip(
        OCC3D_CLASSES, enough, thresholds, best.T, there.T, strict=True
    ):
        hit = scores >= threshold
        absent, present = hit[state == ABSENT], hit[state == PRESENT]
        refused = f"{1 - absent.mean():9.2f}" if len(absent) else f"{'-':>9}"
        found = f"{present.mean():7.2f}" if len(present) else f"{'-':>7}"
        chosen = f"{name:22}{probability:10.2f}{threshold:10.2f}"
        lines.append(f"{chosen}{len(absent):8}{refused}{len(present):9}{found}")
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
    least = torch.full_like(semantics.occupied_from, PROBABILITIES[0])
    bare = dataclasses.replace(semantics.without_caution(), occupied_from=least)
    pipeline = Pipeline(Checkpoint(checkpoint.model, bare), resolve_device(args.device))
    digest = hashlib.sha256(find_weights(args.weights).read_bytes()).hexdigest()[:12]
    parts = args.out.with_name(f".{args.out.name}.parts")
    tokens = [token for scene in frames.values() for token in scene]
    said = answers(nusc, tokens, pipeline, parts, digest)
    levels = choose_probabilities(
        *(said[name].sum(axis=0) for name in ("named", "right", "truth"))
    )
    occupied = np.arange(len(PROBABILITIES)) >= levels[:, None]
    best = (said["best"] * occupied[..., None]).max(axis=(1, 2))
    enough, thresholds = PROBABILITIES[levels], choose_thresholds(best, said["there"])
    print(table(enough, thresholds, best, said["there"]))
    cautious = dataclasses.replace(
        semantics,
        caution=caution_of(thresholds),
        occupied_from=torch.from_numpy(enough).float(),
        usual=Usual.of(*(torch.from_numpy(said[name].sum(axis=0)) for name in MOMENTS)),
    )
    save_checkpoint(args.out, checkpoint.model, cautious, torch.float16)
    shutil.rmtree(parts, ignore_errors=True)
    print(f"{args.out}: {args.weights} with these thresholds, 0.5 in its own scores")
    return 0
