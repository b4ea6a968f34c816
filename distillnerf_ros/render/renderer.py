"""Rendering of a field along rays: depth, opacity and values of any width."""

import dataclasses
import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import Rays
from distillnerf_ros.config import RenderConfig
from distillnerf_ros.render.compositing import ray_weights
from distillnerf_ros.render.sampling import importance_edges, interval_probability
from distillnerf_ros.voxels.contraction import contracted_depths
from distillnerf_ros.voxels.field import Field

Values = Callable[[Float[Tensor, "R S 3"], Float[Tensor, "R S"]], Float[Tensor, "R C"]]
"""What to composite: a function of points in ego metres and of their weights along each ray.

``VoxelField.composite_latent`` is one; ``lambda points, weights: composite(weights, f(points))``
makes one of any function of points.
"""

OPAQUE_PROPOSAL = 1.0
"""Cap on the optical depth of a first-pass interval. Without it, blocks that a ray only grazes
hid the surface of 4.9 % of the rays in a street of thin random shells; with it, of 0.8 %."""


@dataclasses.dataclass(frozen=True)
class Rendered:
    """What N cameras see of a field.

    Attributes:
        depth_m: (N, h, w) along the optical axis (REP-118), NaN where nothing is hit.
        opacity: (N, h, w) share of the ray that hits something.
        rgb: (N, 3, H, W) in 0..1.
        features: (N, C, h, w) foundation features in the teacher's PCA space.
    """

    depth_m: Float[Tensor, "N h w"]
    opacity: Float[Tensor, "N h w"]
    rgb: Float[Tensor, "N 3 H W"]
    features: Float[Tensor, "N C h w"]


@dataclasses.dataclass(frozen=True)
class RayResult:
    """What R rays see of a field.

    Attributes:
        depth_m: (R,) expected depth, normalised by opacity.
        opacity: (R,) share of the ray that hits something.
        values: (R, C) composited values, or None if none were asked for.
        weights: (R, S) share of each sample.
        sample_depth_m: (R, S) depth of each sample.
    """

    depth_m: Float[Tensor, " R"]
    opacity: Float[Tensor, " R"]
    values: Float[Tensor, "R C"] | None
    weights: Float[Tensor, "R S"]
    sample_depth_m: Float[Tensor, "R S"]

    @functools.cached_property
    def median_m(self) -> Float[Tensor, " R"]:
        """Depth at which half of what the ray sees is reached."""
        return median_depth(self.weights, self.sample_depth_m)


def median_depth(
    weights: Float[Tensor, "R S"], sample_depth_m: Float[Tensor, "R S"]
) -> Float[Tensor, " R"]:
    """Depth at which half of what each ray sees is reached.

    Between two surfaces the expected depth lies where nothing is; on unseen streets the median's
    relative error is 3 % smaller.
    """
    reached = weights.cumsum(dim=-1)
    half = (reached >= reached[:, -1:] / 2).to(torch.uint8).argmax(dim=-1, keepdim=True)
    return sample_depth_m.gather(1, half)[:, 0]


SKY_OPACITY = 0.2
"""Opacity in stage 1 below which a pixel shows sky. A surface that is missed is worse than a sky
that is not: at 0.2 instead of 0.5, on streets kept for such choices, 4.9 % of the sky is taken for
a surface (3.7) and 0.12 % of the surfaces for sky (0.21)."""
SURE_OPACITY, DOUBTFUL_OPACITY = 0.1, 0.9
"""Opacity of a hit where the camera's own picture shows a surface, and where it shows sky. On
unseen streets, against one limit of 0.5 for all, the sky that is taken for a surface falls from
10.7 to 3.6 %, and the surfaces that are missed from 1.7 to 0.9 % (both before ``SKY_OPACITY``)."""


def march_edges(config: RenderConfig, alpha: float, inner_m: float) -> Float[Tensor, " S_plus_1"]:
    """Interval edges of the first pass: even in contracted depth."""
    return contracted_depths(
        config.near_m, inner_m, config.far_m, alpha, config.coarse_samples + 1
    )


def propose(field: Field, rays: Rays, edges_m: Float[Tensor, " S_plus_1"]) -> Float[Tensor, "R S"]:
    """First pass: weights of the even intervals under the field's proposal density.

    Proposals are maxima over more than the ray passes through, so an interval may hide what lies
    behind it only in part: its optical depth is capped.
    """
    with torch.no_grad():
        middles = (edges_m[1:] + edges_m[:-1]) / 2
        density = field.proposal_density(rays.at(middles.expand(len(rays.origins), -1)))
        lengths_m = edges_m.diff() * rays.lengths[:, None]
        return ray_weights(torch.minimum(density, OPAQUE_PROPOSAL / lengths_m), lengths_m)


def render_rays(
    field: Field,
    rays: Rays,
    edges_m: Float[Tensor, "R S_plus_1"],
    values: Values | None = None,
) -> RayResult:
    """Second pass: sample where the first found something, and composite.

    Args:
        field: what to look at.
        rays: R rays.
        edges_m: (R, S + 1) edges of the intervals to sample: of ``ray_edges`` or ``image_edges``.
        values: what to composite besides depth.
    """
    middles = (edges_m[:, 1:] + edges_m[:, :-1]) / 2
    points = rays.at(middles)
    weights = ray_weights(field.density(points), edges_m.diff(dim=-1) * rays.lengths[:, None])
    opacity = weights.sum(dim=-1)
    depth = (weights * middles).sum(dim=-1) / opacity.clamp(min=1e-6)
    composited = None if values is None else values(points, weights)
    return RayResult(depth, opacity, composited, weights, middles)


def ray_edges(
    field: Field, rays: Rays, edges_m: Float[Tensor, " S_plus_1"], samples: int
) -> Float[Tensor, "R samples_plus_1"]:
    """First pass for single rays: where each is to be sampled.

    Args:
        field: what to look at.
        rays: R rays.
        edges_m: the first pass's interval edges.
        samples: per ray in the second pass.
    """
    return importance_edges(edges_m, interval_probability(propose(field, rays, edges_m)), samples)


def image_edges(
    field: Field,
    rays: Rays,
    edges_m: Float[Tensor, " S_plus_1"],
    samples: int,
    shape: tuple[int, int, int],
) -> Float[Tensor, "R samples_plus_1"]:
    """First pass for images: every fourth ray marches, and its neighbours look where it does.

    Neighbouring pixels see nearly the same surfaces; a 3x3 maximum over the marched rays keeps
    the surfaces that lie between them.

    Args:
        field: what to look at.
        rays: N * h * w rays in image order.
        edges_m: the first pass's interval edges.
        samples: per ray in the second pass.
        shape: N, h, w.
    """
    count, rows, cols = shape
    index = torch.arange(len(rays.origins), device=edges_m.device).reshape(shape)
    marched = index[:, ::2, ::2]
    weights = propose(field, rays.select(marched.reshape(-1)), edges_m)
    weights = weights.reshape(*marched.shape, -1).permute(0, 3, 1, 2)
    shared = F.max_pool2d(weights, 3, stride=1, padding=1).permute(0, 2, 3, 1).flatten(0, 2)
    edges = importance_edges(edges_m, interval_probability(shared), samples)
    edges = edges.reshape(count, marched.shape[1], 1, marched.shape[2], 1, -1)
    edges = edges.expand(-1, -1, 2, -1, 2, -1).flatten(3, 4).flatten(1, 2)
    return edges[:, :rows, :cols].flatten(0, 2)
