"""Sky, sun and shadow."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.world.looks import Look
from distillnerf_ros.world.noise import fractal_noise
from distillnerf_ros.world.primitives import Primitives
from distillnerf_ros.world.solids import Packets, nearest

SHADOW_RANGE_M = 90.0
_SHADOW_CELL_M = 1.5
_SHADOW_RAYS = 64


def sky_color(look: Look, direction: Float[Tensor, "R 3"]) -> Float[Tensor, "R 3"]:
    """Radiance of the sky along unit directions: gradient, clouds and the glow of the sun."""
    up = direction[:, 2].clamp(min=0.0)
    zenith, horizon = direction.new_tensor(look.zenith), direction.new_tensor(look.horizon)
    color = torch.lerp(horizon, zenith, (1 - torch.exp(-up * 4.0))[:, None])
    reach = 1 / (up + 0.12)
    u, v = direction[:, 0] * reach / 9, direction[:, 1] * reach / 9
    cover = fractal_noise(u + look.luck, v) * 0.5 + 0.5
    cloud = ((cover - 1 + look.clouds * 1.25) * 2.2).clamp(0, 1) * (up * 12).clamp(0, 1)
    shade = 0.82 + 0.18 * fractal_noise(u * 2 + look.luck, v * 2 + 0.4)
    white = direction.new_tensor(look.cloud_color) * shade[:, None].clamp(0.5, 1.1)
    color = torch.lerp(color, white, cloud[:, None])
    toward = (direction @ direction.new_tensor(look.sun_direction)).clamp(min=0)
    glow = 0.35 * toward**8 + 4.0 * toward**900
    return color + direction.new_tensor(look.sun) * (glow * (1 - 0.9 * look.clouds))[:, None]


def shadowed(
    primitives: Primitives, look: Look, points: Float[Tensor, "R 3"], group: Tensor
) -> Bool[Tensor, " R"]:
    """Which points a solid hides from the sun.

    Points are sorted into cells of the plane across the sun's direction, so that each packet's
    parallel rays share the few solids above them.
    """
    sun = points.new_tensor(look.sun_direction)
    side = torch.linalg.cross(sun, sun.new_tensor([0.0, 0, 1]), dim=0)
    side = torch.nn.functional.normalize(side, dim=0)
    flat = points @ torch.stack([side, torch.linalg.cross(side, sun, dim=0)], dim=1)
    cell = ((flat - flat.amin(dim=0)) / _SHADOW_CELL_M).long().clamp(max=4095)
    order = torch.argsort((group * 4096 + cell[:, 0]) * 4096 + cell[:, 1], stable=True)
    packets = Packets.from_rays(points[order], sun.expand_as(points)[order], _SHADOW_RAYS)
    first = torch.arange(len(packets.group), device=points.device) * _SHADOW_RAYS
    packets = Packets(packets.origins, packets.directions, group[order][first])
    limit = torch.full_like(packets.origins[:, 0], SHADOW_RANGE_M)
    _, solid = nearest(primitives, packets, limit)
    hidden = torch.zeros_like(group, dtype=torch.bool)
    hidden[order] = (solid >= 0).reshape(-1)[: len(order)]
    return hidden
