"""Lifting: depth candidates of all cameras become points with features in the ego frame."""

import dataclasses

from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.lift.coarse_depth import CoarseDepth
from distillnerf_ros.lift.fine_depth import FineDepth


@dataclasses.dataclass(frozen=True)
class LiftedPoints:
    """P = N * h * w * K points: K for each pixel, one after the other.

    Attributes:
        points_m: (P, 3) ego metres.
        features: (N * h * w, C) of the pixels; a point carries its pixel's, scaled by its
            probability (paper eq. 1).
        probability: (P,) that a surface lies there.
        keep: (P,) False for sky.
    """

    points_m: Float[Tensor, "P 3"]
    features: Float[Tensor, "pixels C"]
    probability: Float[Tensor, " P"]
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
    keep = (coarse.opacity >= min_opacity)[..., None].expand(count, rows, cols, candidates)
    features = fine.features.flatten(0, 2)
    return LiftedPoints(points, features, fine.probability.reshape(-1), keep.reshape(-1))
