"""Which lidar returns belong to things that move: where others look through later or earlier.

A return is moving if beams of other sweeps pass through its place well behind it. The places where
moving returns lie are where the moving part of a scene may have density at all.
"""

import dataclasses
import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.log import Sweeps

_AZIMUTH_BIN = 0.5
_ELEVATION_BIN = 1.4
"""Degrees; a lidar of 32 rings has 1.33 between rings, and a third along them."""
_ELEVATION_MIN, _ELEVATION_BINS = -35.0, 40
_OFFSETS_S = (-3.0, -2.3, -1.6, -1.1, -0.7, -0.4, 0.4, 0.7, 1.1, 1.6, 2.3, 3.0)
"""When other sweeps look at the place of a return."""
_MARGIN_M, _MARGIN = 0.5, 0.02
"""How far behind a return others must see: metres, and share of its range."""
_WITNESSES = 2
"""Sweeps that must see through."""
_HAND_ON_M = 0.4
"""Edge of the cells within which motion is handed on between sweeps."""
_SQUARE_M, _GROUND_M = 2.0, 0.3
"""Ground is what lies so near above the lowest return of a square of this edge."""
_FULL_BINS = 4
"""Of the 3x3 directions around a return, how many must hold a return of the other sweep."""


def moving_returns(sweeps: Sweeps) -> Bool[Tensor, " P"]:
    """Returns of things that moved.

    A car that follows the vehicle hides its own later places, so that only earlier sweeps look
    through them, and at the log's begin there are none. So motion is handed on from sweep to
    sweep, forth and back, to near returns that no other sweep confirms as standing.
    """
    starts = torch.searchsorted(sweeps.sweep, torch.arange(len(sweeps.times_s) + 1)).tolist()
    parts = [sweeps.points_m[a:b] for a, b in itertools.pairwise(starts)]
    images = [
        range_image(points - origin)
        for points, origin in zip(parts, sweeps.origins_m, strict=True)
    ]
    high = torch.split(_above_ground(sweeps.points_m), [len(part) for part in parts])
    flags, open_ = [], []
    for number, points in enumerate(parts):
        seen_through = torch.zeros(len(points), dtype=torch.long)
        confirmed = torch.zeros(len(points), dtype=torch.bool)
        for other in _others(sweeps.times_s, number):
            ahead = images[other].lookup(points - sweeps.origins_m[other])
            seen_through += ahead.behind
            confirmed |= ahead.at
        flags.append(seen_through >= _WITNESSES)
        open_.append(~confirmed & high[number])
    for order in (range(len(parts)), range(len(parts) - 1, -1, -1)):
        for last, this in itertools.pairwise(order):
            near = _near(parts[this], parts[last][flags[last]])
            flags[this] = flags[this] | (near & open_[this])
    return torch.cat(flags)


def _above_ground(points_m: Float[Tensor, "P 3"]) -> Bool[Tensor, " P"]:
    """Returns well above the lowest of all returns of the same square."""
    squares = (points_m[:, :2] / _SQUARE_M).floor().long() + (1 << 20)
    _, square = torch.unique((squares[:, 0] << 32) + squares[:, 1], return_inverse=True)
    lowest = torch.full((int(square.max()) + 1,), torch.inf)
    lowest.scatter_reduce_(0, square, points_m[:, 2], "amin")
    return points_m[:, 2] > lowest[square] + _GROUND_M


def _near(points_m: Float[Tensor, "P 3"], others_m: Float[Tensor, "Q 3"]) -> Bool[Tensor, " P"]:
    """Points in the cell of another point, or in one of the 26 around it."""
    offsets = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)
    cells = (others_m / _HAND_ON_M).floor().long()[:, None] + offsets
    return torch.isin(_number((points_m / _HAND_ON_M).floor().long()), _number(cells).unique())


def _number(cells: Int[Tensor, "*shape 3"]) -> Int[Tensor, "*shape"]:
    """One number per cell."""
    shifted = cells + (1 << 19)
    return (shifted[..., 0] << 40) + (shifted[..., 1] << 20) + shifted[..., 2]


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


@dataclasses.dataclass(frozen=True)
class _Ahead:
    """Of points, whether a sweep sees well behind them, or returns from about where they are."""

    behind: Bool[Tensor, " P"]
    at: Bool[Tensor, " P"]


@dataclasses.dataclass(frozen=True)
class RangeImage:
    """What a sweep sees, by direction.

    Attributes:
        range_m: (rows, cols) shortest range of a direction; infinite where nothing returned.
        around_m: (rows, cols) shortest range within 3x3 directions; NaN where too few returned.
    """

    range_m: Float[Tensor, "rows cols"]
    around_m: Float[Tensor, "rows cols"]

    def lookup(self, beams: Float[Tensor, "P 3"]) -> _Ahead:
        """Compare the ends of beams from the sweep's origin."""
        row, column = _bins(beams)
        length = beams.norm(dim=-1)
        margin = _MARGIN * length + _MARGIN_M
        at = torch.zeros_like(row, dtype=torch.bool)
        for up, left in itertools.product((-1, 0, 1), repeat=2):
            rows = (row + up).clamp(0, _ELEVATION_BINS - 1)
            found = self.range_m[rows, (column + left) % self.range_m.shape[1]]
            at |= (found - length).abs() < margin
        return _Ahead(self.around_m[row, column] > length + margin, at)


def range_image(beams: Float[Tensor, "P 3"]) -> RangeImage:
    """Ranges by direction of the beams of a sweep."""
    columns = int(360 / _AZIMUTH_BIN)
    row, column = _bins(beams)
    image = torch.full((_ELEVATION_BINS * columns,), torch.inf)
    image.scatter_reduce_(0, row * columns + column, beams.norm(dim=-1), "amin")
    image = image.view(1, _ELEVATION_BINS, columns)
    ring = torch.cat([image[..., -1:], image, image[..., :1]], dim=-1)
    nearest = -F.max_pool2d(-ring, 3, stride=1, padding=(1, 0))[0]
    full = 9 * F.avg_pool2d(ring.isfinite().float(), 3, stride=1, padding=(1, 0))[0]
    return RangeImage(image[0], torch.where(full > _FULL_BINS - 0.5, nearest, torch.nan))


@torch.no_grad()
def mark_moving(
    field: SceneField, sweeps: Sweeps, moving: Bool[Tensor, " P"]
) -> Bool[Tensor, " P"]:
    """Restrict the moving part to where moving returns were, and let samples go to all returns.

    Args:
        field: of the scene, not yet fitted.
        sweeps: its lidar.
        moving: which returns move.

    Returns:
        (P,) returns that lie where the moving part may have density.
    """
    grid = field.proposals
    share = (sweeps.times_s / field.config.duration_s)[sweeps.sweep]
    unit = field.unit(sweeps.points_m)
    cells = grid.spacetime_cell(unit[moving], share[moving])
    several = _distinct(cells, grid.moving_cells, least=2)
    grid.restrict(_with_neighbours(several, grid.moving_cells))
    surface = torch.full((len(unit),), 5.0)
    grid.raise_to(unit[~moving], share[~moving], surface[~moving], 0 * surface[~moving])
    grid.raise_to(unit[moving], share[moving], 0 * surface[moving], surface[moving])
    grid.summarise()
    return grid.may_move(unit, share)


def _with_neighbours(cells: Int[Tensor, "K 4"], shape: torch.Size) -> Int[Tensor, "N 4"]:
    """The cells of a grid that are among the given ones or touch one of them."""
    offsets = torch.cartesian_prod(*[torch.arange(-1, 2, device=cells.device)] * 4)
    near = (cells[:, None] + offsets).reshape(-1, 4)
    limit = torch.tensor(shape, device=cells.device)
    return _distinct(near[((near >= 0) & (near < limit)).all(dim=1)], shape)


def _distinct(cells: Int[Tensor, "K 4"], shape: torch.Size, least: int = 1) -> Int[Tensor, "N 4"]:
    """Cells of a grid that are given at least so many times, each once."""
    number = torch.zeros_like(cells[:, 0])
    for axis, count in enumerate(shape):
        number = number * count + cells[:, axis]
    each, times = number.unique(return_counts=True)
    return torch.stack(torch.unravel_index(each[times >= least], shape), dim=1)
