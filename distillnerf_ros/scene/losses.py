"""What a scene's field is fitted to."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.scene.field import Parts
from distillnerf_ros.scene.march import Marched


def depth_error(marched: Marched, ranges_m: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Mean |ln d - ln d*|: relative error at any range."""
    depth = marched.mean_depth_m().clamp(min=0.1)
    return (depth.log() - ranges_m.log()).abs().mean()


def line_of_sight(
    marched: Marched, ranges_m: Float[Tensor, " R"], width_m: float
) -> Float[Tensor, ""]:
    """Empty before the return, everything at it (after Rematas et al. 2022, eq. 7 and 8).

    Mean over beams of the weight farther than ``width_m`` before the return, plus the squared lack
    of weight within ``width_m`` of it. The weights are not squared one by one, as the training of
    the model does with its few samples per ray: a thin fog of many samples would cost nothing.
    """
    ahead = ranges_m[:, None] - marched.depth_m
    early = (marched.weights * (ahead > width_m)).sum(dim=-1)
    at_return = (marched.weights * (ahead.abs() <= width_m)).sum(dim=-1)
    return (early + (1 - at_return).square()).mean()


VOXEL_M = 0.2
"""Length over which density is turned into a probability of being hit."""


def returns(
    parts: Parts,
    moving: Bool[Tensor, " R"],
    known: Bool[Tensor, " R"],
    at_return: Bool[Tensor, "R S"],
) -> Float[Tensor, ""]:
    """Binary cross-entropy of points on beams: solid at the return, free before it.

    Solid is the part that the return belongs to, moving or standing; the other one is free. Unlike
    what is composited along rays, this reaches surfaces behind something that should not be there.

    Args:
        parts: of the R * S points.
        moving: (R,) whether the beam met something that moves.
        known: (R,) whether that is known; of other beams only the points before the return count.
        at_return: (R, S) which points lie at the return; the others lie before it.
    """
    solid = at_return & ~moving[:, None], at_return & moving[:, None]
    counted = known[:, None] | ~at_return
    total = parts.static.new_zeros(())
    for density, wanted in zip((parts.static, parts.moving), solid, strict=True):
        depth = density.view_as(at_return) * VOXEL_M
        hit = -torch.log(-torch.expm1(-depth) + 1e-4)
        total = total + (counted * torch.where(wanted, hit, depth.clamp(max=10))).mean()
    return total


def separation(
    marched: Marched, moving: Bool[Tensor, " R"], known: Bool[Tensor, " R"]
) -> Float[Tensor, ""]:
    """Beams that met something that moves shall meet the moving part, others the standing one."""
    standing = marched.opacity - marched.moving
    return (known * torch.where(moving, standing, marched.moving).square()).mean()


def transience(marched: Marched) -> Float[Tensor, ""]:
    """Mean opacity of the moving part: what can stand is left to what stands."""
    return marched.moving.mean()


def sky_loss(opacity: Float[Tensor, " R"], sky: Int[Tensor, " R"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of opacity against what is no sky; 0 for rays of which nobody knows.

    Args:
        opacity: of camera rays.
        sky: of the same; 1 sky, 0 something else, -1 not known.
    """
    p = opacity.clamp(1e-4, 1 - 1e-4)
    return -(torch.where(sky == 1, (1 - p).log(), p.log()) * (sky >= 0)).mean()


def half_opacity(opacity: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Mean of o (1 - o): rays hit something or the sky, and not each by half."""
    return (opacity * (1 - opacity)).mean()


def clearness(opacity: Float[Tensor, " R"]) -> Float[Tensor, ""]:
    """Mean opacity of camera rays: what can be sky is left to the sky."""
    return opacity.mean()


BELOW = 0.035
"""Sine of 2 degrees: so far below the horizon no ray sees the sky, whatever its colour."""


def ground(opacity: Float[Tensor, " R"], directions: Float[Tensor, "R 3"]) -> Float[Tensor, ""]:
    """Cross-entropy of the opacity of rays that point down, each against one; 0 for the others.

    Args:
        opacity: of camera rays.
        directions: of the same, z up, of any length.
    """
    down = F.normalize(directions, dim=-1)[:, 2] < -BELOW
    return -(opacity.clamp(min=1e-3).log() * down).mean()


def feature_error(
    said: Float[Tensor, "R C"],
    wanted: Float[Tensor, "R C"],
    known: Bool[Tensor, " R"],
    opacity: Float[Tensor, " R"],
) -> Float[Tensor, ""]:
    """Mean error of foundation features; 0 where the teacher did not look.

    The sky has no features: a ray counts by the share of it that hits something.
    """
    error = (said - wanted).abs().mean(dim=-1) * opacity.detach()
    return error[known].sum() / known.sum().clamp(min=1)
