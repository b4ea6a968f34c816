"""From the scores of scenes to the figures of a data set. NaN: the data have no such truth."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.training.baselines import DepthSums, VoxelCounts
from distillnerf_ros.training.metrics import (
    F_MIOU,
    MIOU_15,
    Confusion,
    DepthErrors,
    RankingCounts,
    depth_errors,
    mean_depth_errors,
)
from distillnerf_ros.training.scoring import STAGES, SceneScores

Scenes = Mapping[str, SceneScores]
"""Scores by scene name."""
Figures = dict[str, Any]
"""Nested figures as they stand in the JSON file."""


def figures(scenes: Scenes, depth_shape: tuple[int, int, int]) -> Figures:
    """Everything of a data set.

    Args:
        scenes: scores by scene name, at least one.
        depth_shape: cameras, rows and columns of the depth images.
    """
    return {
        "depth": _depth(scenes),
        "occupancy": _occupancy(Confusion(_total(scenes, "confusion"))),
        "query": _query(scenes),
        "reconstruction": _reconstruction(scenes),
        "speed": _speed(scenes),
        "baselines": _baselines(scenes, depth_shape),
        "scenes": {name: _scene(scores) for name, scores in scenes.items()},
    }


def _total(scenes: Scenes, name: str) -> np.ndarray:
    return sum(getattr(scores, name).astype(np.int64) for scores in scenes.values())


def _rows(scenes: Scenes, name: str) -> np.ndarray:
    return np.concatenate([getattr(scores, name) for scores in scenes.values()])


def _errors(rows: Float[np.ndarray, "F 7"]) -> Figures:
    """Mean over frames (the six cameras of a frame were judged together)."""
    return dataclasses.asdict(mean_depth_errors([DepthErrors(*row) for row in rows.tolist()]))


def _depth(scenes: Scenes) -> Figures:
    no_hit = _rows(scenes, "no_hit")
    share = float(np.nanmean(no_hit)) if not np.isnan(no_hit).all() else float("nan")
    return {**_errors(_rows(scenes, "depth")), "no_hit": share}


def _by_class(values: Float[np.ndarray, " 17"]) -> Figures:
    return dict(zip(OCC3D_CLASSES, values.tolist(), strict=True))


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _occupancy(confusion: Confusion) -> Figures:
    return {
        "iou": confusion.geometric_iou(),
        "miou_17": confusion.mean_iou(),
        "miou_15": confusion.mean_iou(MIOU_15),
        "f_miou": confusion.mean_iou(F_MIOU),
        "per_class": _by_class(confusion.class_iou()),
    }


def _ranking(scenes: Scenes) -> RankingCounts:
    return RankingCounts(_total(scenes, "ranked"), _total(scenes, "ranked_true"))


def _query(scenes: Scenes) -> Figures:
    """One ranking per class over the visible occupied voxels of all frames together."""
    precision = _ranking(scenes).average_precisions()
    return {"map": _mean(precision), "per_class": _by_class(precision)}


def _reconstruction(scenes: Scenes) -> Figures:
    return {name: _mean(_rows(scenes, name)) for name in ("psnr", "ssim")}


def _speed(scenes: Scenes) -> Figures:
    medians = np.median(_rows(scenes, "seconds"), axis=0)
    stages = {f"{stage}_s": value for stage, value in zip(STAGES, medians.tolist(), strict=True)}
    return {**stages, "frames_hz": float(1 / medians.sum())}


def _baselines(scenes: Scenes, depth_shape: tuple[int, int, int]) -> Figures:
    prevalence = _ranking(scenes).prevalence()
    flat = _occupancy(Confusion(_total(scenes, "flat_confusion")))
    return {
        "per_pixel_mean": {"depth": _mean_depth_figures(scenes, depth_shape)},
        "flat_road": {"depth": _errors(_rows(scenes, "flat_depth")), "occupancy": flat},
        "majority_voxel": {"occupancy": {"iou": _majority_iou(scenes)}},
        "class_prior": {"query": {"map": _mean(prevalence), "per_class": _by_class(prevalence)}},
    }


def _mean_depth_figures(scenes: Scenes, depth_shape: tuple[int, int, int]) -> Figures | None:
    """Errors of the other scenes' mean depth image; None where there is no other scene."""
    if len(scenes) < 2:
        return None
    sums = {
        name: DepthSums.of(scores.truth_cells, scores.truth_depth_m, depth_shape)
        for name, scores in scenes.items()
    }
    errors = []
    for name, scores in scenes.items():
        others = [one for key, one in sums.items() if key != name]
        image = sum(others[1:], start=others[0]).mean_image().reshape(-1)
        for frame in range(len(scores.tokens)):
            own = scores.truth_frame == frame
            predicted = image[scores.truth_cells[own]]
            errors.append(depth_errors(predicted, scores.truth_depth_m[own]))
    return dataclasses.asdict(mean_depth_errors(errors))


def _majority_iou(scenes: Scenes) -> float | None:
    """Geometric IoU of the other scenes' majority; None where there is no other scene."""
    judged = {
        name: VoxelCounts(scores.seen.astype(np.int32), scores.occupied.astype(np.int32))
        for name, scores in scenes.items()
        if scores.seen.any()
    }
    if len(judged) < 2:
        return None
    hit = union = 0
    for name, counts in judged.items():
        others = [one for key, one in judged.items() if key != name]
        pair = counts.overlap(sum(others[1:], start=others[0]).majority())
        hit, union = hit + pair[0], union + pair[1]
    return hit / union


def _scene(scores: SceneScores) -> Figures:
    alone = {"": scores}
    return {
        "frames": len(scores.tokens),
        "depth": _depth(alone),
        "occupancy": {"iou": Confusion(scores.confusion).geometric_iou()},
        "query": {"map": _query(alone)["map"]},
        "reconstruction": _reconstruction(alone),
        "abs_rel_by_frame": scores.depth[:, 0].tolist(),
    }
