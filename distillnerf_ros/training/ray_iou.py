"""RayIoU: do rays through two occupancy grids meet the same class at the same distance?

Liu et al., SparseOcc (ECCV 2024). Unlike the voxel IoU it asks for surfaces alone: what lies
behind them counts nowhere, and a thick wall wins nothing. There is no camera mask.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int, UInt8

from distillnerf_ros.query.occupancy import GRID_ORIGIN_M, GRID_SHAPE, VOXEL_M
from distillnerf_ros.taxonomy import FREE_LABEL

DISTANCES_M = (1.0, 2.0, 4.0)
"""A ray is right if the classes are equal and the distances differ by less than this."""
ORIGIN_LIMIT_M = 39.0
"""Rays start where |x| and |y| are below this."""
MOST_ORIGINS = 8
_AZIMUTHS = 360
_HIGHEST_PITCH_RAD = 0.21
_OUTSIDE = FREE_LABEL + 1
_ALONG = 1e-9
"""A direction's part along an axis below which the ray counts as parallel to its planes."""
_MOST_PARKED = 0.1
"""Share of rays that are done from which they are dropped."""


def pitch_angles_rad() -> Float[np.ndarray, " A"]:
    """The 39 pitches of a ray, up is positive.

    The first ten are -(pi/2 - atan k), k = 1..10: their rays meet a plane one height below the
    lidar at k heights' distance. The rest go on in the last step up to the first over 0.21 rad.
    """
    pitches = [math.atan(k) - math.pi / 2 for k in range(1, 11)]
    step = pitches[-1] - pitches[-2]
    while pitches[-1] < _HIGHEST_PITCH_RAD:
        pitches.append(pitches[-1] + step)
    return np.array(pitches)


def ray_directions() -> Float[np.ndarray, "R 3"]:
    """Unit vectors in the ego frame: 360 azimuths of each pitch."""
    pitch = pitch_angles_rad()[:, None]
    azimuth = np.deg2rad(np.arange(_AZIMUTHS))
    flat = np.cos(pitch)
    x, y, z = flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(pitch) + 0 * azimuth
    return np.stack([x, y, z], axis=-1).reshape(-1, 3)


def choose_origins(origins_m: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "O 3"]:
    """Where rays start: at most 8 origins near enough, evenly chosen along the trajectory.

    Args:
        origins_m: the lidar at all keyframes of the scene in time order, in this frame's ego
            frame.
    """
    near = origins_m[(np.abs(origins_m[:, :2]) < ORIGIN_LIMIT_M).all(axis=1)]
    if len(near) <= MOST_ORIGINS:
        return near
    return near[np.round(np.linspace(0, len(near) - 1, MOST_ORIGINS)).astype(int)]


def first_hits(
    labels: UInt8[np.ndarray, "X Y Z"],
    origins_m: Float[np.ndarray, "R 3"],
    directions: Float[np.ndarray, "R 3"],
) -> tuple[UInt8[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """Class of the first voxel on each ray that is not free, and where the ray enters it.

    All rays walk from voxel to voxel together (Amanatides and Woo, 1987).

    Args:
        labels: class of each voxel of the Occ3D grid, 17 = free.
        origins_m: (R, 3) ego metres, inside the grid or not.
        directions: (R, 3) unit vectors.

    Returns:
        (R,) class and distance in metres; class 17 and infinity where nothing is hit.
    """
    found = np.full(len(origins_m), FREE_LABEL, np.uint8)
    distance = np.full(len(origins_m), np.inf)
    walk = _Walk.start(origins_m, directions)
    cells = np.pad(labels, 1, constant_values=_OUTSIDE).reshape(-1)
    cells = np.append(cells, np.uint8(FREE_LABEL))  # where rays that are done stay
    done = 0
    while len(walk.ray) > done:
        label = cells[walk.cell]
        stop = np.flatnonzero(label != FREE_LABEL)
        hit = stop[label[stop] < FREE_LABEL]
        found[walk.ray[hit]] = label[hit]
        distance[walk.ray[hit]] = walk.at_m[hit]
        walk.park(stop, len(cells) - 1)
        done += len(stop)
        if done > _MOST_PARKED * len(walk.ray):
            walk, done = walk.select(walk.cell != len(cells) - 1), 0
        walk.step()
    return found, distance


@dataclasses.dataclass
class _Walk:
    """Rays on their way: where they are, and when they cross the next plane of each axis.

    Attributes:
        ray: (W,) which ray.
        cell: (W,) flat index into the grid with a border of one voxel.
        at_m: (W,) distance at which the cell was entered.
        next_m: three of (W,): distance at which the cell is left through each axis.
        each_m: three of (W,): distance from plane to plane.
        stride: three of (W,): from cell to cell.
    """

    ray: Int[np.ndarray, " W"]
    cell: Int[np.ndarray, " W"]
    at_m: Float[np.ndarray, " W"]
    next_m: list[Float[np.ndarray, " W"]]
    each_m: list[Float[np.ndarray, " W"]]
    stride: list[Int[np.ndarray, " W"]]

    @classmethod
    def start(
        cls, origins_m: Float[np.ndarray, "R 3"], directions: Float[np.ndarray, "R 3"]
    ) -> "_Walk":
        """Rays that meet the grid, each at its origin or where it enters the grid."""
        shape, low = np.array(GRID_SHAPE), np.array(GRID_ORIGIN_M)
        # Rays along a plane cross it far away instead of never: infinities would turn into NaN.
        ways = np.where(np.abs(directions) < _ALONG, np.copysign(_ALONG, directions), directions)
        planes = np.stack([low, low + VOXEL_M * shape])[:, None]
        crossings = (planes - origins_m) / ways
        enter = crossings.min(axis=0).max(axis=1).clip(min=0)
        ray = np.flatnonzero(enter < crossings.max(axis=0).min(axis=1))
        origins, ways, enter = origins_m[ray], ways[ray], enter[ray]
        place = (origins + enter[:, None] * ways - low) / VOXEL_M
        index = np.floor(place).astype(np.int32).clip(0, shape - 1)
        leave = (low + VOXEL_M * (index + (ways > 0)) - origins) / ways
        strides = np.array([(shape[1] + 2) * (shape[2] + 2), shape[2] + 2, 1], np.int32)
        by_axis = [leave.T, (VOXEL_M / np.abs(ways)).T, (np.sign(ways) * strides).T]
        return cls(
            ray,
            ((index + 1) @ strides).astype(np.int32),
            enter,
            list(np.ascontiguousarray(by_axis[0])),
            list(np.ascontiguousarray(by_axis[1])),
            list(by_axis[2].astype(np.int32, order="C")),
        )

    def select(self, keep: np.ndarray) -> "_Walk":
        """The walk of some of the rays."""
        return _Walk(
            self.ray[keep],
            self.cell[keep],
            self.at_m[keep],
            [one[keep] for one in self.next_m],
            [one[keep] for one in self.each_m],
            [one[keep] for one in self.stride],
        )

    def park(self, rays: Int[np.ndarray, " D"], cell: int) -> None:
        """Some of the rays go to a cell and stay there."""
        self.cell[rays] = cell
        for stride in self.stride:
            stride[rays] = 0

    def step(self) -> None:
        """Every ray enters its next cell; through an edge it goes at once."""
        self.at_m = np.minimum(np.minimum(self.next_m[0], self.next_m[1]), self.next_m[2])
        for leave, each, stride in zip(self.next_m, self.each_m, self.stride, strict=True):
            crossed = leave == self.at_m
            self.cell += stride * crossed
            leave += each * crossed


class RayCounts:
    """Rays by class, over any number of frames.

    Attributes:
        counts: (5, 17) rays whose truth is of the class; whose prediction is, among rays with a
            truth; and for which both are and the distances differ by less than 1, 2 and 4 m.
    """

    def __init__(self, counts: Int[np.ndarray, "5 17"] | None = None) -> None:
        shape = (2 + len(DISTANCES_M), FREE_LABEL)
        self.counts = np.zeros(shape, np.int64) if counts is None else counts.astype(np.int64)

    def add(self, truth: "RayTruth", predicted: UInt8[np.ndarray, "X Y Z"]) -> None:
        """Count the rays of one frame."""
        label, distance = first_hits(predicted, truth.origins_m, truth.directions)
        self.counts[0] += _by_class(truth.labels)
        self.counts[1] += _by_class(label)
        with np.errstate(invalid="ignore"):
            apart = np.abs(distance - truth.distance_m)
        for row, limit in enumerate(DISTANCES_M, start=2):
            self.counts[row] += _by_class(label[(label == truth.labels) & (apart < limit)])

    def class_iou(self) -> Float[np.ndarray, "3 17"]:
        """TP / (truth + predicted - TP) by distance and class; NaN for classes in neither."""
        either = self.counts[0] + self.counts[1] - self.counts[2:]
        return np.where(either > 0, self.counts[2:] / np.maximum(either, 1), np.nan)

    def by_distance(self) -> Float[np.ndarray, " 3"]:
        """Mean over the classes at each distance; NaN where there is no ray."""
        values = self.class_iou()
        if np.isnan(values).all():
            return np.full(len(DISTANCES_M), np.nan)
        return np.nanmean(values, axis=1)


def _by_class(labels: UInt8[np.ndarray, " R"]) -> Int[np.ndarray, " 17"]:
    return np.bincount(labels, minlength=FREE_LABEL + 1)[:FREE_LABEL]


@dataclasses.dataclass(frozen=True)
class RayTruth:
    """The rays of one frame whose truth hits something: only they are judged.

    Attributes:
        origins_m: (R, 3) ego metres.
        directions: (R, 3) unit vectors.
        labels: (R,) class that is hit.
        distance_m: (R,) from the origin.
    """

    origins_m: Float[np.ndarray, "R 3"]
    directions: Float[np.ndarray, "R 3"]
    labels: UInt8[np.ndarray, " R"]
    distance_m: Float[np.ndarray, " R"]

    @classmethod
    def of(
        cls, semantics: UInt8[np.ndarray, "X Y Z"], origins_m: Float[np.ndarray, "O 3"]
    ) -> "RayTruth":
        """Cast all directions from all origins through the truth."""
        ways = ray_directions()
        origins = np.repeat(origins_m, len(ways), axis=0)
        directions = np.tile(ways, (len(origins_m), 1))
        labels, distance = first_hits(semantics, origins, directions)
        hit = labels != FREE_LABEL
        return cls(origins[hit], directions[hit], labels[hit], distance[hit])
