"""Pixels and rays."""

import torch

from distillnerf_ros.cameras import camera_rays
from distillnerf_ros.scene.views import HIT_OPACITY, Shot, take


def shot(log, frame: int = 0) -> Shot:
    return Shot(
        log.intrinsics[frame], log.scene_from_camera[frame], 0.3, int(log.camera[frame]), (12, 16)
    )


def test_rays_are_those_of_the_package(scene_log):
    bundle = shot(scene_log, 1).bundle(torch.device("cpu"))
    expected = camera_rays(
        scene_log.intrinsics[1:2], scene_log.scene_from_camera[1:2], (12, 16), (12, 16)
    )
    torch.testing.assert_close(bundle.rays.directions, expected.directions)
    torch.testing.assert_close(bundle.rays.origins, expected.origins)
    assert bundle.radius.max() < 2
    assert bundle.radius.view(12, 16)[6, 8] < 0.02


def test_a_picture_has_everything(scene_field, scene_log):
    seen = take(scene_field, shot(scene_log))
    assert seen.rgb.shape == (3, 12, 16)
    assert ((seen.opacity >= 0) & (seen.opacity <= 1)).all()
    assert (seen.depth_m.isinf() == (seen.opacity <= HIT_OPACITY)).all()
    torch.testing.assert_close(seen.moving_rgb, seen.rgb * seen.moving)
    standing = take(scene_field, shot(scene_log), standing_only=True)
    assert standing.moving.abs().max() == 0
    assert seen.moving.max() > 0


def test_a_moved_shot_looks_the_same_way(scene_log):
    moved = shot(scene_log).moved(torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(moved.scene_from_camera[:3, 3], torch.tensor([0.0, 0.0, 2.5]))
    torch.testing.assert_close(
        moved.scene_from_camera[:3, :3], shot(scene_log).scene_from_camera[:3, :3]
    )
