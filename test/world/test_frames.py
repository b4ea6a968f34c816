"""Pictures, depth and lidar of one glance."""

import numpy as np
import torch

from distillnerf_ros.cameras import CAMERA_NAMES, camera_rays
from distillnerf_ros.cameras.transforms import transform_points
from distillnerf_ros.taxonomy import SKY_LABEL
from distillnerf_ros.world.frames import Glance, expose, glance, lidar_sweep
from distillnerf_ros.world.scene import Scene


def test_shapes_and_ranges(looked: Glance) -> None:
    assert looked.rig.names == CAMERA_NAMES
    assert looked.rig.images.shape == (6, 3, 64, 112)
    assert looked.depth_m.shape == looked.labels.shape == looked.instances.shape == (6, 64, 112)
    assert 0 <= looked.rig.images.min() < 0.2
    assert 0.5 < looked.rig.images.max() <= 1


def test_sky_depth_labels_and_instances_agree(street: Scene, looked: Glance) -> None:
    sky = looked.labels == SKY_LABEL
    assert 0.05 < sky.float().mean() < 0.7
    assert torch.equal(sky, torch.isnan(looked.depth_m))
    assert (looked.instances[sky] == 0).all()
    owned = looked.instances > 0
    table = torch.tensor([255, *(box.class_id for box in street.objects_at(2.0))])
    assert torch.equal(looked.labels[owned].long(), table[looked.instances[owned].long()])
    ground = (looked.labels[~owned & ~sky] >= 11) & (looked.labels[~owned & ~sky] <= 14)
    assert ground.all()


def test_same_seed_same_bytes(street_again: Scene, looked: Glance) -> None:
    again = glance(street_again, 2.0, (64, 112))
    assert torch.equal(again.rig.images, looked.rig.images)
    assert torch.equal(again.depth_m.nan_to_num(-1), looked.depth_m.nan_to_num(-1))
    assert torch.equal(again.lidar_points, looked.lidar_points)


def test_cameras_fire_in_order_before_the_lidar(looked: Glance) -> None:
    order = [looked.rig.names[index] for index in looked.stamps_s.argsort().tolist()]
    assert order[0] == "CAM_FRONT_LEFT"
    assert order[-1] == "CAM_BACK_LEFT"
    spread = looked.stamps_s.max() - looked.stamps_s.min()
    assert 0.040 < float(spread) < 0.045
    assert (looked.stamps_s <= 2.0).all()


def test_moving_ego_shifts_the_early_cameras_back(street: Scene) -> None:
    time_s = next(t for t in (1.0, 2.0, 3.0, 4.0, 5.0) if street.ego_speed(t) > 2)
    rig = glance(street, time_s, (16, 28)).rig
    from distillnerf_ros.world.rig_constants import CAMERAS

    mounted = CAMERAS["CAM_FRONT_LEFT"]
    moved = rig.ego_from_camera[CAMERA_NAMES.index("CAM_FRONT_LEFT"), 0, 3]
    expected = mounted.translation_m[0] + mounted.stamp_offset_s * street.ego_speed(time_s)
    assert abs(float(moved) - expected) < 0.03


def test_lidar_points_lie_on_the_depth_images(looked: Glance) -> None:
    """Project the sweep into each camera and compare with the rendered depth."""
    rig, agreeing, total = looked.rig, 0, 0
    static = looked.lidar.labels >= 11
    for index in range(6):
        camera_from_ego = torch.linalg.inv(rig.ego_from_camera[index])
        points = transform_points(camera_from_ego, looked.lidar_points[static])
        points = points[points[:, 2] > 1]
        uv = points @ rig.intrinsics[index].T
        uv = (uv[:, :2] / uv[:, 2:]).floor().long()
        within = (uv >= 0).all(1) & (uv[:, 0] < 112) & (uv[:, 1] < 64)
        uv, z = uv[within], points[within, 2]
        rendered = looked.depth_m[index, uv[:, 1], uv[:, 0]]
        # Beyond a few metres a pixel of this small image covers a patch of several depths.
        agreeing += int(((rendered - z).abs() < 0.1 + 0.08 * z).sum())
        total += len(z)
    assert total > 5000
    assert agreeing / total > 0.85


def test_depth_is_along_the_optical_axis(street: Scene, looked: Glance) -> None:
    """Pixels that show the flat part of the road unproject to points on it."""
    rig = looked.rig
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, (64, 112), (64, 112))
    depth = looked.depth_m.reshape(-1)
    road = looked.labels.reshape(-1) == 11
    points = rays.origins + depth[:, None] * rays.directions
    on_map = transform_points(torch.from_numpy(looked.map_from_ego).float(), points[road])
    height = street.layout.ground.height(on_map[:, :2])
    assert road.sum() > 500
    assert (on_map[:, 2] - height).abs().quantile(0.9) < 0.03


def test_lidar_rings_cover_the_sensor(street: Scene) -> None:
    sweep = lidar_sweep(street, 2.0)
    assert len(sweep.points) > 10_000
    assert sweep.ring.min() == 0
    assert sweep.ring.max() <= 31
    assert sweep.points.norm(dim=1).max() < 105
    lowest = sweep.points[sweep.ring == 0] - torch.tensor([0.9437, 0.0, 1.8402])
    angle = torch.rad2deg(torch.atan2(lowest[:, 2], lowest[:, :2].norm(dim=1)))
    assert abs(float(angle.median()) + 30.67) < 1.5


def test_exposure_maps_dark_and_bright_scenes_to_similar_means(street: Scene) -> None:
    flat = torch.full((1, 3, 8, 8), 0.1)
    dark = expose(street.look, flat, [1]).mean()
    bright = expose(street.look, 8 * flat, [1]).mean()
    assert dark < bright < 2.4 * dark
    assert torch.equal(expose(street.look, flat, [1]), expose(street.look, flat, [1]))
    assert not torch.equal(expose(street.look, flat, [1]), expose(street.look, flat, [2]))


def test_single_camera(street: Scene) -> None:
    one = glance(street, 2.0, (32, 56), cameras=("CAM_BACK",))
    assert one.rig.images.shape == (1, 3, 32, 56)
    np.testing.assert_allclose(one.rig.intrinsics[0, 0, 0], 809.221 * 56 / 1600, rtol=1e-5)
