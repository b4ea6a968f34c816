"""Pictures of any field: depth, colour and features, without a decoder."""

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, Rays, camera_rays
from distillnerf_ros.render.compositing import composite, ray_weights
from distillnerf_ros.render.renderer import (
    Rendered,
    image_edges,
    median_depth,
    render_rays,
)
from distillnerf_ros.voxels.field import Field

_CHUNK_RAYS = 8192


@torch.no_grad()
def render_field(
    field: Field,
    rig: CameraRig,
    grid_size: tuple[int, int],
    edges_m: Float[Tensor, " S_plus_1"],
    samples: int,
    hit_opacity: float,
    at_surface: bool = False,
) -> Rendered:
    """What a rig's cameras see of a field; colour and features have as many rows as depth.

    ``DistillNeRF.render`` is for fields of one glance as the model made them: it composites
    latents and decodes images, which an edit cannot follow. Here each sample has its colour.

    Args:
        field: what to look at, in the rig's ego frame.
        rig: the cameras; their images are not looked at.
        grid_size: rows and columns of rays per camera.
        edges_m: of the first pass, see ``march_edges``.
        samples: per ray in the second pass.
        hit_opacity: share of a ray from which on it has hit something.
        at_surface: colour and features are those of the place where half of the ray is reached,
            instead of the mean along it: a field of one glance knows its colours there alone.
    """
    look = _surface if at_surface else _along
    views = []
    for index in range(len(rig.names)):
        camera = rig.select(torch.tensor([index]))
        rays = camera_rays(camera.intrinsics, camera.ego_from_camera, camera.image_size, grid_size)
        edges = image_edges(field, rays, edges_m, samples, (1, *grid_size))
        parts = torch.arange(len(edges), device=edges.device).split(_CHUNK_RAYS)
        seen = [look(field, rays.select(part), edges[part], hit_opacity) for part in parts]
        views.append([torch.cat(maps).unflatten(0, grid_size) for maps in zip(*seen, strict=True)])
    depth, opacity, values = (torch.stack(maps) for maps in zip(*views, strict=True))
    values = values.permute(0, 3, 1, 2)
    hit = opacity >= hit_opacity
    return Rendered(torch.where(hit, depth, torch.nan), opacity, values[:, :3], values[:, 3:])


def _along(
    field: Field, rays: Rays, edges_m: Float[Tensor, "R S_plus_1"], hit_opacity: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Median depth, opacity, and colour followed by features, composited along R rays."""
    middles = (edges_m[:, 1:] + edges_m[:, :-1]) / 2
    points = rays.at(middles)
    sample = field(points, rays.directions[:, None].expand_as(points))
    weights = ray_weights(sample.density, edges_m.diff(dim=-1) * rays.lengths[:, None])
    opacity = weights.sum(dim=-1)
    values = composite(weights, torch.cat([sample.rgb, sample.features], dim=-1))
    values[:, :3] += (1 - opacity)[:, None] * field.sky(rays.directions)
    return median_depth(weights, middles), opacity, values


def _surface(
    field: Field, rays: Rays, edges_m: Float[Tensor, "R S_plus_1"], hit_opacity: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of where each ray ends, or of the sky."""
    seen = render_rays(field, rays, edges_m)
    depth, hit = seen.median_m, (seen.opacity >= hit_opacity)[:, None]
    sample = field(rays.at(depth[:, None])[:, 0], rays.directions)
    rgb = torch.where(hit, sample.rgb, field.sky(rays.directions))
    return depth, seen.opacity, torch.cat([rgb, sample.features * hit], dim=-1)
