"""Lifting: depth candidates of all cameras become points with features in the ego frame."""

import dataclasses

from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.lift.coarse_depth import CoarseDepth
from distillnerf_ros.lift.fine_depth import FineDepth

DENSITY_LOGIT_SCALE = 10.0
"""Density logit of a candidate that is surely a surface (density e^(7.6-1) per metre)."""


@dataclasses.dataclass(frozen=True)
class LiftedPoints:
    """P = N * h * w * K points.

    Attributes:
        points_m: (P, 3) ego metres.
        features: (P, C) scaled by probability (paper eq. 1).
        logit: (P, 1) of density.
        keep: (P,) False for sky.
    """

    points_m: Float[Tensor, "P 3"]
    features: Float[Tensor, "P C"]
    logit: Float[Tensor, "P 1"]
    keep: Bool[Tensor, " P"]


def lift(rig: CameraRig, coarse: CoarseDepth, fine: FineDepth, min_opacity: float) -> LiftedPoints:
    """Place every candidate on its pixel's ray.

    Args:
        rig: cameras; only those that are there.
        coarse: stage 1, whose opacity tells sky.
        fine: stage 2.
        min_opacity: pixels less opaque than this lift nothing.
    """
    count, rows, cols, candidates = fine.depth_m.shape
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (rows, cols))
    points = rays.at(fine.depth_m.reshape(-1, candidates)).reshape(-1, 3)
    p = fine.probability[..., None]
    features = (p * fine.features[..., None, :]).flatten(0, 3)
    logit = DENSITY_LOGIT_SCALE * (2 * p - 1).flatten(0, 3)
    keep = (coarse.opacity >= min_opacity)[..., None].expand(count, rows, cols, candidates)
    return LiftedPoints(points, features, logit, keep.reshape(-1))
