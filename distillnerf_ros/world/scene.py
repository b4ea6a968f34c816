"""A scene: its plan, its objects over time, and what the caster needs of it."""

import dataclasses
import functools

import numpy as np
import torch
from torch import Tensor

from distillnerf_ros.world.ground import Ground
from distillnerf_ros.world.layout import Layout, make_layout
from distillnerf_ros.world.looks import Look, make_look
from distillnerf_ros.world.placing import make_standing
from distillnerf_ros.world.primitives import Primitives, SolidTable, pose
from distillnerf_ros.world.things import Box, Thing, class_of
from distillnerf_ros.world.traffic import make_traffic

VIEW_RANGE_M = 140.0
"""Solids farther from the ego vehicle are left out."""

_MIN_ANGLE = 0.0011
"""Solids whose radius over distance from the ego vehicle is smaller are left out."""

_STEPS_PER_METRE = 2.1
"""Walking phase in radians per metre walked."""


class Scene:
    """A procedural street for some seconds.

    Attributes:
        seed: what made it.
        duration_s: how long it lasts.
        layout: roads, ground and the ego vehicle's drive.
        look: light and weather.
        things: every object; ``things[k]`` has the instance number k + 1.
    """

    def __init__(
        self, seed: int, duration_s: float, layout: Layout, look: Look, things: list[Thing]
    ) -> None:
        """Collect the solids of all things. Use ``make_scene``."""
        self.seed = seed
        self.duration_s = duration_s
        self.layout = layout
        self.look = look
        self.things = things
        self._moves = np.array([thing.path is not None for thing in things])
        table = SolidTable.from_shapes([thing.model.shape for thing in things], seed)
        moving = torch.from_numpy(self._moves)[table.owner]
        self._moving_table = table.select(moving)
        self._standing_table = table.select(~moving)
        self._on_road = torch.tensor([thing.on_road for thing in things])
        labels = [class_of(thing.model.category) for thing in things]
        self._labels = torch.tensor(labels, dtype=torch.uint8)
        self._grounds: dict[torch.device, Ground] = {}

    def ego_pose(self, time_s: float) -> np.ndarray:
        """map_from_ego (4, 4) float64: base_link on the road, tilted with it."""
        distance, _ = self.layout.ego_schedule.at(time_s)
        xy, _ = self.layout.ego_path.at(distance)
        back, _ = self.layout.ego_path.at(distance - 1.4)
        ahead, _ = self.layout.ego_path.at(distance + 1.4)
        yaw = np.arctan2(ahead[1] - back[1], ahead[0] - back[0])
        place = torch.tensor([[xy[0], xy[1], yaw]], dtype=torch.float32)
        return self._poses(place, torch.tensor([True]))[0].double().numpy()

    def ego_speed(self, time_s: float) -> float:
        """Speed along the path in metres per second."""
        return self.layout.ego_schedule.at(time_s)[1]

    def objects_at(self, time_s: float) -> list[Box]:
        """Posed boxes of all things, static ones too (category ``static.*``)."""
        places, speeds = self._places(list(range(len(self.things))), time_s)
        poses = self._poses(places, self._on_road).double().numpy()
        boxes = []
        for number, (thing, pose_) in enumerate(zip(self.things, poses, strict=True)):
            model, yaw, speed = thing.model, float(places[number, 2]), float(speeds[number])
            velocity = (speed * float(np.cos(yaw)), speed * float(np.sin(yaw)))
            x, y, z = (pose_[:3, 3] + pose_[:3, 2] * model.size_m[2] / 2).tolist()
            boxes.append(
                Box(
                    number + 1,
                    model.kind,
                    model.category,
                    class_of(model.category),
                    model.color,
                    (x, y, z),
                    model.size_m,
                    yaw,
                    velocity,
                    bool(self._moves[number]),
                )
            )
        return boxes

    def ground_on(self, device: torch.device) -> Ground:
        """The ground with its raster on a device."""
        if device not in self._grounds:
            ground = self.layout.ground
            raster = ground.raster.to(device)
            self._grounds[device] = dataclasses.replace(ground, raster=raster)
        return self._grounds[device]

    def labels_on(self, device: torch.device) -> Tensor:
        """(O,) uint8 class of every object."""
        return self._labels.to(device)

    @functools.cached_property
    def _standing(self) -> Primitives:
        places, _ = self._places(list(range(len(self.things))), 0.0)
        poses = self._poses(places, self._on_road)
        table = self._standing_table
        return pose(table, poses[table.owner], torch.zeros(len(table.owner)), -1)

    def primitives_at(self, times_s: list[float], device: torch.device) -> Primitives:
        """Solids near the ego vehicle, standing ones once, moving ones once per time.

        Moving solids of ``times_s[g]`` have group g.
        """
        center = torch.from_numpy(self.ego_pose(times_s[0])[:3, 3]).float()
        parts = [_near(self._standing, center)]
        movers = np.flatnonzero(self._moves)
        table = self._moving_table
        slot = torch.full((len(self.things),), -1, dtype=torch.long)
        slot[movers] = torch.arange(len(movers))
        on_road = self._on_road[movers]
        for group, time_s in enumerate(times_s):
            places, _ = self._places(movers.tolist(), time_s)
            walked = torch.tensor([self._distance(int(number), time_s) for number in movers])
            poses = self._poses(places, on_road)[slot[table.owner]]
            phase = (walked * _STEPS_PER_METRE)[slot[table.owner]].float()
            parts.append(_near(pose(table, poses, phase, group), center))
        whole = Primitives.concatenate(parts)
        if device.type == "cpu":
            return whole
        names = [field.name for field in dataclasses.fields(Primitives)]
        return Primitives(*(getattr(whole, name).to(device) for name in names))

    def _distance(self, number: int, time_s: float) -> float:
        schedule = self.things[number].schedule
        return schedule.at(time_s)[0] if schedule else 0.0

    def _places(self, numbers: list[int], time_s: float) -> tuple[Tensor, Tensor]:
        """(x, y, yaw) and speed of the given things."""
        where = np.array([self.things[number].where(time_s) for number in numbers]).reshape(-1, 4)
        return torch.from_numpy(where[:, :3]).float(), torch.from_numpy(where[:, 3])

    def _poses(self, places: Tensor, on_road: Tensor) -> Tensor:
        """map_from_object (K, 4, 4) of things on the ground; vehicles tilt with the road."""
        ground, xy, yaw = self.layout.ground, places[:, :2], places[:, 2]
        height = torch.where(on_road, ground.smooth_height(xy), ground.height(xy))
        upright = torch.tensor([0.0, 0, 1]).expand(len(xy), 3)
        up = torch.where(on_road[:, None], ground.normal(xy), upright)
        ahead = torch.stack([yaw.cos(), yaw.sin(), torch.zeros_like(yaw)], dim=1)
        left = torch.nn.functional.normalize(torch.linalg.cross(up, ahead, dim=1), dim=1)
        ahead = torch.linalg.cross(left, up, dim=1)
        poses = torch.eye(4).repeat(len(xy), 1, 1)
        poses[:, :3, :3] = torch.stack([ahead, left, up], dim=2)
        poses[:, :3, 3] = torch.cat([xy, height[:, None]], dim=1)
        return poses


def _near(primitives: Primitives, center: Tensor) -> Primitives:
    """Drop what is too far away or too small to see."""
    distance = (primitives.center - center).norm(dim=1)
    keep = (distance - primitives.radius < VIEW_RANGE_M) & (
        primitives.radius > _MIN_ANGLE * (distance - 10.0)
    )
    return primitives.select(keep)


def make_scene(seed: int, duration_s: float = 20.0) -> Scene:
    """Draw a scene; the same seed and duration give the same scene, byte for byte."""
    rng = np.random.default_rng([seed, 1])
    layout = make_layout(rng, duration_s)
    look = make_look(np.random.default_rng([seed, 2]))
    standing = make_standing(np.random.default_rng([seed, 3]), layout)
    traffic = make_traffic(np.random.default_rng([seed, 4]), layout, duration_s)
    return Scene(seed, duration_s, layout, look, standing + traffic)
