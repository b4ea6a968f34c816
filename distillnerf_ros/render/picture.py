"""Pictures of any field: depth, colour and features, composited sample by sample."""

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, Rays, camera_rays
from distillnerf_ros.render.compositing import composite, ray_weights
from distillnerf_ros.render.renderer import Rendered, image_edges, median_depth
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
    """
    views = [
        _view(field, rig.select(torch.tensor([index])), grid_size, edges_m, samples)
        for index in range(len(rig.names))
    ]
    depth, opacity, values = (torch.stack(maps) for maps in zip(*views, strict=True))
    values = values.permute(0, 3, 1, 2)
    hit = opacity >= hit_opacity
    return Rendered(torch.where(hit, depth, torch.nan), opacity, values[:, :3], values[:, 3:])


def _view(
    field: Field,
    camera: CameraRig,
    grid_size: tuple[int, int],
    edges_m: Float[Tensor, " S_plus_1"],
    samples: int,
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "h w"], Float[Tensor, "h w C"]]:
    """Median depth, opacity, and colour followed by features, of one camera."""
    rays = camera_rays(camera.intrinsics, camera.ego_from_camera, camera.image_size, grid_size)
    edges = image_edges(field, rays, edges_m, samples, (1, *grid_size))
    maps = []
    for index in torch.arange(len(rays.origins), device=edges.device).split(_CHUNK_RAYS):
        maps.append(_samples(field, rays.select(index), edges[index]))
    depth, opacity, values = (
        torch.cat(parts).unflatten(0, grid_size) for parts in zip(*maps, strict=True)
    )
    return depth, opacity, values


def _samples(field: Field, rays: Rays, edges_m: Float[Tensor, "R S_plus_1"]) -> tuple[Tensor, ...]:
    """Median depth, opacity, and colour followed by features, of R rays."""
    middles = (edges_m[:, 1:] + edges_m[:, :-1]) / 2
    points = rays.at(middles)
    sample = field(points, rays.directions[:, None].expand_as(points))
    weights = ray_weights(sample.density, edges_m.diff(dim=-1) * rays.lengths[:, None])
    opacity = weights.sum(dim=-1)
    values = composite(weights, torch.cat([sample.rgb, sample.features], dim=-1))
    values[:, :3] += (1 - opacity)[:, None] * field.sky(rays.directions)
    return median_depth(weights, middles), opacity, values
