"""The ground: a height field with kerbs, its zones, and rays against it.

Smooth height and the distances that bound the zones are baked into one raster per scene, so that
the caster, the picture and the occupancy truth all read the same ground.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world.roads import Road

RASTER_M = 0.8
RASTER_CELLS = 640
RASTER_ORIGIN_M = (-136.0, -256.0)
"""The raster covers 512 m x 512 m; beyond it the border is repeated."""

KERB_M = 0.15
MAX_RANGE_M = 220.0

DRIVEABLE = OCC3D_CLASSES.index("driveable surface")
OTHER_FLAT = OCC3D_CLASSES.index("other flat")
SIDEWALK = OCC3D_CLASSES.index("sidewalk")
TERRAIN = OCC3D_CLASSES.index("terrain")

_STEPS_M = (0.0, 1.5, 3.0, 5.0, 8.0, 12.0, 18.0, 26.0, 38.0, 55.0, 80.0, 115.0, 160.0, MAX_RANGE_M)
_MAX_CLIMB = 0.12
"""Rays that rise more than this per horizontal metre never meet the ground."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """The baked ground.

    Attributes:
        raster: (4, rows, cols) float32: smooth height in metres; signed distance to the
            carriageway (negative on it); to other flat zones (negative inside); to green zones.
        roads: the roads, for lane markings.
        crossings: per zebra crossing the index of its road and the s of its middle in metres.
    """

    raster: Float[Tensor, "4 rows cols"]
    roads: tuple[Road, ...]
    crossings: tuple[tuple[int, float], ...]

    def sample(self, xy: Float[Tensor, "*batch 2"], channels: slice) -> Tensor:
        """Bilinear raster values (..., C) at map points."""
        grid = self._normalised(xy).reshape(1, 1, -1, 2)
        values = F.grid_sample(
            self.raster[None, channels], grid, padding_mode="border", align_corners=False
        )
        return values[0, :, 0].T.reshape(*xy.shape[:-1], values.shape[1])

    def _normalised(self, xy: Tensor) -> Tensor:
        origin = xy.new_tensor(RASTER_ORIGIN_M)
        return (xy - origin) * (2 / (RASTER_M * RASTER_CELLS)) - 1

    def smooth_height(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """Height of the carriageway level in metres, without kerbs."""
        return self.sample(xy, slice(0, 1))[..., 0]

    def raised(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """Signed distance to the edge of raised ground: positive behind a kerb or on an island."""
        zones = self.sample(xy, slice(1, 3))
        return torch.maximum(zones[..., 0], -zones[..., 1])

    def height(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """Height of the surface in metres."""
        return self.smooth_height(xy) + KERB_M * (self.raised(xy) > 0)

    def class_at(self, xy: Float[Tensor, "*batch 2"]) -> Int[Tensor, "*batch"]:
        """Occ3D class of the surface."""
        road, flat, green = self.sample(xy, slice(1, 4)).unbind(dim=-1)
        label = torch.where(green < 0, TERRAIN, SIDEWALK)
        label = torch.where(road < 0, DRIVEABLE, label)
        return torch.where(flat < 0, OTHER_FLAT, label)

    def normal(self, xy: Float[Tensor, "R 2"]) -> Float[Tensor, "R 3"]:
        """Upward unit normal of the smooth surface."""
        gradient = self._gradient(xy, self.smooth_height)
        up = torch.cat([-gradient, torch.ones_like(gradient[:, :1])], dim=1)
        return F.normalize(up, dim=1)

    def _gradient(self, xy: Tensor, of: Callable[[Tensor], Tensor]) -> Float[Tensor, "R 2"]:
        step = 0.5
        dx, dy = xy.new_tensor([step, 0]), xy.new_tensor([0, step])
        slopes = [(of(xy + d) - of(xy - d)) / (2 * step) for d in (dx, dy)]
        return torch.stack(slopes, dim=1)

    def intersect(
        self, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]
    ) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
        """Parameter of the first ground hit (infinity = none) and 1 where it is a kerb's face."""
        t = torch.full_like(origins[:, 0], torch.inf)
        kerb = torch.zeros_like(t)
        flat_speed = directions[:, :2].norm(dim=1)
        down = (directions[:, 2] < _MAX_CLIMB * flat_speed).nonzero()[:, 0]
        o, d = origins[down], directions[down]
        low, high, found = self._bracket(o, d, flat_speed[down])
        down, o, d, low, high = down[found], o[found], d[found], low[found], high[found]
        top = self._refine(o, d, low, high, KERB_M)
        onto_road = self.raised((o + top[:, None] * d)[:, :2]) <= 0
        t[down] = top
        road = onto_road.nonzero()[:, 0]
        t[down[road]], kerb[down[road]] = self._below_kerb(o[road], d[road], top[road])
        return t, kerb

    def _above(self, o: Tensor, d: Tensor, t: Tensor, lift_m: float) -> Tensor:
        point = o + t[..., None] * d
        return point[..., 2] - self.smooth_height(point[..., :2]) - lift_m

    def _bracket(self, o: Tensor, d: Tensor, flat_speed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First of the fixed steps below kerb level, and the step before it."""
        steps = o.new_tensor(_STEPS_M)
        speed = torch.maximum(flat_speed, 0.2 * d[:, 2].abs()).clamp(min=1e-6)
        t = steps[None] / speed[:, None]
        below = self._above(o[:, None], d[:, None], t, KERB_M) < 0
        below[:, 0] = False
        first = below.to(torch.uint8).argmax(dim=1)
        found = below.any(dim=1)
        at = first.clamp(min=1)[:, None]
        return t.gather(1, at - 1)[:, 0], t.gather(1, at)[:, 0], found

    def _refine(self, o: Tensor, d: Tensor, low: Tensor, high: Tensor, lift_m: float) -> Tensor:
        """Regula falsi with the Illinois damping of the stale end."""
        f_low = self._above(o, d, low, lift_m)
        f_high = self._above(o, d, high, lift_m)
        for _ in range(5):
            middle = low + (high - low) * (f_low / (f_low - f_high)).clamp(0, 1)
            f = self._above(o, d, middle, lift_m)
            above = f > 0
            f_high = torch.where(above, f_high * 0.5, f)
            f_low = torch.where(above, f, f_low * 0.5)
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return low + (high - low) * (f_low / (f_low - f_high).clamp(min=1e-9)).clamp(0, 1)

    def _below_kerb(self, o: Tensor, d: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
        """From kerb level over the road down to the road, or into a kerb's face on the way."""
        slope = (self._above(o, d, top + 0.05, 0.0) - self._above(o, d, top, 0.0)) / 0.05
        bottom = top + KERB_M / (-slope).clamp(min=KERB_M / 8)
        bottom = bottom + self._above(o, d, bottom, 0.0) / (-slope).clamp(min=KERB_M / 8)
        low, high = top, bottom
        blocked = torch.zeros_like(top, dtype=torch.bool)
        for part in (0.33, 0.67, 1.0):
            t = torch.lerp(top, bottom, part)
            behind = self.raised((o + t[:, None] * d)[:, :2]) > 0
            low = torch.where(blocked | behind, low, t)
            high = torch.where(behind & ~blocked, t, high)
            blocked |= behind
        rows = blocked.nonzero()[:, 0]
        near, far = low[rows], high[rows]
        for _ in range(5):
            middle = (near + far) / 2
            behind = self.raised((o[rows] + middle[:, None] * d[rows])[:, :2]) > 0
            near, far = torch.where(behind, near, middle), torch.where(behind, middle, far)
        bottom[rows] = far
        return bottom, blocked.to(top)


def bake(
    roads: tuple[Road, ...],
    crossings: tuple[tuple[int, float], ...],
    rng: np.random.Generator,
) -> Ground:
    """Rasterise hills, banks and zones around the roads."""
    cells = (torch.arange(RASTER_CELLS) + 0.5) * RASTER_M
    y, x = torch.meshgrid(cells + RASTER_ORIGIN_M[1], cells + RASTER_ORIGIN_M[0], indexing="ij")
    xy = torch.stack([x, y], dim=-1)
    edges, walks, islands = [], [], []
    for road in roads:
        _, left = road.coordinates(xy)
        edges.append(left.abs() - road.half_width_m)
        walks.append(left.abs() - road.half_width_m - road.sidewalk_m)
        islands.append(
            left.abs() - road.median_m / 2 if road.median_m else torch.full_like(x, 99.0)
        )
    carriageway, paved = edges[0], walks[0]
    for edge, walk in zip(edges[1:], walks[1:], strict=True):
        carriageway = _round_union(carriageway, edge, 7.0)
        paved = _round_union(paved, walk, 4.0)
    island = torch.full_like(x, 99.0)
    for index, own in enumerate(islands):
        others = [edge for other, edge in enumerate(edges) if other != index]
        clear = torch.stack(others).amin(dim=0) - 6.0 if others else torch.full_like(x, 99.0)
        clear = torch.minimum(clear, _crossing_gap(roads, crossings, index, xy))
        island = torch.minimum(island, torch.maximum(own, -clear))
    flat, green = _zones(x, y, paved, island, rng)
    height = _hills(x, y, rng) + _bank(x, y, paved, rng)
    raster = torch.stack([height, carriageway, flat, green]).float()
    return Ground(raster, roads, crossings)


def _round_union(a: Tensor, b: Tensor, radius_m: float) -> Tensor:
    """Signed distance to the union of two zones whose inner corners are rounded."""
    corner = torch.sqrt((radius_m - a).clamp(min=0) ** 2 + (radius_m - b).clamp(min=0) ** 2)
    return torch.minimum(a, b).clamp(min=radius_m) - corner


def _crossing_gap(
    roads: tuple[Road, ...], crossings: tuple[tuple[int, float], ...], index: int, xy: Tensor
) -> Tensor:
    """Distance along a road to the edge of its nearest zebra crossing (islands stop there)."""
    s, _ = roads[index].coordinates(xy)
    gap = torch.full_like(s, 99.0)
    for road, middle in crossings:
        if road == index:
            gap = torch.minimum(gap, (s - middle).abs() - 2.2)
    return gap


def _hills(x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
    """Long waves with slopes of a few percent."""
    height = torch.zeros_like(x)
    steep = rng.choice([0.004, 0.012, 0.022])
    for wavelength in (110.0, 170.0, 260.0):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        wave = 2 * np.pi / wavelength
        along = x * float(np.cos(angle)) + y * float(np.sin(angle))
        height = height + float(steep / wave) * torch.sin(wave * along + float(phase))
    return height - height[RASTER_CELLS // 2, RASTER_CELLS // 4]


def _bank(x: Tensor, y: Tensor, paved: Tensor, rng: np.random.Generator) -> Tensor:
    """Banks and hollows beside the pavement."""
    tall = float(rng.choice([0.0, 0.5, 1.4]))
    wave = torch.sin(x / 23.0 + float(rng.uniform(0, 6))) * torch.sin(y / 29.0 + 1.0)
    rise = ((paved - 3.0) / 9.0).clamp(0, 1)
    return tall * (wave + 0.4) * rise * rise * (3 - 2 * rise)


def _zones(
    x: Tensor, y: Tensor, paved: Tensor, island: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Signed distances to other flat ground (islands, squares, rails) and to green ground."""
    a, b, c = (float(value) for value in rng.uniform(0, 6, 3))
    patches = torch.sin(x / 17.0 + a) * torch.sin(y / 21.0 + b) + 0.4 * torch.sin(x / 7.0 + c)
    green_share = float(rng.uniform(-0.5, 0.7))
    green = torch.maximum(-paved, (patches - green_share) * 12.0)
    squares = torch.sin(x / 26.0 + c) * torch.sin(y / 15.0 + a) - 0.35
    square = torch.maximum(0.5 - paved, -squares * 15.0)
    strip = torch.maximum((paved - 2.2).abs() - 1.1, -patches * 15.0)
    flat = torch.minimum(island, torch.minimum(square, strip) if rng.random() < 0.7 else square)
    return flat, torch.maximum(green, -flat)
