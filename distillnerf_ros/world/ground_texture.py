"""Colours of the ground: asphalt and its markings, pavements, grass, squares."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.world.ground import DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN, Ground
from distillnerf_ros.world.looks import Look
from distillnerf_ros.world.noise import cell_noise, fractal_noise
from distillnerf_ros.world.roads import CROSSING_M, LANE_M, PARKING_M, Road

_DASH_M, _DASH_PERIOD_M = 3.0, 9.0
_LINE_M = 0.15


def band(
    distance: Float[Tensor, " R"], half_m: float | Tensor, footprint: Float[Tensor, " R"]
) -> Float[Tensor, " R"]:
    """Coverage of a pixel by the zone |distance| < half, softened over the pixel's footprint."""
    return ((half_m - distance.abs()) / footprint + 0.5).clamp(0, 1)


def ground_color(
    ground: Ground, look: Look, xy: Float[Tensor, "R 2"], label: Int[Tensor, " R"],
    footprint: Float[Tensor, " R"],
) -> Float[Tensor, "R 3"]:  # fmt: skip
    """Albedo of the ground, linear.

    Args:
        ground: the ground.
        look: supplies the scene's random offset, so that streets differ.
        xy: map points.
        label: their classes.
        footprint: metres a pixel covers there.
    """
    color = xy.new_zeros(len(xy), 3)
    painters = {
        DRIVEABLE: _asphalt, SIDEWALK: _pavement, TERRAIN: _grass, OTHER_FLAT: _square,
    }  # fmt: skip
    for number, painter in painters.items():
        rows = (label == number).nonzero()[:, 0]
        color[rows] = painter(ground, look, xy[rows], footprint[rows])
    return color


def _asphalt(ground: Ground, look: Look, xy: Tensor, footprint: Tensor) -> Tensor:
    coarse = fractal_noise(xy[:, 0] / 37 + look.luck, xy[:, 1] / 37)
    fine = fractal_noise(xy[:, 0] / 1.3, xy[:, 1] / 1.3) * (0.03 / footprint).clamp(max=1)
    tone = 0.075 + 0.05 * (look.luck % 1.0)
    grey = tone * (1 + 0.13 * coarse + 0.14 * fine)
    patch = cell_noise(xy[:, 0] / 5 + look.luck, xy[:, 1] / 3.7) > 0.93
    grey = torch.where(patch, grey * 0.72, grey)
    color = grey[:, None] * xy.new_tensor([1.0, 0.99, 0.97])
    white, yellow = _markings(ground, xy, footprint)
    worn = (0.85 + 0.2 * coarse).clamp(0.3, 1)
    white, yellow = (white * worn)[:, None], (yellow * worn)[:, None]
    color = torch.lerp(color, xy.new_tensor([[0.68, 0.68, 0.66]]), white)
    return torch.lerp(color, xy.new_tensor([[0.6, 0.38, 0.06]]), yellow)


def _markings(ground: Ground, xy: Tensor, footprint: Tensor) -> tuple[Tensor, Tensor]:
    """Coverage by white and by yellow paint."""
    white, yellow = torch.zeros_like(footprint), torch.zeros_like(footprint)
    places = [road.coordinates(xy) for road in ground.roads]
    clear = []
    for index in range(len(places)):
        gaps = [
            places[other][1].abs() - road.half_width_m
            for other, road in enumerate(ground.roads)
            if other != index
        ]
        clear.append(torch.stack(gaps).amin(dim=0) if gaps else torch.full_like(footprint, 99.0))
    for index, road in enumerate(ground.roads):
        s, left = places[index]
        on = ((clear[index] > 5.0) & (left.abs() < road.half_width_m)).to(footprint)
        zebra, stop, near = _crossing_paint(ground, index, s, left, footprint)
        lines, middle = _lane_lines(road, s, left, footprint)
        lines, middle = lines * on * (1 - near), middle * on * (1 - near)
        white = torch.maximum(white, torch.maximum(lines, torch.maximum(zebra, stop)))
        yellow = torch.maximum(yellow, middle)
    return white, yellow


def _lane_lines(road: Road, s: Tensor, left: Tensor, footprint: Tensor) -> tuple[Tensor, Tensor]:
    """White dashes, kerb and parking lines; a yellow (or white) centre line."""
    across = left.abs() - road.median_m / 2
    along = torch.remainder(s, _DASH_PERIOD_M) - _DASH_PERIOD_M / 2
    dash = band(along, _DASH_M / 2, footprint)
    white = torch.zeros_like(s)
    for lane in range(1, road.lanes):
        white = torch.maximum(white, band(across - lane * LANE_M, _LINE_M / 2, footprint) * dash)
    white = torch.maximum(white, band(across - road.lanes * LANE_M, _LINE_M / 2, footprint))
    if road.parking:
        slot = torch.remainder(s, 6.0) - 3.0
        deep = band(across - road.lanes * LANE_M - PARKING_M / 2, PARKING_M / 2, footprint)
        white = torch.maximum(white, band(slot, _LINE_M / 2, footprint) * deep)
    if road.median_m:
        return torch.maximum(white, band(across - 0.25, _LINE_M / 2, footprint)), 0 * white
    middle = band(left.abs() - 0.14, 0.06, footprint)
    return white, middle * (1 - _thin(footprint)) + 0.5 * middle * _thin(footprint)


def _thin(footprint: Tensor) -> Tensor:
    """1 where a pixel is wider than a line."""
    return (footprint / 0.3).clamp(0, 1)


def _crossing_paint(
    ground: Ground, index: int, s: Tensor, left: Tensor, footprint: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Zebra bars, stop lines, and 1 near a crossing where lane lines end."""
    zebra, stop, near = torch.zeros_like(s), torch.zeros_like(s), torch.zeros_like(s)
    road = ground.roads[index]
    inside = (left.abs() < road.half_width_m - 0.2).to(s)
    for number, middle in ground.crossings:
        if number != index:
            continue
        away = s - middle
        bar = torch.remainder(left, 1.0) - 0.5
        zone = band(away, CROSSING_M / 2, footprint) * inside
        fade = (0.5 / footprint).clamp(max=1)
        zebra = torch.maximum(
            zebra, zone * torch.lerp(0 * s + 0.5, band(bar, 0.25, footprint), fade)
        )
        side = torch.where(left > 0, away - 3.0, away + 3.0)
        stop = torch.maximum(stop, band(side, 0.2, footprint) * inside)
        near = torch.maximum(near, (away.abs() < 3.2).to(s))
    return zebra, stop, near


def _pavement(ground: Ground, look: Look, xy: Tensor, footprint: Tensor) -> Tensor:
    coarse = fractal_noise(xy[:, 0] / 23, xy[:, 1] / 23 + look.luck)
    size = 0.6 + 0.9 * ((look.luck * 7) % 1.0)
    u, v = xy[:, 0] / size, xy[:, 1] / size
    slab = cell_noise(u, v) - 0.5
    gap = torch.maximum(
        band(torch.remainder(u, 1.0) - 0.5, 0.48, footprint / size),
        0 * u,
    ) * band(torch.remainder(v, 1.0) - 0.5, 0.48, footprint / size)
    fade = (0.25 * size / footprint).clamp(max=1)
    tone = 0.3 * (1 + 0.16 * coarse + 0.16 * slab * fade) * (1 - 0.4 * (1 - gap) * fade)
    warm = (look.luck * 3) % 1.0
    return tone[:, None] * xy.new_tensor([1.0, 0.97 - 0.08 * warm, 0.93 - 0.2 * warm])


def _grass(ground: Ground, look: Look, xy: Tensor, footprint: Tensor) -> Tensor:
    coarse = fractal_noise(xy[:, 0] / 31 + look.luck, xy[:, 1] / 31)
    fine = fractal_noise(xy[:, 0] / 2.1, xy[:, 1] / 2.1) * (0.12 / footprint).clamp(max=1)
    dry = (0.35 + 0.35 * coarse + ((look.luck * 5) % 1.0 - 0.5)).clamp(0, 1)[:, None]
    green, brown = xy.new_tensor([[0.06, 0.13, 0.025]]), xy.new_tensor([[0.2, 0.15, 0.075]])
    return torch.lerp(green, brown, dry) * (1 + 0.3 * fine + 0.15 * coarse)[:, None].clamp(min=0.2)


def _square(ground: Ground, look: Look, xy: Tensor, footprint: Tensor) -> Tensor:
    """Cobbles and bricks in warm tones, set in herringbone-like rows."""
    row = torch.floor(xy[:, 1] / 0.35)
    u, v = xy[:, 0] / 0.7 + 0.5 * torch.remainder(row, 2.0), xy[:, 1] / 0.35
    stone = cell_noise(u, v) - 0.5
    joint = band(torch.remainder(u, 1.0) - 0.5, 0.46, footprint / 0.7) * band(
        torch.remainder(v, 1.0) - 0.5, 0.44, footprint / 0.35
    )
    fade = (0.2 / footprint).clamp(max=1)
    coarse = fractal_noise(xy[:, 0] / 19, xy[:, 1] / 19)
    tone = (1 + 0.5 * stone * fade + 0.1 * coarse) * (1 - 0.35 * (1 - joint) * fade)
    kind = int(look.luck * 11) % 3
    base = ((0.3, 0.13, 0.09), (0.34, 0.24, 0.15), (0.2, 0.14, 0.17))[kind]
    return tone[:, None] * xy.new_tensor(base)
