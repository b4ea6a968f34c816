"""Rays through walls of known density."""

import pytest
import torch

from distillnerf_ros.cameras import Rays
from distillnerf_ros.scene.field import Parts
from distillnerf_ros.scene.march import CameraBundle, colors, first_edges, march


@pytest.fixture
def walled(scene_field):
    """A standing wall from x = 5 on, and from 3 to 4 m something that moves after 0.5 s."""

    def parts(points, time_s):
        x = points[:, 0]
        static = torch.where(x >= 5, 50.0, 1e-6)
        moves = (x >= 3) & (x < 4) & (time_s > 0.5) if time_s is not None else x < -100
        moving = torch.where(moves, 0.7, 0.0)
        latent = torch.ones(len(x), 4) * (moving > static)[:, None]
        return Parts(static, moving, latent, torch.zeros(len(x)))

    scene_field.parts = parts
    return scene_field


RAYS = Rays(torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [1.0, 0.0, 0.0]]))


@torch.no_grad()
def test_standing_and_moving_parts_share_the_ray(walled):
    seen = march(walled, RAYS, torch.tensor([0.2, 0.8]), samples=400)
    assert seen.opacity.tolist() == pytest.approx([1.0, 1.0], abs=1e-3)
    # One metre of 0.7 per metre stops 1 - exp(-0.7) of the light; the wall has the rest.
    assert seen.moving.tolist() == pytest.approx([0.0, 0.503], abs=0.02)
    assert seen.mean_depth_m()[0].item() == pytest.approx(5.0, abs=0.1)


@torch.no_grad()
def test_without_a_time_only_what_stands_is_seen(walled):
    seen = march(walled, RAYS, None, samples=100)
    assert seen.moving.tolist() == [0, 0]


@torch.no_grad()
def test_samples_go_where_the_proposals_are_dense(walled):
    walled.proposals.static.zero_()
    unit = walled.unit(torch.tensor([[5.5, 0.0, 0.0]]))
    walled.proposals.static.view(-1)[walled.proposals.cell(unit)] = 50.0
    walled.proposals.moving.zero_()
    seen = march(walled, RAYS, None, samples=20)
    assert ((seen.depth_m - 5.5).abs() < 2).float().mean() > 0.8


def test_rows_of_a_march_are_the_march_of_the_rows(walled):
    both = march(walled, RAYS, torch.tensor([0.2, 0.8]), samples=16)
    second = both.rows(1, 2)
    alone = march(walled, RAYS.select(torch.tensor([1])), torch.tensor([0.8]), samples=16)
    torch.testing.assert_close(second.weights, alone.weights)
    torch.testing.assert_close(second.parts.moving, alone.parts.moving)


@torch.no_grad()
def test_colour_is_the_hit_over_the_sky_times_the_gain(walled):
    walled.color = lambda latent, directions: torch.full((len(latent), 3), 0.8)
    walled.sky = lambda directions: torch.full((len(directions), 3), 0.2)
    walled.exposure.data[1] = 0.1
    bundle = CameraBundle(RAYS, torch.tensor([0, 1]), torch.tensor([0.2, 0.2]), torch.zeros(2))
    seen = march(walled, RAYS, bundle.times_s, samples=64)
    hit = colors(walled, seen, bundle)
    gain = torch.tensor([1.0, 0.1]).exp()[:, None] ** torch.tensor([[0.0], [1.0]])
    torch.testing.assert_close(hit, 0.8 * gain.expand(2, 3), atol=2e-3, rtol=0)
    up = Rays(RAYS.origins, -RAYS.directions)
    away = march(walled, up, bundle.times_s, samples=64)
    bundle = CameraBundle(up, bundle.camera, bundle.times_s, bundle.radius)
    torch.testing.assert_close(
        colors(walled, away, bundle), 0.2 * gain.expand(2, 3), atol=2e-3, rtol=0
    )


@torch.no_grad()
def test_shadows_darken_what_stands(walled):
    plain = walled.parts

    def shaded(points, time_s):
        found = plain(points, time_s)
        return Parts(found.static, found.moving, found.latent, torch.full_like(found.shade, 0.5))

    bundle = CameraBundle(RAYS, torch.zeros(2).long(), torch.full((2,), 0.2), torch.zeros(2))
    lit = colors(walled, march(walled, RAYS, bundle.times_s, 64), bundle)
    walled.parts = shaded
    dark = colors(walled, march(walled, RAYS, bundle.times_s, 64), bundle)
    torch.testing.assert_close(dark, lit / 2, atol=2e-3, rtol=0)


def test_edges_reach_from_near_to_far(scene_config):
    edges = first_edges(scene_config)
    assert len(edges) == scene_config.intervals + 1
    assert edges[0].item() == pytest.approx(scene_config.near_m)
    assert edges[-1].item() == pytest.approx(scene_config.far_m, rel=1e-4)
    assert (edges.diff() > 0).all()
