"""Looking along rays into a scene's field: samples where it is dense, composited."""

import dataclasses

import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.cameras import Rays
from distillnerf_ros.render.compositing import composite, ray_weights
from distillnerf_ros.render.sampling import importance_edges, interval_probability
from distillnerf_ros.scene.config import SceneConfig
from distillnerf_ros.scene.field import Parts, SceneField
from distillnerf_ros.voxels.contraction import contracted_depths

_EVEN_UP_TO_M = 50.0
_OPAQUE_PROPOSAL = 0.3
"""Cap on the optical depth of a first-pass interval: a ray that grazes the road passes through the
road's cells for many metres before it meets it."""


@dataclasses.dataclass(frozen=True)
class Marched:
    """What R rays with S samples each meet.

    Attributes:
        weights: (R, S) share of each sample.
        depth_m: (R, S) ray parameter of each sample.
        points_m: (R, S, 3) samples.
        parts: of the R * S samples.
        opacity: (R,) share of the ray that hits something.
        moving: (R,) share that hits something that moves.
    """

    weights: Float[Tensor, "R S"]
    depth_m: Float[Tensor, "R S"]
    points_m: Float[Tensor, "R S 3"]
    parts: Parts
    opacity: Float[Tensor, " R"]
    moving: Float[Tensor, " R"]

    def mean_depth_m(self) -> Float[Tensor, " R"]:
        """Expected ray parameter of the hit."""
        return (self.weights * self.depth_m).sum(-1) / self.opacity.clamp(min=1e-6)

    def rows(self, begin: int, end: int) -> "Marched":
        """Some of the rays."""
        samples = self.weights.shape[1]
        rays, flat = slice(begin, end), slice(begin * samples, end * samples)
        parts = self.parts
        return Marched(
            self.weights[rays],
            self.depth_m[rays],
            self.points_m[rays],
            Parts(parts.static[flat], parts.moving[flat], parts.latent[flat], parts.shade[flat]),
            self.opacity[rays],
            self.moving[rays],
        )


@dataclasses.dataclass(frozen=True)
class CameraBundle:
    """R rays of cameras.

    Attributes:
        rays: in the scene frame.
        camera: (R,) index of the camera.
        times_s: (R,) when it fired.
        radius: (R,) squared distance from the image's middle.
    """

    rays: Rays
    camera: Int[Tensor, " R"]
    times_s: Float[Tensor, " R"]
    radius: Float[Tensor, " R"]

    def select(self, rows: slice | Tensor) -> "CameraBundle":
        """Some of the rays."""
        return CameraBundle(
            Rays(self.rays.origins[rows], self.rays.directions[rows]),
            self.camera[rows],
            self.times_s[rows],
            self.radius[rows],
        )

    def to(self, device: torch.device) -> "CameraBundle":
        """Move every tensor to a device."""
        return CameraBundle(
            Rays(self.rays.origins.to(device), self.rays.directions.to(device)),
            self.camera.to(device),
            self.times_s.to(device),
            self.radius.to(device),
        )


def march(
    field: SceneField,
    rays: Rays,
    times_s: Float[Tensor, " R"] | None,
    samples: int,
    generator: torch.Generator | None = None,
) -> Marched:
    """Sample where the field is dense, at each ray's own time.

    Args:
        field: of the scene.
        rays: in the scene frame.
        times_s: of each ray; None = what stands, alone.
        samples: per ray.
        generator: puts each sample anywhere in its interval; None = in the middle.
    """
    edges = _sample_edges(field, rays, times_s, samples, generator)
    if generator is None:
        share = torch.full_like(edges[:, 1:], 0.5)
    else:
        draw = torch.rand(len(edges), samples, generator=generator)
        share = draw.to(edges)
    depth = torch.lerp(edges[:, :-1], edges[:, 1:], share)
    points = rays.at(depth)
    if times_s is not None:
        times_s = times_s[:, None].expand_as(depth).reshape(-1)
    parts = field.parts(points.reshape(-1, 3), times_s)
    density = parts.density.view_as(depth)
    weights = ray_weights(density, edges.diff(dim=-1) * rays.lengths[:, None])
    part = (parts.moving / parts.density).view_as(depth)
    opacity = weights.sum(dim=-1)
    return Marched(weights, depth, points, parts, opacity, (weights * part).sum(dim=-1))


@torch.no_grad()
def _sample_edges(
    field: SceneField,
    rays: Rays,
    times_s: Tensor | None,
    samples: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "R edges"]:
    even = first_edges(field.config).to(rays.origins.device)
    count = len(rays.origins)
    middles = ((even[1:] + even[:-1]) / 2).expand(count, -1)
    if generator is not None:  # thin things between the middles are found sooner or later
        draw = torch.rand(count, 1, generator=generator).to(even)
        middles = torch.lerp(even[:-1], even[1:], draw)
    when = None if times_s is None else times_s[:, None]
    # Far intervals are longer than cells: a wall between two middles would be missed.
    near = int((even.diff() <= 2 * field.config.proposal_m).sum())
    parts = [
        field.near_density(rays.at(part), when, wide)
        for part, wide in ((middles[:, :near], False), (middles[:, near:], True))
    ]
    density = torch.cat(parts, dim=1)
    lengths = even.diff() * rays.lengths[:, None]
    weights = ray_weights(torch.minimum(density, _OPAQUE_PROPOSAL / lengths), lengths)
    return importance_edges(even, interval_probability(weights), samples)


def first_edges(config: SceneConfig) -> Float[Tensor, " edges"]:
    """Interval edges of the first pass: even up to 50 m, then in contracted depth."""
    return contracted_depths(
        config.near_m, _EVEN_UP_TO_M, config.far_m, config.alpha, config.intervals + 1
    )


def colors(field: SceneField, marched: Marched, bundle: CameraBundle) -> Float[Tensor, "R 3"]:
    """What cameras record: the decoded latent, darkened by shadows, over the sky, exposed."""
    opacity = marched.opacity[:, None]
    shape = (*marched.weights.shape, -1)
    latent = composite(marched.weights, marched.parts.latent.view(shape))
    latent = latent / opacity.clamp(min=1e-3)
    shadows = marched.parts.shadow.view_as(marched.weights)
    shadow = (marched.weights * shadows).sum(-1) / marched.opacity.clamp(min=1e-3)
    directions = bundle.rays.directions
    hit = field.color(latent, directions) * (1 - shadow)[:, None]
    seen = opacity * hit + (1 - opacity) * field.sky(directions)
    return seen * field.gain(bundle.camera, bundle.times_s, bundle.radius)


def features(field: SceneField, marched: Marched) -> Float[Tensor, "R C"]:
    """Foundation features of what rays hit."""
    shape = (*marched.weights.shape, -1)
    latent = composite(marched.weights, marched.parts.latent.view(shape))
    return field.features(latent / marched.opacity.clamp(min=1e-3)[:, None])
