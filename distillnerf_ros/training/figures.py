"""From the scores of scenes to the figures of a data set. NaN: the data have no such truth."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from distillnerf_ros.query.text import DEFAULT_THRESHOLD
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.training.absent import (
    ABSENT,
    PRESENT,
    absent_rejection,
    recall,
    strictest_threshold,
)
from distillnerf_ros.training.baselines import DepthSums, VoxelCounts
from distillnerf_ros.training.feature_error import feature_psnr
from distillnerf_ros.training.judge import STAGES
from distillnerf_ros.training.metrics import (
    F_MIOU,
    MIOU_15,
    Confusion,
    DepthErrors,
    RankingCounts,
    depth_errors,
    mean_depth_errors,
)
from distillnerf_ros.training.ray_iou import DISTANCES_M, RayCounts
from distillnerf_ros.training.scoring import SceneScores

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
        "reconstruction": _colour(scenes, ""),
        "novel_view": _colour(scenes, "next_"),
        "depth": _depth(scenes),
        "occupancy": _occupancy(_total(scenes, "confusion"), _total(scenes, "rays")),
        "features": _features(scenes, "feature_squared"),
        "query": _query(scenes),
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
    return {
        **_errors(_rows(scenes, "depth")),
        "no_hit": _mean(_rows(scenes, "no_hit")),
        "every_point": _errors(_rows(scenes, "every_depth")),
        **_dense(scenes),
    }


def _dense(scenes: Scenes) -> Figures:
    """Of every pixel, where somebody says."""
    rows = _rows(scenes, "dense_depth")
    if np.isnan(rows).all():
        return {}
    shares = {name: _mean(_rows(scenes, f"dense_{name}")) for name in ("no_hit", "sky_hit")}
    return {"dense": {**_errors(rows), **shares}}


def _by_class(values: Float[np.ndarray, " 17"]) -> Figures:
    return dict(zip(OCC3D_CLASSES, values.tolist(), strict=True))


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _occupancy(voxels: Int[np.ndarray, "18 18"], ray_counts: Int[np.ndarray, "5 17"]) -> Figures:
    confusion, rays = Confusion(voxels), RayCounts(ray_counts).by_distance()
    return {
        "iou": confusion.geometric_iou(),
        "miou_17": confusion.mean_iou(),
        "miou_15": confusion.mean_iou(MIOU_15),
        "f_miou": confusion.mean_iou(F_MIOU),
        "ray_iou": float(rays.mean()),
        **{f"ray_iou_{limit:.0f}m": float(v) for limit, v in zip(DISTANCES_M, rays, strict=True)},
        "per_class": _by_class(confusion.class_iou()),
    }


def _ranking(scenes: Scenes) -> RankingCounts:
    return RankingCounts(_total(scenes, "ranked"), _total(scenes, "ranked_true"))


def _query(scenes: Scenes) -> Figures:
    """One ranking per class over the visible occupied voxels of all frames together."""
    precision = _ranking(scenes).average_precisions()
    best, there = _rows(scenes, "best"), _rows(scenes, "presence")
    absent = _rows(scenes, "best_absent")
    strictest = strictest_threshold(best, there)
    if np.isnan(precision).all():  # weights without features reject everything
        best, there, strictest = best[:0], there[:0], float("nan")
    return {
        "map": _mean(precision),
        **_detection(best, there, absent, DEFAULT_THRESHOLD),
        "absent_pairs": int((there == ABSENT).sum()),
        "present_pairs": int((there == PRESENT).sum()),
        "at_half_recall": _detection(best, there, absent, strictest),
        "per_class": _by_class(precision),
    }


def _detection(
    best: np.ndarray, there: np.ndarray, absent: np.ndarray, threshold: float
) -> Figures:
    return {
        "absent_rejection": absent_rejection(best, there, threshold),
        "absent_things_rejection": float((absent < threshold).mean()) if absent.size else math.nan,
        "recall": recall(best, there, threshold),
        "threshold": threshold,
    }


def _colour(scenes: Scenes, view: str) -> Figures:
    """Of the views whose columns begin so; LPIPS where it was judged."""
    judged = not np.isnan(_rows(scenes, "lpips")).all()
    kinds = ("psnr", "ssim", *(["lpips"] if judged else []))
    return {kind: _mean(_rows(scenes, f"{view}{kind}")) for kind in kinds}


def _features(scenes: Scenes, squared: str) -> Figures:
    names = (squared, "feature_low", "feature_high")
    return {"psnr": feature_psnr(*(_rows(scenes, name) for name in names))}


def _speed(scenes: Scenes) -> Figures:
    medians = np.median(_rows(scenes, "seconds"), axis=0)
    stages = {f"{stage}_s": value for stage, value in zip(STAGES, medians.tolist(), strict=True)}
    return {**stages, "frames_hz": float(1 / medians.sum())}


def _baselines(scenes: Scenes, depth_shape: tuple[int, int, int]) -> Figures:
    prevalence = _ranking(scenes).prevalence()
    flat = _occupancy(_total(scenes, "flat_confusion"), _total(scenes, "flat_rays"))
    return {
        "per_pixel_mean": {"depth": _mean_depth_figures(scenes, depth_shape)},
        "flat_road": {"depth": _errors(_rows(scenes, "flat_depth")), "occupancy": flat},
        "majority_voxel": {"occupancy": {"iou": _majority_iou(scenes)}},
        "still_picture": {"novel_view": _colour(scenes, "still_")},
        "mean_feature": {"features": _features(scenes, "feature_mean_squared")},
        "class_prior": {"query": {"map": _mean(prevalence), "per_class": _by_class(prevalence)}},
    }


def _mean_depth_figures(scenes: Scenes, depth_shape: tuple[int, int, int]) -> Figures | None:
    """Errors of the other scenes' mean depth image; None where there is no other scene."""
    if len(scenes) < 2:
        return None
    sums = [
        DepthSums.of(scores.truth_cells, scores.truth_depth_m, depth_shape)
        for scores in scenes.values()
    ]
    total = sum(sums[1:], start=sums[0])
    errors = []
    for scores, of_scene in zip(scenes.values(), sums, strict=True):
        image = (total - of_scene).mean_image().reshape(-1)
        for frame in range(len(scores.tokens)):
            own = scores.truth_frame == frame
            predicted = image[scores.truth_cells[own]]
            errors.append(depth_errors(predicted, scores.truth_depth_m[own]))
    return dataclasses.asdict(mean_depth_errors(errors))


def _majority_iou(scenes: Scenes) -> float | None:
    """Geometric IoU of the other scenes' majority; None where there is no other scene."""
    judged = [
        VoxelCounts(scores.seen, scores.occupied)
        for scores in scenes.values()
        if scores.seen.any()
    ]
    if len(judged) < 2:
        return None
    total = sum(judged, start=VoxelCounts.empty())  # whose int32 holds every scene's frames
    hit = union = 0
    for counts in judged:
        pair = counts.overlap((total - counts).majority())
        hit, union = hit + pair[0], union + pair[1]
    return hit / union


def _scene(scores: SceneScores) -> Figures:
    alone = {"": scores}
    occupancy = _occupancy(scores.confusion, scores.rays)
    query = _query(alone)
    return {
        "frames": len(scores.tokens),
        "reconstruction": _colour(alone, ""),
        "novel_view": _colour(alone, "next_"),
        "depth": _errors(scores.depth),
        "occupancy": {name: occupancy[name] for name in ("iou", "miou_17", "miou_15", "ray_iou")},
        "features": _features(alone, "feature_squared"),
        "query": {name: query[name] for name in ("map", "absent_rejection", "recall")},
        "abs_rel_by_frame": scores.depth[:, 0].tolist(),
    }
