"""Labels and boxes of a keyframe, on scenes simple enough to know them."""

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data.categories import LIDARSEG_CATEGORIES
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world.capture import annotate, lidarseg, stamp_us, visible_part
from distillnerf_ros.world.frames import Glance, Lidar
from distillnerf_ros.world.things import Box

SIZE = (60, 100)


def car(number: int = 7, center_m=(10.0, 0.0, 0.0), category: str = "vehicle.car", **more) -> Box:
    fields = {
        "id": number,
        "kind": "car",
        "category": category,
        "class_id": 4,
        "color": "red",
        "center_m": center_m,
        "size_m": (4.0, 2.0, 1.5),
        "yaw": 0.0,
        "velocity_mps": (0.0, 0.0),
        "moving": False,
    }
    return Box(**{**fields, **more})


def look_ahead(depth_m: torch.Tensor, instances: torch.Tensor, beams: list[int]) -> Glance:
    """One camera at the origin that looks along x; ``beams`` are instances lidar beams met."""
    pose = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    rig = CameraRig(
        ("cam",),
        torch.zeros(1, 3, *SIZE),
        torch.tensor([[[50.0, 0, 50], [0, 50, 30], [0, 0, 1]]]),
        pose[None],
        torch.tensor([True]),
    )
    count = len(beams)
    lidar = Lidar(
        torch.zeros(count, 3),
        torch.zeros(count, dtype=torch.uint8),
        torch.tensor(beams, dtype=torch.int32),
        torch.zeros(count),
        torch.zeros(count, dtype=torch.int64),
    )
    labels = torch.zeros(1, *SIZE, dtype=torch.uint8)
    return Glance(rig, depth_m, labels, instances, lidar, torch.zeros(1), np.eye(4))


def wall(depth_m: float, instance: int, beams: tuple[int, ...] = ()) -> Glance:
    depth = torch.full((1, *SIZE), depth_m)
    return look_ahead(depth, torch.full((1, *SIZE), instance, dtype=torch.int32), list(beams))


def test_own_pixels_before_free_sky_and_behind_a_wall():
    assert visible_part(wall(9.0, instance=7), car()) == 1.0
    assert visible_part(wall(float("nan"), instance=0), car()) == 1.0
    assert visible_part(wall(5.0, instance=3), car()) == 0.0


def test_half_hidden_by_something_on_the_left():
    seen = wall(float("nan"), 0)
    seen.depth_m[:, :, :50] = 5.0  # the left half of the image is the side of positive y
    # 2 of 5 columns of points lie on the left, the middle one is seen right of the edge
    assert visible_part(seen, car()) == pytest.approx(0.6)


def test_outside_every_image_nothing_is_visible():
    assert visible_part(wall(float("nan"), 0), car(center_m=(-10.0, 0.0, 0.0))) == 0.0


def test_yaw_turns_the_box():
    seen = wall(float("nan"), 0)
    seen.depth_m[:, :, :47] = 5.0  # hides what lies more than 0.6 m left of the axis at 10 m
    along = visible_part(seen, car())
    across = visible_part(seen, car(yaw=float(np.pi / 2)))
    assert across < along


def test_what_neither_lidar_nor_camera_met_is_not_annotated():
    assert annotate(wall(5.0, instance=3), [car()]) == []
    (box,) = annotate(wall(5.0, instance=3, beams=(7, 7, 1)), [car()])
    assert (box.lidar_points, box.visibility) == (2, 1)
    (box,) = annotate(wall(float("nan"), 0), [car()])
    assert (box.lidar_points, box.visibility) == (0, 4)


def test_buildings_and_far_things_are_not_annotated():
    far, house = car(1, (81.0, 0.0, 0.0)), car(2, category="static.manmade")
    assert annotate(wall(float("nan"), 0, beams=(1, 2)), [far, house]) == []


@pytest.mark.parametrize(
    ("category", "speed", "moving", "expected"),
    [
        ("vehicle.car", 5.0, True, ["vehicle.moving"]),
        ("vehicle.bus.rigid", 0.0, True, ["vehicle.stopped"]),
        ("vehicle.truck", 0.0, False, ["vehicle.parked"]),
        ("vehicle.bicycle", 4.0, True, ["cycle.with_rider"]),
        ("vehicle.motorcycle", 0.0, False, ["cycle.without_rider"]),
        ("human.pedestrian.adult", 1.2, True, ["pedestrian.moving"]),
        ("human.pedestrian.child", 0.0, False, ["pedestrian.standing"]),
        ("human.pedestrian.stroller", 1.0, True, []),
        ("movable_object.barrier", 0.0, False, []),
    ],
)
def test_attributes_are_those_of_the_category(category, speed, moving, expected):
    box = car(category=category, velocity_mps=(speed, 0.0), moving=moving)
    assert annotate(wall(float("nan"), 0), [box])[0].attributes == expected


def test_lidarseg_takes_the_category_of_objects_and_the_class_of_ground():
    road, grass = (OCC3D_CLASSES.index(name) for name in ("driveable surface", "terrain"))
    sweep = Lidar(
        torch.zeros(4, 3),
        torch.tensor([road, 7, grass, 0], dtype=torch.uint8),
        torch.tensor([0, 2, 0, 5], dtype=torch.int32),
        torch.zeros(4),
        torch.zeros(4, dtype=torch.int64),
    )
    boxes = [car(2, category="human.pedestrian.child"), car(5, category="animal")]
    names = [LIDARSEG_CATEGORIES[label][0] for label in lidarseg(sweep, boxes)]
    assert names == ["flat.driveable_surface", "human.pedestrian.child", "flat.terrain", "animal"]


def test_stamps_of_different_scenes_do_not_meet():
    assert stamp_us(4, 0.0) - stamp_us(3, 60.0) == 40_000_000
