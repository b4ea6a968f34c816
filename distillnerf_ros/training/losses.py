"""The losses, each on plain tensors."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.cameras import Rays
from distillnerf_ros.query.occupancy import (
    GRID_SHAPE,
    VOXEL_M,
    occupancy_probability,
    voxel_centers_m,
    voxel_samples_m,
)
from distillnerf_ros.training.surface import VoxelLabels, voxels_of
from distillnerf_ros.voxels.field import Field, VoxelField


def log_depth_loss(
    depth_m: Float[Tensor, "*shape"], target_m: Float[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """Mean |ln d - ln d*| over the pixels whose target is finite: relative error at any range."""
    known = target_m.isfinite()
    error = (depth_m[known].clamp(min=0.1).log() - target_m[known].log()).abs()
    return error.sum() / known.sum().clamp(min=1)


def relative_depth_loss(
    depth_m: Float[Tensor, "*shape"], target_m: Float[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """Mean |d - d*| / d* where both are finite: the metric AbsRel itself."""
    known = depth_m.isfinite() & target_m.isfinite()
    error = (depth_m[known] / target_m[known] - 1).abs()
    return error.sum() / known.sum().clamp(min=1)


SKY_WEIGHT = 0.2
"""Weight of a pixel of sky against one of a surface in stage 1's cross-entropy. A surface that is
called sky is dearer than a sky that is called a surface: with s for this weight, opacity is least
wrong at P / (P + s (1 - P)), where P is the chance that the pixel shows a surface."""


def bin_loss(
    weights: Float[Tensor, "*shape D"],
    target_m: Float[Tensor, "*shape"],
    edges_m: Float[Tensor, " D_plus_1"],
) -> Float[Tensor, ""]:
    """Cross-entropy of the ray's weights against the true depth.

    The true depth is split over the two bins whose middles enclose it, in proportion, so that the
    expectation over the bins can be exact. Sky (infinity) asks for no weight anywhere and counts
    as :data:`SKY_WEIGHT` of a pixel; where nothing is known (NaN) nothing is asked.
    """
    known, sky = target_m.isfinite(), target_m.isinf()
    middles = (edges_m[1:] + edges_m[:-1]) / 2
    target, w = target_m[known].contiguous(), weights[known]
    upper = torch.searchsorted(middles, target).clamp(1, len(middles) - 1)
    share = (target - middles[upper - 1]) / (middles[upper] - middles[upper - 1])
    share = share.clamp(0, 1)[:, None]
    p_low, p_high = w.gather(1, upper[:, None] - 1), w.gather(1, upper[:, None])
    hit = -(1 - share) * (p_low + 1e-5).log() - share * (p_high + 1e-5).log()
    clear = -(1 - weights[sky].sum(-1) + 1e-5).log()
    count = known.sum() + SKY_WEIGHT * sky.sum()
    return (hit.sum() + SKY_WEIGHT * clear.sum()) / count.clamp(min=SKY_WEIGHT)


def candidate_loss(
    probability: Float[Tensor, "*shape K"],
    candidates_m: Float[Tensor, "*shape K"],
    target_m: Float[Tensor, "*shape"],
) -> Float[Tensor, ""]:
    """Binary cross-entropy of each candidate against whether the surface is within half a step.

    Candidates shorter than the surface are free, the ones just behind it are inside the thing
    and count as occupied up to 0.4 m deep (a voxel); farther ones are unknown.
    """
    if candidates_m.shape[-1] > 1:
        step = (candidates_m[..., 1:] - candidates_m[..., :-1]).mean(-1, keepdim=True)
    else:
        step = torch.full_like(candidates_m, 2 * VOXEL_M)
    behind = candidates_m - target_m[..., None]
    occupied = (behind > -step / 2) & (behind < torch.clamp(step / 2, min=0.4))
    known = target_m.isfinite()[..., None] & (occupied | (behind <= -step / 2))
    loss = _cross_entropy(probability, occupied.float())
    return (loss * known).sum() / known.sum().clamp(min=1)


def opacity_loss(
    opacity: Float[Tensor, "*shape"], target_m: Float[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of a ray's opacity against whether it hits anything (paper eq. 8).

    Finite depths are hits, infinite ones sky; where nothing is known (NaN) nothing is asked.
    """
    known = ~target_m.isnan()
    loss = _cross_entropy(opacity, target_m.isfinite().float())
    return (loss * known).sum() / known.sum().clamp(min=1)


def entropy_loss(weights: Float[Tensor, "R S"]) -> Float[Tensor, ""]:
    """Mean of -sum w ln w: one surface per ray."""
    return -(weights * (weights + 1e-6).log()).sum(-1).mean()


def line_of_sight_loss(
    weights: Float[Tensor, "R S"],
    sample_m: Float[Tensor, "R S"],
    target_m: Float[Tensor, " R"],
    width_m: float = 1.0,
) -> Float[Tensor, ""]:
    """Empty before the surface, all of it at the surface (Rematas et al. 2022, eq. 7 and 8).

    Mean over rays of the squared weights farther than ``width_m`` before the surface, plus the
    squared lack of weight within ``width_m`` of it. Squared, as the paper has it, because the few
    samples of a ray lie where its proposal puts them; a scene's fit sums the weights themselves.
    """
    ahead = target_m[:, None] - sample_m
    early = (weights.square() * (ahead > width_m)).sum(dim=-1)
    at_surface = (weights * (ahead.abs() <= width_m)).sum(dim=-1)
    return (early + (1 - at_surface).square()).mean()


UNSEEN_WEIGHT = 0.05
"""Weight of a voxel or coarse cell that nobody saw, as a free one."""
OCCUPIED_WEIGHT = 3.0
"""Weight of an occupied voxel against a free one. Calling everything above probability t occupied
gives the best IoU at t = IoU / 2 (Lipton et al. 2014): with a weight of (1 - t) / t, about 3 for
an IoU of 0.5, that place is at 0.5."""


def voxel_occupancy_loss(
    field: VoxelField, labels: VoxelLabels, count: int, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Direct 3D supervision: cross-entropy of the voxels that occupancy publishes.

    Weighted mean over the voxels in which the field has a block (elsewhere it is empty whatever
    it learns), estimated from ``count`` surface voxels, some free ones and some that
    nobody saw. Those count as free, but weigh little: what stands in hidden space is not guessed,
    and where it is unsure whether something can be seen, seen voxels decide.
    """
    seen = torch.cat([labels.surface, labels.free])
    hidden = torch.ones(math.prod(GRID_SHAPE), dtype=torch.bool, device=seen.device)
    hidden[seen] = False
    groups = (
        (labels.surface, 1.0, count, OCCUPIED_WEIGHT),
        (labels.free, 0.0, 4 * count, 1.0),
        (hidden.nonzero()[:, 0], 0.0, 2 * count, UNSEEN_WEIGHT),
    )
    centers = voxel_centers_m(seen.device).reshape(-1, 3)
    above, below = voxel_samples_m(seen.device)
    total, weight = field.slot_density.sum() * 0, 0.0
    for voxels, target, number, importance in groups:
        if not len(voxels):
            continue
        points = centers[_draw(voxels, number, generator)]
        held = field.grid.holds(points + above) | field.grid.holds(points + below)
        points = points[held]
        density = torch.maximum(field.density(points + above), field.density(points + below))
        probability = occupancy_probability(density)
        loss = _cross_entropy(probability, torch.full_like(probability, target))
        total = total + importance * len(voxels) / number * loss.sum()
        weight += importance * len(voxels) / number * float(len(points))
    return total / max(weight, 1.0)


def block_loss(
    field: VoxelField,
    labels: VoxelLabels,
    surface_m: Float[Tensor, "P 3"],
    clear_m: Float[Tensor, "Q 3"],
) -> Float[Tensor, ""]:
    """Cross-entropy of what the look from above says of coarse cells.

    Cells that nobody saw count as empty, but weigh little: no voxels are spent on them.

    Args:
        field: with ``block_logit``.
        labels: of the voxels near the vehicle.
        surface_m: (P, 3) points on surfaces, at any distance.
        clear_m: (Q, 3) points before surfaces.
    """
    assert field.block_logit is not None
    centers = voxel_centers_m(surface_m.device).reshape(-1, 3)
    offsets = voxel_samples_m(surface_m.device)[:, None]
    known = torch.full_like(field.block_logit, torch.nan)
    locate = field.grid.layout.locate
    # In this order: a cell that holds a surface anywhere is occupied.
    known[locate(clear_m)[0].long()] = 0.0
    known[locate(centers[labels.free] + offsets)[0].reshape(-1).long()] = 0.0
    known[locate(surface_m)[0].long()] = 1.0
    known[locate(centers[labels.surface] + offsets)[0].reshape(-1).long()] = 1.0
    weight = torch.where(known.isfinite(), 1.0, UNSEEN_WEIGHT)
    loss = _cross_entropy(torch.sigmoid(field.block_logit), known.nan_to_num(0.0))
    return (weight * loss).sum() / weight.sum()


def _draw(items: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """As many items as asked for, by chance, with replacement."""
    return items[torch.randint(len(items), (count,), generator=generator).to(items.device)]


def occupancy_ray_loss(
    field: Field,
    rays: Rays,
    depth_m: Float[Tensor, " R"],
    surface: Int[Tensor, " V"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Direct 3D supervision of lidar: free before the hit, occupied at it.

    Per ray one point up to 0.3 m inside the surface, one anywhere before it and one within the
    3 m before it (but 0.4 m clear of it); binary cross-entropy on the voxel probability. Points
    in voxels that hold a surface are not called free: see ``surface.py``.

    Args:
        field: the field that is trained.
        rays: R rays that all hit something.
        depth_m: (R,) ray parameter of the hit.
        surface: (V,) flat voxels known to hold a surface.
        generator: source of chance.
    """
    draw = torch.rand(3, len(depth_m), generator=generator).to(depth_m)
    metres = 1 / rays.lengths
    inside = depth_m + 0.3 * draw[0] * metres
    clear = (depth_m - 0.4 * metres).clamp(min=0.3)
    anywhere = 0.3 + draw[1] * (clear - 0.3)
    near = (clear - 3.0 * draw[2] * metres).clamp(min=0.3)
    points = rays.at(torch.stack([inside, anywhere, near], dim=1))
    known = ~torch.isin(voxels_of(points), surface)
    known[:, 0] = True
    probability = occupancy_probability(field.density(points))
    target = torch.zeros_like(probability)
    target[:, 0] = 1
    return (_cross_entropy(probability, target) * known).sum() / known.sum()


def rgb_loss(rgb: Float[Tensor, "N 3 H W"], target: Float[Tensor, "N 3 H W"]) -> Float[Tensor, ""]:
    """L1 + 0.2 (1 - SSIM) with an 8 px box window."""
    return (rgb - target).abs().mean() + 0.2 * (1 - ssim(rgb, target))


def ssim(a: Float[Tensor, "N 3 H W"], b: Float[Tensor, "N 3 H W"]) -> Float[Tensor, ""]:
    """Mean structural similarity over 8x8 box windows (Wang et al. 2004, data range 1)."""
    mean_a, mean_b = F.avg_pool2d(a, 8, 4), F.avg_pool2d(b, 8, 4)
    var_a = F.avg_pool2d(a * a, 8, 4) - mean_a**2
    var_b = F.avg_pool2d(b * b, 8, 4) - mean_b**2
    cov = F.avg_pool2d(a * b, 8, 4) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return (score / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def feature_loss(
    features: Float[Tensor, "*shape C"], target: Float[Tensor, "*shape C"], scale: float
) -> Float[Tensor, ""]:
    """L1 on PCA coordinates over their overall spread, plus 1 - cosine of the coordinates."""
    l1 = (features - target).abs().mean() / scale
    return l1 + (1 - F.cosine_similarity(features, target, dim=-1)).mean()


def relevancy_loss(
    cosines: Float[Tensor, "P Q"], target: Float[Tensor, "P Q"], scale: float = 20.0
) -> Float[Tensor, ""]:
    """KL divergence of softmax(scale * cosines to texts) from the teacher's.

    Two features may be close and yet on different sides of a question; this counts what texts can
    tell apart.
    """
    wanted = F.log_softmax(scale * target, dim=-1)
    said = F.log_softmax(scale * cosines, dim=-1)
    return (wanted.exp() * (wanted - said)).sum(dim=-1).mean()


def _cross_entropy(
    probability: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Binary cross-entropy that passes NaN on (PyTorch's raises a bare error) and is bounded.

    In float32: in bfloat16 the upper bound would be 1, and the logarithm of what is left infinite.
    """
    p = probability.float().clamp(1e-4, 1 - 1e-4)
    return -target * p.log() - (1 - target) * (1 - p).log()
