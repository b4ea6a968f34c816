"""A box that drives past a wall."""

import dataclasses

import torch

from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.log import Sweeps
from distillnerf_ros.scene.motion import mark_moving, moving_returns, range_image


def beams() -> torch.Tensor:
    """Unit directions, dense enough for the bins."""
    azimuth, elevation = torch.meshgrid(
        torch.deg2rad(torch.arange(-40.0, 40.0, 0.4)),
        torch.deg2rad(torch.arange(-8.0, 8.0, 1.3)),
        indexing="ij",
    )
    flat = elevation.cos()
    return torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()], -1).reshape(
        -1, 3
    )


def passing_box() -> tuple[Sweeps, torch.Tensor]:
    """A wall at x = 15 m; before it, at 8 m, a box 2 m wide that moves 3 m/s to the left."""
    directions, points, truth, index = beams(), [], [], []
    times = torch.arange(0, 3, 0.25)
    for number, time in enumerate(times.tolist()):
        on_box = directions * (8 / directions[:, :1])
        hit = (on_box[:, 1] - (3 * time - 4)).abs() < 1
        points.append(torch.where(hit[:, None], on_box, directions * (15 / directions[:, :1])))
        truth.append(hit)
        index.append(torch.full((len(hit),), number))
    sweeps = Sweeps(torch.zeros(len(times), 3), times, torch.cat(points), torch.cat(index))
    return sweeps, torch.cat(truth)


def test_what_passes_is_told_from_what_stands():
    sweeps, truth = passing_box()
    found = moving_returns(sweeps)
    assert (found & ~truth).sum() == 0
    assert (found & truth).sum() > 0.7 * truth.sum()


def test_range_image_is_unknown_where_little_returns():
    image = range_image(beams() * 9.0).around_m
    assert image[25, 360].item() == torch.tensor(9.0)
    assert image[25, 0].isnan()


def test_a_return_is_confirmed_where_another_sweep_returns_too():
    image = range_image(beams() * 9.0)
    near = torch.tensor([[9.2, 0.0, 0.0], [5.0, 0.0, 0.0], [12.0, 0.0, 0.0]])
    assert image.lookup(near).at.tolist() == [True, False, False]
    assert image.lookup(near).behind.tolist() == [False, True, False]


def test_motion_is_handed_on_to_returns_nobody_confirms():
    """A box that drives after the sensor: no later sweep can look through its first places."""
    directions, points, truth, origins = beams(), [], [], []
    times = torch.arange(0, 2.5, 0.05)
    for time in times.tolist():
        origin = torch.tensor([-3.0 * time, 0.0, 0.0])
        on_box = directions * (8 / directions[:, :1])
        hit = (on_box[:, 1].abs() < 1) & (on_box[:, 2].abs() < 0.8)
        wall = directions * ((60 + 3 * time) / directions[:, :1])
        points.append(torch.where(hit[:, None], on_box, wall) + origin)
        truth.append(hit)
        origins.append(origin)
    index = torch.arange(len(times)).repeat_interleave(len(directions))
    sweeps = Sweeps(torch.stack(origins), times, torch.cat(points), index)
    found, wanted = moving_returns(sweeps), torch.cat(truth)
    early = (times[index] < 0.4) & (sweeps.points_m[:, 2] > -0.4)  # below is ground
    assert (found & wanted & early).sum() > 0.9 * (wanted & early).sum()
    assert (found & ~wanted).sum() < 0.01 * (~wanted).sum()


def test_only_places_of_moving_returns_may_move(scene_config):
    config = dataclasses.replace(scene_config, duration_s=3.0, inner_m=(20.0, 20.0, 4.0))
    sweeps, truth = passing_box()
    field = SceneField(config)
    mark_moving(field, sweeps, truth)
    share = sweeps.times_s[sweeps.sweep] / 3.0
    unit = field.unit(sweeps.points_m)
    assert field.proposals.may_move(unit[truth], share[truth]).all()
    wall = ~truth & (sweeps.points_m[:, 0] > 14)
    assert not field.proposals.may_move(unit[wall], share[wall]).any()
    assert (field.proposals.density(unit, share) >= 5.0).all()
