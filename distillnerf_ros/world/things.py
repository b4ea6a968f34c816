"""Placed objects, their motion, and their boxes."""

import dataclasses

import numpy as np

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.roads import Path

_CLASS_OF_CATEGORY: dict[str, str] = {
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.bus.rigid": "bus",
    "vehicle.trailer": "trailer",
    "vehicle.construction": "construction vehicle",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.bicycle": "bicycle",
    "vehicle.emergency.police": "others",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.stroller": "others",
    "movable_object.barrier": "barrier",
    "movable_object.trafficcone": "traffic cone",
    "movable_object.debris": "others",
    "movable_object.pushable_pullable": "others",
    "static_object.bicycle_rack": "others",
    "animal": "others",
    "static.manmade": "manmade",
    "static.vegetation": "vegetation",
}


def class_of(category: str) -> int:
    """Occ3D class of a nuScenes category."""
    return OCC3D_CLASSES.index(_CLASS_OF_CATEGORY[category])


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Distance travelled over time, piecewise linear.

    Attributes:
        times_s: (T,) increasing.
        distance_m: (T,) along the path.
    """

    times_s: np.ndarray
    distance_m: np.ndarray

    def at(self, time_s: float) -> tuple[float, float]:
        """Distance in metres and speed in metres per second."""
        step = 0.05
        here = float(np.interp(time_s, self.times_s, self.distance_m))
        low, high = max(time_s - step, self.times_s[0]), min(time_s + step, self.times_s[-1])
        ahead = np.interp([low, high], self.times_s, self.distance_m)
        return here, float((ahead[1] - ahead[0]) / (high - low))

    def shifted(self, offset_m: float) -> "Schedule":
        """The same motion further along the path."""
        return Schedule(self.times_s, self.distance_m + offset_m)

    @classmethod
    def steady(cls, start_m: float, speed_mps: float, duration_s: float) -> "Schedule":
        """Constant speed."""
        return cls(
            np.array([0.0, duration_s]), np.array([start_m, start_m + speed_mps * duration_s])
        )


@dataclasses.dataclass(frozen=True)
class Thing:
    """One object of the scene.

    Attributes:
        model: its looks and category.
        place: x, y in metres and yaw in radians, where it stands (ignored if it moves).
        path: what it follows, None if it stands.
        schedule: how it moves along the path, None if it stands.
        on_road: it rests on (and tilts with) the carriageway level instead of the local surface.
    """

    model: Model
    place: tuple[float, float, float]
    path: Path | None = None
    schedule: Schedule | None = None
    on_road: bool = True

    def where(self, time_s: float) -> tuple[float, float, float, float]:
        """x, y (metres), yaw (radians), speed (metres per second)."""
        if self.path is None or self.schedule is None:
            return (*self.place, 0.0)
        distance, speed = self.schedule.at(time_s)
        xy, yaw = self.path.at(distance)
        return float(xy[0]), float(xy[1]), yaw, speed


@dataclasses.dataclass(frozen=True)
class Box:
    """An object's annotated box at one instant, in the map frame.

    Attributes:
        id: the object's instance number, 1 or more, equal to ``Hit.instance`` on it.
        kind: what a person would call it.
        category: nuScenes category, or ``static.*`` for things nuScenes does not annotate.
        class_id: Occ3D class.
        color: name of its striking colour, may be empty.
        center_m: (3,).
        size_m: length, width, height.
        yaw: radians about the vertical.
        velocity_mps: (2,) in the map.
        moving: it follows a path (it may be stopped at the moment).
    """

    id: int
    kind: str
    category: str
    class_id: int
    color: str
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    yaw: float
    velocity_mps: tuple[float, float]
    moving: bool
