"""Where roads, ground and the ego vehicle's path go."""

import dataclasses
import functools

import numpy as np

from distillnerf_ros.world.ground import Ground, bake
from distillnerf_ros.world.roads import Path, Road, lane_path, turn_path
from distillnerf_ros.world.things import Schedule

SCENERY_M = 95.0
"""Streets are furnished this far around the drive."""

BEGIN_S, END_S = -140.0, 330.0
"""Stretch of the main road that is built up."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The plan of a scene.

    Attributes:
        roads: road 0 is the main road; the others cross it at their s = 0.
        corners_s: s on the main road of each crossing road.
        ground: baked ground.
        ego_path: path of the ego vehicle's base_link.
        ego_schedule: its motion.
        turn: "straight", "left" or "right".
    """

    roads: tuple[Road, ...]
    corners_s: tuple[float, ...]
    ground: Ground
    ego_path: Path
    ego_schedule: Schedule
    turn: str

    @functools.cached_property
    def _drive(self) -> np.ndarray:
        """Places (D, 2) about every 15 m along the drive."""
        first, last = self.ego_schedule.distance_m[[0, -1]]
        along = np.linspace(first, last, max(int((last - first) / 15.0), 2))
        return np.array([self.ego_path.at(float(distance))[0] for distance in along])

    def near_drive(self, xy: np.ndarray, reach_m: float = SCENERY_M) -> bool:
        """Whether a point (2,) comes within reach of the ego vehicle during the drive."""
        return bool(np.linalg.norm(self._drive - xy, axis=1).min() < reach_m)

    def clear_of_roads(self, xy: np.ndarray, margin_m: float, own: int = -1) -> bool:
        """Whether points (..., 2) lie farther than the margin from every other carriageway."""
        for index, road in enumerate(self.roads):
            if index != own and road_gap(road, xy).min() < margin_m:
                return False
        return True


def road_gap(road: Road, xy: np.ndarray) -> np.ndarray:
    """Distance (...) from points (..., 2) to the road's kerb, negative on the road."""
    cos, sin = np.cos(road.heading), np.sin(road.heading)
    x, y = xy[..., 0] - road.origin[0], xy[..., 1] - road.origin[1]
    s, across = x * cos + y * sin, y * cos - x * sin
    norm = np.sqrt(1 + road.bend_slope(s) ** 2)
    return np.abs(across - road.bend(s)) / norm - road.half_width_m


def make_layout(rng: np.random.Generator, duration_s: float) -> Layout:
    """Draw roads, ground and the ego vehicle's drive."""
    roads, corners = _roads(rng)
    crossings = _crossings(rng, roads, corners)
    ground = bake(roads, crossings, rng)
    turn = str(rng.choice(["straight", "left", "right"], p=[0.56, 0.22, 0.22]))
    path, slow_at = _ego_path(rng, roads, corners, turn)
    schedule = _ego_schedule(rng, duration_s, slow_at, turn)
    return Layout(roads, corners, ground, path, schedule, turn)


def _roads(rng: np.random.Generator) -> tuple[tuple[Road, ...], tuple[float, ...]]:
    lanes = int(rng.choice([1, 2, 3], p=[0.45, 0.42, 0.13]))
    median = float(rng.uniform(1.5, 3.0)) if rng.random() < 0.5 else 0.0
    main = Road(
        (0.0, 0.0),
        0.0,
        float(rng.uniform(-9, 9)),
        float(rng.uniform(260, 520)),
        lanes,
        bool(rng.random() < 0.6),
        median,
        float(rng.uniform(2.2, 5.0)),
    )
    corners = [float(rng.uniform(30, 80))]
    if rng.random() < 0.7:
        corners.append(corners[0] + float(rng.uniform(75, 130)))
    if rng.random() < 0.4:
        corners.append(float(rng.uniform(-90, -40)))
    roads = [main]
    for corner in corners:
        origin = main.point(corner, 0.0)
        angle = main.direction(corner) + np.pi / 2 + float(rng.uniform(-0.18, 0.18))
        roads.append(
            Road(
                (float(origin[0]), float(origin[1])),
                float(angle),
                float(rng.uniform(-5, 5)),
                float(rng.uniform(260, 500)),
                int(rng.choice([1, 2], p=[0.75, 0.25])),
                bool(rng.random() < 0.5),
                0.0 if rng.random() < 0.7 else 1.8,
                float(rng.uniform(2.0, 4.0)),
            )
        )
    return tuple(roads), tuple(corners)


def _crossings(
    rng: np.random.Generator, roads: tuple[Road, ...], corners: tuple[float, ...]
) -> tuple[tuple[int, float], ...]:
    """Zebra crossings around the junctions, and some between them."""
    crossings = []
    for index, corner in enumerate(corners, start=1):
        for sign in (1, -1):
            if rng.random() < 0.85:
                crossings.append((0, corner + sign * (roads[index].half_width_m + 8.0)))
            if rng.random() < 0.85:
                crossings.append((index, sign * (roads[0].half_width_m + 8.0)))
    if rng.random() < 0.5:
        crossings.append((0, float(rng.uniform(8, 25))))
    return tuple(crossings)


def _ego_path(
    rng: np.random.Generator, roads: tuple[Road, ...], corners: tuple[float, ...], turn: str
) -> tuple[Path, float]:
    """The path, and how far along it the vehicle must have slowed down (-1: never)."""
    main, side = roads[0], roads[1]
    if turn == "straight":
        lane = int(rng.integers(main.lanes))
        return lane_path(main, -30.0, END_S, -main.lane_center_m(lane)), -1.0
    lane = 0 if turn == "left" else main.lanes - 1
    before = lane_path(main, -30.0, corners[0] + 40, -main.lane_center_m(lane))
    if turn == "left":
        after = lane_path(side, -40.0, 250.0, -side.lane_center_m(0))
    else:
        after = lane_path(side, 40.0, -250.0, side.lane_center_m(side.lanes - 1))
    cut = 10.0 if turn == "left" else 8.5
    path = turn_path(before, after, cut)
    return path, 30.0 + corners[0] - main.half_width_m - 8.0


def _ego_schedule(
    rng: np.random.Generator, duration_s: float, slow_at_m: float, turn: str
) -> Schedule:
    """Integrate a driver: cruises, slows for turns, sometimes stops and goes."""
    cruise = float(rng.uniform(4.5, 11.5))
    stop_at = float(rng.uniform(45, 90)) if rng.random() < 0.25 else np.inf
    wait_s, step_s = float(rng.uniform(2, 6)), 0.05
    speed = cruise if rng.random() < 0.7 else 0.0
    times = np.arange(0, duration_s + 1.0, step_s)
    distance, travelled = np.zeros_like(times), 30.0
    for index in range(len(times)):
        distance[index] = travelled
        wish = cruise
        if slow_at_m > 0 and travelled < slow_at_m + 25.0:
            ahead = max(slow_at_m - travelled, 0.0)
            wish = min(wish, float(np.sqrt(4.2**2 + 2 * 1.6 * ahead)))
        if travelled < stop_at and wait_s > 0:
            wish = min(wish, float(np.sqrt(2 * 1.8 * max(stop_at - travelled - 0.3, 0.0))))
            if speed < 0.15 and stop_at - travelled < 2.0:
                wait_s -= step_s
                wish = 0.0
        speed += float(np.clip(wish - speed, -2.8 * step_s, 1.8 * step_s))
        travelled += speed * step_s
    return Schedule(times, distance)
