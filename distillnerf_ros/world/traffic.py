"""What moves: vehicles in lanes, people on pavements and crossings."""

from collections.abc import Callable

import numpy as np

from distillnerf_ros.world.layout import BEGIN_S, END_S, SCENERY_M, Layout
from distillnerf_ros.world.objects import buses, cars, people, trucks
from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.roads import Path, Road, lane_path
from distillnerf_ros.world.things import Schedule, Thing

_MIX: tuple[tuple[float, str], ...] = (
    (0.47, "car"),
    (0.12, "truck"),
    (0.11, "bus"),
    (0.11, "motorcycle"),
    (0.1, "bicycle"),
    (0.09, "semi"),
)


def _vehicle(rng: np.random.Generator, braking: bool) -> list[tuple[Model, float]]:
    """A vehicle of the mix as (model, offset along the path) pairs; a semi is two objects."""
    share = [weight for weight, _ in _MIX]
    kind = _MIX[int(rng.choice(len(_MIX), p=share))][1]
    if kind == "semi":
        front, back = trucks.tractor(rng, braking), trucks.trailer(rng, braking)
        return [(front, 0.0), (back, -(back.size_m[0] / 2 + 0.3))]
    builders: dict[str, Callable[[], Model]] = {
        "car": lambda: cars.car(rng, braking),
        "truck": lambda: trucks.truck(rng, braking),
        "bus": lambda: buses.bus(rng, braking),
        "motorcycle": lambda: people.motorcycle(rng),
        "bicycle": lambda: people.bicycle(rng),
    }
    return [(builders[kind](), 0.0)]


def make_traffic(rng: np.random.Generator, layout: Layout, duration_s: float) -> list[Thing]:
    """All moving things."""
    things = _with_ego(rng, layout)
    things += _main_road(rng, layout, duration_s)
    things += _side_roads(rng, layout, duration_s)
    things += _walkers(rng, layout, duration_s)
    things += _crossing_people(rng, layout, duration_s)
    return things


def _queue(
    rng: np.random.Generator,
    layout: Layout,
    path: Path,
    schedule: Schedule,
    first_m: float,
    last_m: float,
    gap_m: tuple[float | int, float | int],
    braking: bool = False,
) -> list[Thing]:
    """Vehicles one behind another that share one motion, so that they never collide."""
    things, at = [], last_m
    while at > first_m:
        if not _comes_near(layout, path, schedule.shifted(at)):
            at -= 20.0
            continue
        parts = _vehicle(rng, braking)
        front = parts[0][0].size_m[0] / 2
        at -= front
        for model, offset in parts:
            things.append(Thing(model, (0.0, 0.0, 0.0), path, schedule.shifted(at + offset)))
        tail = min(offset - model.size_m[0] / 2 for model, offset in parts)
        at += tail - float(rng.uniform(*gap_m))
    return things


def _comes_near(layout: Layout, path: Path, schedule: Schedule) -> bool:
    """Whether a mover is ever close enough to the ego vehicle to matter."""
    for time_s in np.linspace(schedule.times_s[0], schedule.times_s[-1], 8):
        mover, _ = path.at(schedule.at(float(time_s))[0])
        ego, _ = layout.ego_path.at(layout.ego_schedule.at(float(time_s))[0])
        if np.linalg.norm(mover - ego) < SCENERY_M:
            return True
    return False


def _with_ego(rng: np.random.Generator, layout: Layout) -> list[Thing]:
    """Vehicles ahead of and behind the ego vehicle in its own lane."""
    path, motion = layout.ego_path, layout.ego_schedule
    relative = Schedule(motion.times_s, motion.distance_m)
    ahead, behind = float(rng.uniform(16, 30)), float(rng.uniform(8, 16))
    things = _queue(rng, layout, path, relative, ahead, ahead + float(rng.uniform(0, 45)), (9, 25))
    return things + _queue(rng, layout, path, relative, -behind - 28, -behind, (8, 20))


def _main_road(rng: np.random.Generator, layout: Layout, duration_s: float) -> list[Thing]:
    road, things = layout.roads[0], []
    ego_lane = _ego_lane(layout)
    for lane in range(road.lanes):
        center = road.lane_center_m(lane)
        if lane != ego_lane and layout.turn == "straight":
            path = lane_path(road, BEGIN_S, END_S, -center)
            speed = float(rng.uniform(4, 11))
            motion = Schedule.steady(0.0, speed, duration_s)
            things += _queue(rng, layout, path, motion, 20.0, 330.0, (10, 45))
        path = lane_path(road, END_S, BEGIN_S, center)
        if layout.turn == "left":  # oncoming traffic waits at the junction
            stop = END_S - layout.corners_s[0] - layout.roads[1].half_width_m - 12.0
            motion = Schedule.steady(0.0, 0.0, duration_s)
            things += _queue(rng, layout, path, motion, stop - 70.0, stop, (1.5, 4), braking=True)
        else:
            motion = Schedule.steady(0.0, float(rng.uniform(5, 11)), duration_s)
            things += _queue(rng, layout, path, motion, -60.0, 430.0, (10, 40))
    return things


def _ego_lane(layout: Layout) -> int:
    """Lane of the main road the ego vehicle starts in."""
    road = layout.roads[0]
    start, _ = layout.ego_path.at(10.0)
    s = start[0]
    left = [
        np.linalg.norm(road.point(s, -road.lane_center_m(lane)) - start)
        for lane in range(road.lanes)
    ]
    return int(np.argmin(left))


def _side_roads(rng: np.random.Generator, layout: Layout, duration_s: float) -> list[Thing]:
    """On crossing roads: queues at the stop lines, and vehicles driving away."""
    things = []
    main = layout.roads[0]
    still = Schedule.steady(0.0, 0.0, duration_s)
    for index, road in enumerate(layout.roads[1:], start=1):
        stop = main.half_width_m + 12.0
        for sign in (1, -1):
            entering = lane_path(road, sign * 120.0, sign * 5.0, sign * road.lane_center_m(0))
            driven = index == 1 and layout.turn == ("left" if sign > 0 else "right")
            if rng.random() < 0.7:
                things += _queue(
                    rng,
                    layout,
                    entering,
                    still,
                    120.0 - stop - float(rng.uniform(0, 30)),
                    120.0 - stop,
                    (1.5, 4),
                    braking=True,
                )
            if not driven:
                leaving = lane_path(road, sign * 5.0, sign * 240.0, -sign * road.lane_center_m(0))
                motion = Schedule.steady(0.0, float(rng.uniform(4, 9)), duration_s)
                things += _queue(rng, layout, leaving, motion, stop - 2.0, stop + 60.0, (12, 30))
    return things


def _walkers(rng: np.random.Generator, layout: Layout, duration_s: float) -> list[Thing]:
    """People along the pavements of all roads."""
    things = []
    busy = float(rng.uniform(0.5, 1.6))
    for index, road in enumerate(layout.roads):
        begin, end = (-60.0, 260.0) if index == 0 else (-90.0, 90.0)
        for side in (1, -1):
            for s in np.arange(begin, end, 13.0 / busy):
                if rng.random() < 0.55:
                    things += _stroll(
                        rng, layout, index, road, float(s + rng.uniform(0, 8)), side, duration_s
                    )
    return things


def _stroll(
    rng: np.random.Generator,
    layout: Layout,
    index: int,
    road: Road,
    s: float,
    side: int,
    duration_s: float,
) -> list[Thing]:
    """One person, or a pair side by side, walking along the pavement or standing."""
    speed = 0.0 if rng.random() < 0.3 else float(rng.uniform(0.8, 1.7))
    way = 1 if rng.random() < 0.5 else -1
    things = []
    lateral = side * (road.half_width_m + float(rng.uniform(1.0, max(road.sidewalk_m - 0.4, 1.2))))
    for mate in range(1 if rng.random() < 0.7 else 2):
        path = lane_path(
            road, s, s + way * (speed * duration_s + 4.0), lateral - side * 0.7 * mate
        )
        schedule = Schedule.steady(0.0, speed, duration_s)
        clear = layout.clear_of_roads(path.xy, 0.4, own=index)
        if not clear or not _comes_near(layout, path, schedule):
            continue
        walker = people.pedestrian(rng, walking=speed > 0)
        things.append(Thing(walker, (0.0, 0.0, 0.0), path, schedule, on_road=False))
    return things


def _crossing_people(rng: np.random.Generator, layout: Layout, duration_s: float) -> list[Thing]:
    """People on zebra crossings while the ego vehicle is not near."""
    things = []
    for index, middle in layout.ground.crossings:
        road = layout.roads[index]
        reach = road.half_width_m + 2.5
        for _ in range(int(rng.integers(0, 4))):
            s, sign = middle + float(rng.uniform(-1.2, 1.2)), 1 if rng.random() < 0.5 else -1
            path = Path.through(road.point(np.full(2, s), np.array([-sign * reach, sign * reach])))
            speed = float(rng.uniform(0.9, 1.6))
            start = float(rng.uniform(-6, duration_s - 4)) * -speed
            times = np.array([0.0, duration_s])
            schedule = Schedule(times, np.array([start, start + speed * duration_s]))
            schedule = _clipped(schedule, 2 * reach)
            near = _comes_near(layout, path, schedule)
            if near and not _meets_ego(layout, path, schedule):
                walker = people.pedestrian(rng)
                things.append(Thing(walker, (0.0, 0.0, 0.0), path, schedule, on_road=False))
    return things


def _clipped(schedule: Schedule, end_m: float) -> Schedule:
    """Wait at the start of the path, stop at its end."""
    times = np.linspace(schedule.times_s[0], schedule.times_s[-1], 100)
    distance = np.interp(times, schedule.times_s, schedule.distance_m)
    return Schedule(times, np.clip(distance, 0.05, end_m - 0.05))


def _meets_ego(layout: Layout, path: Path, schedule: Schedule) -> bool:
    """Whether the walker comes within 5 m of the ego vehicle."""
    for time_s in np.arange(schedule.times_s[0], schedule.times_s[-1], 0.5):
        walker, _ = path.at(schedule.at(time_s)[0])
        ego, heading = layout.ego_path.at(layout.ego_schedule.at(time_s)[0])
        ahead = np.array([np.cos(heading), np.sin(heading)])
        if np.linalg.norm(walker - ego - 2.0 * ahead) < 5.0:
            return True
    return False
