"""Attention over the features of the whole glance."""

import dataclasses

import pytest
import torch

from distillnerf_ros.errors import ConfigError
from distillnerf_ros.lift.backbone import Backbone
from distillnerf_ros.lift.cross_view import CrossView, ray_places


def trained(channels: int = 32) -> CrossView:
    """A stage whose last map is no longer zero."""
    stage = CrossView(channels, 1).eval()
    torch.nn.init.normal_(stage.out[1].weight)
    return stage


def test_it_starts_as_the_identity(make_rig):
    maps = torch.rand(6, 32, 3, 5)
    assert CrossView(32, 2)(maps, make_rig()).equal(maps)


def test_the_order_of_cameras_does_not_matter(make_rig):
    rig, maps, stage = make_rig(), torch.rand(6, 32, 3, 5), trained()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    shuffled = dataclasses.replace(
        rig,
        names=tuple(rig.names[i] for i in order),
        images=rig.images[order],
        intrinsics=rig.intrinsics[order],
        ego_from_camera=rig.ego_from_camera[order],
    )
    torch.testing.assert_close(stage(maps[order], shuffled), stage(maps, rig)[order])


def test_what_one_camera_sees_reaches_the_others(make_rig):
    rig, maps, stage = make_rig(), torch.rand(6, 32, 3, 5, requires_grad=True), trained()
    stage(maps, rig)[0].square().sum().backward()
    assert maps.grad is not None
    assert (maps.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_places_that_show_the_same_are_told_apart_by_their_rays(make_rig):
    same = torch.ones(6, 32, 3, 5)
    learned = trained()(same, make_rig()).permute(0, 2, 3, 1).reshape(-1, 32)
    assert torch.cdist(learned, learned).fill_diagonal_(1.0).min() > 1e-3


def test_places_are_origin_direction_and_waves(make_rig):
    """The middle ray of the first camera looks ahead from (0.5, 0, 1.6): sin 1, sin 2, ..."""
    places = ray_places(make_rig(), (1, 1))[0]
    angles = torch.tensor([1.0, 2.0, 4.0, 8.0])
    expected = torch.zeros(30)
    expected[[0, 2, 3]] = torch.tensor([0.5, 1.6, 1.0])
    expected[6:18:3], expected[18::3] = angles.sin(), angles.cos()
    expected[19::3], expected[20::3] = 1.0, 1.0
    torch.testing.assert_close(places, expected, atol=1e-6, rtol=0)


def test_the_backbone_uses_it_for_the_second_coarsest_map(make_rig, small_config):
    config = dataclasses.replace(small_config.backbone, channels=(8, 32, 16), cross_view_blocks=1)
    backbone, rig = Backbone(config).eval(), make_rig()
    before, _ = backbone(rig)
    torch.nn.init.normal_(backbone.cross_view.out[1].weight)
    after, _ = backbone(rig)
    assert (after - before).abs().amax() > 1e-3


def test_other_widths_are_refused():
    with pytest.raises(ConfigError, match="multiple of 32 channels, the second coarsest has 48"):
        CrossView(48, 1)
