"""Roads of a scene and the paths that follow them.

A road is a graph over its own straight axis: at s metres along the axis its centre line is
``bend(s)`` metres to the left. So a point's place on a road is closed form.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

LANE_M = 3.4
PARKING_M = 2.3
CROSSING_M = 3.2


@dataclasses.dataclass(frozen=True)
class Road:
    """One two-way road.

    Attributes:
        origin: (x, y) of s = 0 in the map, metres.
        heading: direction of the axis in radians.
        amplitude_m, wavelength_m, phase: the bend is a sine that is flat at s = 0.
        lanes: lanes per direction.
        parking: parked cars line both sides.
        median_m: width of the raised island between the directions, 0 for none.
        sidewalk_m: width of each sidewalk.
    """

    origin: tuple[float, float]
    heading: float
    amplitude_m: float
    wavelength_m: float
    lanes: int
    parking: bool
    median_m: float
    sidewalk_m: float

    @property
    def half_width_m(self) -> float:
        """Half the carriageway, kerb to centre line."""
        return self.lanes * LANE_M + self.median_m / 2 + (PARKING_M if self.parking else 0.3)

    def lane_center_m(self, lane: int) -> float:
        """Distance of a lane's centre from the centre line; lane 0 is the innermost."""
        return self.median_m / 2 + (lane + 0.5) * LANE_M

    def bend(self, s: np.ndarray) -> np.ndarray:
        """Lateral offset of the centre line in metres; zero with zero slope at s = 0."""
        return np.asarray(self.amplitude_m * (1 - np.cos(2 * np.pi * s / self.wavelength_m)))

    def bend_slope(self, s: np.ndarray) -> np.ndarray:
        """Derivative of the bend."""
        wave = 2 * np.pi / self.wavelength_m
        return np.asarray(self.amplitude_m * wave * np.sin(wave * s))

    def coordinates(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Map points (..., 2) to (s along the axis, metres left of the centre line)."""
        cos, sin = float(np.cos(self.heading)), float(np.sin(self.heading))
        x, y = xy[..., 0] - self.origin[0], xy[..., 1] - self.origin[1]
        s, across = x * cos + y * sin, y * cos - x * sin
        wave = 2 * np.pi / self.wavelength_m
        bend = self.amplitude_m * (1 - torch.cos(wave * s))
        slope = self.amplitude_m * wave * torch.sin(wave * s)
        return s, (across - bend) / torch.sqrt(1 + slope * slope)

    def point(self, s: np.ndarray | float, left_m: np.ndarray | float) -> np.ndarray:
        """Map position (..., 2) at s along the axis and a distance left of the centre line."""
        s = np.asarray(s, dtype=float)
        slope = self.bend_slope(s)
        norm = np.sqrt(1 + slope * slope)
        along = s - left_m * slope / norm
        across = self.bend(s) + left_m / norm
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return np.stack(
            [
                self.origin[0] + along * cos - across * sin,
                self.origin[1] + along * sin + across * cos,
            ],
            axis=-1,
        )

    def direction(self, s: float) -> float:
        """Heading of the centre line at s in radians."""
        return self.heading + float(np.arctan(self.bend_slope(np.asarray(s))))


@dataclasses.dataclass(frozen=True)
class Path:
    """A polyline that something drives or walks along.

    Attributes:
        xy: (V, 2) vertices in metres.
        length_m: (V,) arc length at each vertex.
    """

    xy: np.ndarray
    length_m: np.ndarray

    @classmethod
    def through(cls, xy: np.ndarray) -> "Path":
        """Measure a polyline."""
        steps = np.linalg.norm(np.diff(xy, axis=0), axis=1)
        return cls(xy, np.concatenate([[0.0], np.cumsum(steps)]))

    def at(self, distance_m: float) -> tuple[np.ndarray, float]:
        """Position (2,) and heading in radians, extrapolated straight beyond the ends."""
        index = int(np.clip(np.searchsorted(self.length_m, distance_m) - 1, 0, len(self.xy) - 2))
        start, end = self.xy[index], self.xy[index + 1]
        length = self.length_m[index + 1] - self.length_m[index]
        ratio = (distance_m - self.length_m[index]) / length
        step = end - start
        return start + ratio * step, float(np.arctan2(step[1], step[0]))


def lane_path(road: Road, start_s: float, end_s: float, left_m: float) -> Path:
    """A path beside the centre line, from one s to another (backwards if end < start)."""
    count = max(int(abs(end_s - start_s)) + 1, 2)
    return Path.through(road.point(np.linspace(start_s, end_s, count), left_m))


def turn_path(before: Path, after: Path, cut_m: float) -> Path:
    """Join two straight-ish paths by a quadratic curve that leaves ``cut_m`` before the corner.

    The paths must cross; the corner is the nearest pair of their vertices.
    """
    gap = np.linalg.norm(before.xy[:, None] - after.xy[None], axis=2)
    i, j = np.unravel_index(np.argmin(gap), gap.shape)
    corner = (before.xy[i] + after.xy[j]) / 2
    leave = before.length_m[i] - cut_m
    join = after.length_m[j] + cut_m
    start, _ = before.at(leave)
    end, _ = after.at(join)
    u = np.linspace(0, 1, 40)[:, None]
    curve = (1 - u) ** 2 * start + 2 * u * (1 - u) * corner + u**2 * end
    head, tail = before.xy[before.length_m < leave - 0.2], after.xy[after.length_m > join + 0.2]
    return Path.through(np.concatenate([head, curve, tail]))
