"""Figures of a fitted field: colour, held-out colour, depth, and the separation of what moves."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.log import SceneLog
from distillnerf_ros.scene.truth import KeyframeTruth
from distillnerf_ros.scene.views import Shot, take

MOST_PICTURES = 60
"""Images that colour is judged on, evenly over the log; of fitted and of held-out ones each."""
DEPTH_LIMIT_M = 80.0
"""Depth is judged up to here, as that of the model is."""
MOVING_SHARE = 0.5
"""Share of a ray that must hit the moving part."""


@dataclasses.dataclass(frozen=True)
class SceneFigures:
    """Figures; None where nothing is known to judge by.

    Attributes:
        psnr: dB, mean over images that were fitted.
        psnr_heldout: the same over images kept from fitting.
        abs_rel: mean |d - d*| / d* over the pixels known to be nearer than ``DEPTH_LIMIT_M``;
            depths beyond it, and rays that hit nothing, count as it. The mean of each keyframe,
            then over them, as ``training.metrics`` has it (Monodepth, DistillNeRF).
        no_hit: share of those pixels at which nothing is hit, in the same mean.
        sky_hit: share of the pixels known to be sky at which something is, in the same mean.
        dynamic_iou: IoU of what moves, over all pixels of all keyframes together of which that is
            known.
    """

    psnr: float | None
    psnr_heldout: float | None
    abs_rel: float | None
    no_hit: float | None
    sky_hit: float | None
    dynamic_iou: float | None


def shot_of(log: SceneLog, frame: int) -> Shot:
    """A frame of a log, taken again."""
    return Shot(
        log.intrinsics[frame],
        log.scene_from_camera[frame],
        float(log.times_s[frame]),
        int(log.camera[frame]),
        log.image_size,
    )


def judge(field: SceneField, log: SceneLog, truths: Iterable[KeyframeTruth]) -> SceneFigures:
    """All figures of a field."""
    depths, hits, misses = [], 0, 0
    for truth in truths:
        depths_m = []
        for number, frame in enumerate(truth.frames):
            seen = take(field, shot_of(log, frame))
            depths_m.append(seen.depth_m)
            moving = truth.moving[number]
            said = (seen.moving > MOVING_SHARE) & (moving >= 0)
            both, either = overlap(said, moving == 1)
            hits, misses = hits + both, misses + either - both
        depths.append(depth_figures(torch.stack(depths_m), truth.depth_m))
    means = torch.tensor(depths).reshape(-1, 3).nanmean(dim=0).tolist()
    abs_rel, no_hit, sky_hit = (None if math.isnan(mean) else mean for mean in means)
    return SceneFigures(
        _mean_psnr(field, log, ~log.held_out),
        _mean_psnr(field, log, log.held_out),
        abs_rel,
        no_hit,
        sky_hit,
        hits / (hits + misses) if hits + misses else None,
    )


def depth_figures(
    depth_m: Float[Tensor, "*shape"], truth_m: Float[Tensor, "*shape"]
) -> tuple[float, float, float]:
    """``abs_rel``, ``no_hit`` and ``sky_hit`` of one keyframe; NaN where nothing is known."""
    judged, missed = truth_m < DEPTH_LIMIT_M, depth_m.isinf()
    truth = truth_m[judged]
    error = (depth_m[judged].clamp(max=DEPTH_LIMIT_M) - truth).abs() / truth
    taken = ~missed[truth_m.isinf()]
    return float(error.mean()), float(missed[judged].float().mean()), float(taken.float().mean())


def overlap(said: Bool[Tensor, "H W"], truth: Bool[Tensor, "H W"]) -> tuple[int, int]:
    """Pixels of the intersection and of the union."""
    return int((said & truth).sum()), int((said | truth).sum())


def psnr(seen: Float[Tensor, "3 H W"], truth: Float[Tensor, "3 H W"]) -> float:
    """Peak signal-to-noise ratio in dB of colours in 0..1."""
    return float(-10 * torch.log10((seen - truth).square().mean().clamp(min=1e-10)))


def _mean_psnr(field: SceneField, log: SceneLog, chosen: Bool[Tensor, " F"]) -> float | None:
    frames = chosen.nonzero()[:, 0].tolist()
    if not frames:
        return None
    even = np.linspace(0, len(frames) - 1, min(MOST_PICTURES, len(frames))).round().astype(int)
    values = []
    for frame in (frames[index] for index in even):
        truth = log.images[frame] / 255.0
        values.append(psnr(take(field, shot_of(log, frame)).rgb, truth))
    return float(np.mean(values))
