"""Pictures of any field, in closed form."""

import dataclasses

import torch

from distillnerf_ros.config import RenderConfig
from distillnerf_ros.render.picture import render_field
from distillnerf_ros.render.renderer import march_edges, ray_edges, render_rays

EDGES = march_edges(RenderConfig(far_m=60.0, coarse_samples=256), 0.8, 50.0)


def test_a_ball_is_as_deep_as_its_near_side_and_has_its_colour_and_feature(make_rig, two_balls):
    rig = make_rig(size=(33, 65), count=4)
    seen = render_field(two_balls, rig, rig.image_size, EDGES, 64, 0.5)
    assert seen.rgb.shape == (4, 3, 33, 65)
    # Camera 0 looks ahead from 0.5 m, camera 3 to the left; balls of 2 m stand at 10.5 m.
    for camera, ball in ((0, 0), (3, 1)):
        torch.testing.assert_close(
            seen.depth_m[camera, 16, 32], torch.tensor(8.0), atol=0.05, rtol=0
        )
        torch.testing.assert_close(seen.rgb[camera, :, 16, 32], two_balls.rgb[ball])
        torch.testing.assert_close(seen.features[camera, :, 16, 32], two_balls.features[ball])
        # A ball of radius r, d away, covers r / sqrt(d^2 - r^2) of the focal length (52 px).
        half_px = 52 * 2 / (10**2 - 2**2) ** 0.5
        width = int(seen.depth_m[camera, 16].isfinite().sum())
        assert abs(width - 2 * half_px) <= 2
    for camera in (1, 2):
        assert seen.depth_m[camera].isnan().all()
        assert (seen.opacity[camera] == 0).all()
        torch.testing.assert_close(
            seen.rgb[camera], torch.tensor([0.0, 0, 1])[:, None, None].expand(3, 33, 65)
        )
        assert (seen.features[camera] == 0).all()


def test_at_the_surface_there_is_no_mixing(make_rig, two_balls):
    """Of mist that hides more than half, the colour is the ball's; of less, the sky's."""
    rig = make_rig(size=(9, 17), count=1)
    for sigma, red, blue in ((0.4, 1.0, 0.0), (0.1, 0.0, 1.0)):
        mist = dataclasses.replace(two_balls, sigma=sigma)
        seen = render_field(mist, rig, rig.image_size, EDGES, 64, 0.5, at_surface=True)
        along = render_field(mist, rig, rig.image_size, EDGES, 64, 0.5)
        torch.testing.assert_close(seen.rgb[0, :, 4, 8], torch.tensor([red, 0.0, blue]))
        torch.testing.assert_close(seen.features[0, :, 4, 8], torch.tensor([red, 0.0, 0.0]))
        torch.testing.assert_close(seen.depth_m, along.depth_m, equal_nan=True)
        torch.testing.assert_close(seen.opacity, along.opacity)


def test_it_sees_what_the_renderer_sees_of_mist(make_rig, two_balls):
    """Half a ball's opacity, composited in two ways."""
    mist = dataclasses.replace(two_balls, sigma=0.2)
    rig = make_rig(size=(8, 16), count=1)
    seen = render_field(mist, rig, rig.image_size, EDGES, 64, 0.2)
    from distillnerf_ros.cameras import camera_rays

    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (8, 16))
    single = render_rays(mist, rays, ray_edges(mist, rays, EDGES, 64))
    middle = seen.opacity[0, 3:5, 7:9].flatten()
    torch.testing.assert_close(
        middle, single.opacity.view(8, 16)[3:5, 7:9].flatten(), atol=0.05, rtol=0
    )
    # Through the middle 4 m of 0.2 per metre: 1 - exp(-0.8); these pixels pass near it.
    torch.testing.assert_close(
        middle, torch.full((4,), 1 - torch.tensor(-0.8).exp().item()), atol=0.06, rtol=0
    )
    torch.testing.assert_close(seen.rgb[0, 0], seen.opacity[0])
    torch.testing.assert_close(seen.rgb[0, 2], 1 - seen.opacity[0])
