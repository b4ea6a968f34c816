"""Which lidar returns belong to things that move: where others look through later or earlier.

A return is moving if beams of other sweeps pass through its place well behind it. The places where
moving returns lie are where the moving part of a scene may have density at all.
"""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.log import Sweeps

_AZIMUTH_BIN = 0.5
_ELEVATION_BIN = 1.4
"""Degrees; a lidar of 32 rings has 1.33 between rings, and a third along them."""
_ELEVATION_MIN, _ELEVATION_BINS = -35.0, 40
_OFFSETS_S = (-2.5, -1.5, -0.8, -0.4, 0.4, 0.8, 1.5, 2.5)
"""When other sweeps look at the place of a return."""
_MARGIN_M, _MARGIN = 0.5, 0.02
"""How far behind a return others must see: metres, and share of its range."""
_WITNESSES = 2
"""Sweeps that must see through."""
_FULL_BINS = 4
"""Of the 3x3 directions around a return, how many must hold a return of the other sweep."""


def moving_returns(sweeps: Sweeps) -> Bool[Tensor, " P"]:
    """Returns of things that moved."""
    starts = torch.searchsorted(sweeps.sweep, torch.arange(len(sweeps.times_s) + 1)).tolist()
    parts = [sweeps.points_m[a:b] for a, b in itertools.pairwise(starts)]
    images = [
        range_image(points - origin)
        for points, origin in zip(parts, sweeps.origins_m, strict=True)
    ]
    flags = []
    for number, points in enumerate(parts):
        seen_through = torch.zeros(len(points), dtype=torch.long)
        for other in _others(sweeps.times_s, number):
            beams = points - sweeps.origins_m[other]
            seen_through += _behind(images[other], beams)
        flags.append(seen_through >= _WITNESSES)
    return torch.cat(flags)


def _others(times_s: Float[Tensor, " S"], number: int) -> list[int]:
    """The sweeps nearest to the offsets from a sweep's time."""
    last = float(times_s.max())
    wanted = [float(times_s[number]) + offset for offset in _OFFSETS_S]
    near = {int((times_s - t).abs().argmin()) for t in wanted if 0 <= t <= last}
    return sorted(near - {number})


def _bins(beams: Float[Tensor, "P 3"]) -> tuple[Tensor, Tensor]:
    azimuth = torch.rad2deg(torch.atan2(beams[:, 1], beams[:, 0])) + 180
    flat = beams[:, :2].norm(dim=-1).clamp(min=1e-6)
    elevation = torch.rad2deg(torch.atan2(beams[:, 2], flat)) - _ELEVATION_MIN
    columns = int(360 / _AZIMUTH_BIN)
    column = (azimuth / _AZIMUTH_BIN).long() % columns
    return (elevation / _ELEVATION_BIN).long().clamp(0, _ELEVATION_BINS - 1), column


def range_image(beams: Float[Tensor, "P 3"]) -> Float[Tensor, "rows cols"]:
    """Shortest range within 3x3 directions; NaN where too few of them returned anything."""
    columns = int(360 / _AZIMUTH_BIN)
    row, column = _bins(beams)
    image = torch.full((_ELEVATION_BINS * columns,), torch.inf)
    image.scatter_reduce_(0, row * columns + column, beams.norm(dim=-1), "amin")
    image = image.view(1, _ELEVATION_BINS, columns)
    ring = torch.cat([image[..., -1:], image, image[..., :1]], dim=-1)
    nearest = -F.max_pool2d(-ring, 3, stride=1, padding=(1, 0))[0]
    full = 9 * F.avg_pool2d(ring.isfinite().float(), 3, stride=1, padding=(1, 0))[0]
    return torch.where(full > _FULL_BINS - 0.5, nearest, torch.nan)


def _behind(image: Float[Tensor, "rows cols"], beams: Float[Tensor, "P 3"]) -> Bool[Tensor, " P"]:
    """Whether a sweep sees well behind the ends of beams from its own origin."""
    row, column = _bins(beams)
    return image[row, column] > beams.norm(dim=-1) * (1 + _MARGIN) + _MARGIN_M


@torch.no_grad()
def mark_moving(field: SceneField, sweeps: Sweeps, moving: Bool[Tensor, " P"]) -> None:
    """Restrict the moving part to where moving returns were, and let samples go to all returns.

    Args:
        field: of the scene, not yet fitted.
        sweeps: its lidar.
        moving: which returns move.
    """
    grid = field.proposals
    share = (sweeps.times_s / field.config.duration_s)[sweeps.sweep]
    unit = field.unit(sweeps.points_m)
    count = torch.zeros(grid.moving.numel())
    cell = grid.moving_cell(unit[moving], share[moving])
    count.scatter_add_(0, cell, torch.ones(len(cell)))
    found = (count >= 2).view(grid.moving.shape).float()
    found = F.max_pool3d(found[None], 3, stride=1, padding=1)[0]
    times = F.max_pool1d(found.flatten(1).T[:, None], 3, stride=1, padding=1)[:, 0].T
    grid.candidate.copy_(times.reshape(found.shape) > 0)
    surface = torch.full((len(unit),), 5.0)
    grid.raise_to(unit[~moving], share[~moving], surface[~moving], 0 * surface[~moving])
    grid.raise_to(unit[moving], share[moving], 0 * surface[moving], surface[moving])
