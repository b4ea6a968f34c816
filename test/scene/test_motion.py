"""A box that drives past a wall."""

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
    image = range_image(beams() * 9.0)
    assert image[25, 360].item() == torch.tensor(9.0)
    assert image[25, 0].isnan()


def test_only_places_of_moving_returns_may_move(scene_config):
    import dataclasses

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
