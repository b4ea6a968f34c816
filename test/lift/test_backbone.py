"""Image features and the ray channels that carry the calibration."""

import dataclasses

import pytest
import torch

from distillnerf_ros.lift.backbone import Backbone, ray_channels


def test_first_channel_is_the_inverse_depth_of_the_ground(make_rig):
    """Level cameras 1.6 m up: a row v below the horizon meets the ground at 1.6 fy / (v - cy)."""
    rig = make_rig((32, 64))
    channels = ray_channels(rig, (32, 64))
    v = torch.arange(32) + 0.5
    expected = 5 * (v - 16).clamp(min=0) / (1.6 * 51.2)
    assert channels.shape == (6, 4, 32, 64)
    torch.testing.assert_close(channels[:, 0], expected[:, None].expand(6, 32, 64))


def test_other_channels_are_elevation_and_tangents(make_rig):
    channels = ray_channels(make_rig((32, 64)), (32, 64))
    u, v = (torch.arange(64) + 0.5 - 32) / 51.2, (torch.arange(32) + 0.5 - 16) / 51.2
    v, u = torch.meshgrid(v, u, indexing="ij")
    elevation = -v / (1 + u**2 + v**2).sqrt()
    expected = torch.stack([elevation, u, v]).expand(6, 3, 32, 64)
    torch.testing.assert_close(channels[:, 1:], expected, atol=1e-5, rtol=0)


def test_channels_do_not_depend_on_where_the_vehicle_looks(make_rig):
    channels = ray_channels(make_rig(), (8, 16))
    torch.testing.assert_close(channels, channels[:1].expand(6, -1, -1, -1), atol=1e-5, rtol=0)


def test_channels_survive_a_resized_image(make_rig):
    rig = make_rig((32, 64))
    torch.testing.assert_close(
        ray_channels(rig.resized(16, 32), (8, 16)), ray_channels(rig, (8, 16))
    )


@pytest.mark.parametrize(("stride", "size"), [(1, (32, 64)), (2, (16, 32))])
def test_features_have_the_stride_of_the_stem(make_rig, small_config, stride, size):
    config = dataclasses.replace(small_config.backbone, stem_stride=stride)
    features, context = Backbone(config).eval()(make_rig())
    assert features.shape == (6, 8, *size)
    assert context.shape == (8,)


def test_odd_sizes_pass(make_rig, small_config):
    features, _ = Backbone(small_config.backbone).eval()(make_rig((30, 57)))
    assert features.shape == (6, 8, 15, 29)


def test_cameras_meet_only_in_the_context(make_rig, small_config):
    backbone, rig = Backbone(small_config.backbone).eval(), make_rig()
    torch.nn.init.zeros_(backbone.context.weight)
    torch.nn.init.zeros_(backbone.context.bias)
    features, _ = backbone(rig)
    alone, _ = backbone(rig.without(*rig.names[1:]).present())
    torch.testing.assert_close(alone[0], features[0], atol=1e-5, rtol=1e-4)
