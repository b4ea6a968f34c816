"""What a scene holds and how it moves."""

from collections import Counter

import numpy as np
import torch

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world.scene import Scene

GROUND = {"driveable surface", "other flat", "sidewalk", "terrain"}


def test_ids_count_from_one(street: Scene) -> None:
    boxes = street.objects_at(0.0)
    assert [box.id for box in boxes] == list(range(1, len(boxes) + 1))
    assert boxes[0].kind == street.things[0].model.kind


def test_ego_stands_level_on_the_road(street: Scene) -> None:
    for time_s in (0.0, 3.0, 6.0):
        pose = street.ego_pose(time_s)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-5)
        assert pose[2, 2] > 0.98


def test_ego_moves_as_fast_as_it_says(street: Scene) -> None:
    for time_s in (1.0, 3.0, 5.0):
        step = street.ego_pose(time_s + 0.05)[:3, 3] - street.ego_pose(time_s - 0.05)[:3, 3]
        assert abs(np.linalg.norm(step) / 0.1 - street.ego_speed(time_s)) < 0.3


def test_velocity_is_the_motion_of_the_box(street: Scene) -> None:
    before, now, after = (street.objects_at(3.0 + step) for step in (-0.05, 0.0, 0.05))
    moving = [index for index, box in enumerate(now) if np.hypot(*box.velocity_mps) > 0.5]
    assert len(moving) > 5
    for index in moving:
        step = np.subtract(after[index].center_m, before[index].center_m)[:2] / 0.1
        assert np.linalg.norm(step - now[index].velocity_mps) < 0.6


def test_same_seed_same_scene(street: Scene, street_again: Scene) -> None:
    assert street.objects_at(1.0) == street_again.objects_at(1.0)
    assert street.look == street_again.look
    assert torch.equal(street.layout.ground.raster, street_again.layout.ground.raster)


def test_every_class_of_thing_occurs(street: Scene) -> None:
    count = Counter(OCC3D_CLASSES[box.class_id] for box in street.objects_at(0.0))
    assert not set(OCC3D_CLASSES) - GROUND - set(count)


def test_vehicles_do_not_drive_into_the_ego_vehicle(street: Scene) -> None:
    for time_s in np.arange(0, 6, 1.0):
        ego = street.ego_pose(float(time_s))
        middle = ego[:2, 3] + 1.4 * ego[:2, 0]
        for box in street.objects_at(float(time_s)):
            if box.category.startswith("vehicle."):
                gap = np.linalg.norm(np.array(box.center_m[:2]) - middle)
                assert gap > 1.5 + min(box.size_m[0], box.size_m[1]) / 2
