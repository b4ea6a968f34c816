"""The field: densities that add up, motion, exposure; a ``Field`` like any other."""

import math

import pytest
import torch

from distillnerf_ros.cameras import Rays
from distillnerf_ros.config import RenderConfig
from distillnerf_ros.query import occupancy
from distillnerf_ros.render.renderer import march_edges, ray_edges, render_rays
from distillnerf_ros.scene.field import Parts, SceneField, harmonics
from distillnerf_ros.scene.march import CameraBundle, colors, march
from distillnerf_ros.voxels.field import Field

POINTS = torch.tensor([[1.0, 2.0, 0.5], [-3.0, 4.0, 1.0], [30.0, -50.0, 9.0]])
TIMES = torch.tensor([0.1, 0.5, 0.9])


def test_scene_and_moment_are_fields(scene_field):
    assert isinstance(scene_field, Field)
    assert isinstance(scene_field.at(0.5), Field)


def test_densities_add_up_and_latents_mix_by_density(scene_field):
    both = scene_field.parts(POINTS, TIMES)
    standing = scene_field.parts(POINTS, None)
    torch.testing.assert_close(both.static, standing.static)
    torch.testing.assert_close(both.density, both.static + both.moving)
    assert (both.moving > 0).all()
    raw = scene_field.moving_head(
        scene_field._moving_features(POINTS, scene_field.unit(POINTS), TIMES)
    )[:, 2:]
    part = (both.moving / both.density)[:, None]
    expected = (1 - part) * standing.latent + part * raw
    torch.testing.assert_close(both.latent, expected)


def test_nothing_moves_outside_the_candidates(scene_field):
    scene_field.proposals.candidate.zero_()
    parts = scene_field.parts(POINTS, TIMES)
    assert parts.moving.tolist() == [0, 0, 0]
    assert parts.shade.tolist() == [0, 0, 0]


def test_a_scene_without_a_time_is_what_stands(scene_field):
    torch.testing.assert_close(scene_field(POINTS).density, scene_field.density(POINTS))
    assert (scene_field.at(0.5).density(POINTS) > scene_field.density(POINTS)).all()
    torch.testing.assert_close(
        scene_field(POINTS, None, 0.5).density, scene_field.at(0.5)(POINTS).density
    )


def test_features_are_gathered_along_the_flow(scene_field):
    """Where features move with the flow, gathering along it finds the same ones three times."""
    speed = torch.tensor([4.0, 0.0, 0.0])
    scene_field.flow_head[-1].bias.data = torch.cat([speed, -speed]) / 10
    ahead, back = scene_field.flow(POINTS, TIMES)
    torch.testing.assert_close(ahead, speed.expand(3, 3))
    torch.testing.assert_close(back, -speed.expand(3, 3))
    config, seen = scene_field.config, []

    def moving_with_it(places):  # x - v t, from the unit cube back to metres and seconds
        metres = scene_field.contraction.expand(places[:, :3] * 2 - 1)
        seen.append(places)
        return (metres[:, :1] - 4.0 * config.duration_s * places[:, 3:]).expand(-1, 4)

    scene_field.moving.forward = moving_with_it
    points = POINTS[:2]
    found = scene_field._moving_features(points, scene_field.unit(points), TIMES[:2])
    expected = points[:, :1] - 4.0 * TIMES[:2, None]
    torch.testing.assert_close(found, expected.expand(-1, 4), atol=1e-4, rtol=1e-4)
    assert len(seen) == 1


def test_far_points_are_contracted_into_the_cube(scene_field):
    unit = scene_field.unit(torch.tensor([[10.0, 0.0, -4.0], [1e6, -1e6, 0.0]]))
    torch.testing.assert_close(unit[0], torch.tensor([0.9, 0.5, 0.1]))
    torch.testing.assert_close(unit[1], torch.tensor([1.0, 0.0, 0.5]), atol=1e-5, rtol=0)


def test_exposure_is_linear_between_knots_and_darkens_corners(scene_field):
    knots = scene_field.exposure.shape[1]
    assert knots == 3
    scene_field.exposure.data[1, 1] = 1.0
    scene_field.vignette.data[1] = -0.5
    camera = torch.tensor([1, 1, 0, 1])
    gain = scene_field.gain(
        camera, torch.tensor([0.5, 0.25, 0.5, 1.0]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    )
    torch.testing.assert_close(gain[:, 0].log(), torch.tensor([1.0, 0.5, 0.0, -0.5]))


def test_harmonics_are_orthogonal_on_the_sphere():
    directions = torch.randn(20000, 3, generator=torch.Generator().manual_seed(1))
    basis = harmonics(directions)
    gram = basis.T @ basis / len(basis)
    off = gram - torch.diag(gram.diagonal())
    assert off.abs().max() < 0.03


def test_the_renderer_sees_what_the_march_sees(scene_field):
    scene_field.static_head[-1].bias.data[0] = 4.0  # 0.6 per metre
    scene_field.proposals.static.fill_(0.6)
    rays = Rays(torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.5, 0.2]]))
    moment = scene_field.at(0.5)
    edges = march_edges(RenderConfig(far_m=40.0, coarse_samples=64), 0.8, 20.0)
    rendered = render_rays(moment, rays, ray_edges(moment, rays, edges, 64))
    marched = march(scene_field, rays, torch.tensor([0.5, 0.5]), 64)
    torch.testing.assert_close(rendered.opacity, marched.opacity, atol=0.02, rtol=0.02)
    torch.testing.assert_close(rendered.depth_m, marched.mean_depth_m(), atol=0.2, rtol=0.05)


@torch.no_grad()
@pytest.mark.parametrize("moving", [0.0, 50.0, 1e6])
def test_shadows_fall_on_what_stands_alone(scene_field, monkeypatch, moving):
    """Asked at a point and rendered along a ray, with the same colour everywhere."""
    shade, static = 0.5, 50.0

    def parts(points, time_s):
        one = torch.ones(len(points))
        return Parts(static * one, moving * one, torch.ones(len(points), 4), shade * one)

    monkeypatch.setattr(scene_field, "parts", parts)
    rays = Rays(torch.zeros(1, 3), torch.tensor([[1.0, 0.2, 0.1]]))
    bundle = CameraBundle(rays, torch.tensor([0]), torch.tensor([0.5]), torch.zeros(1))
    along = colors(scene_field, march(scene_field, rays, bundle.times_s, 8), bundle)
    there = scene_field.at(0.5)(torch.tensor([[5.0, 1.0, 0.5]]), rays.directions).rgb
    lit = scene_field.color(torch.ones(1, 4), rays.directions)
    torch.testing.assert_close(there, lit * (1 - shade * static / (static + moving)))
    torch.testing.assert_close(there, along)


@torch.no_grad()
def test_the_renderer_meets_a_thin_wall_late_in_its_cell(scene_field, monkeypatch):
    """The proposals' cell is dense from 5.5 to 6.5 m, the wall begins at 6.35 m."""
    wall_m = 6.35

    def parts(points, time_s):
        solid = (points[:, 0] > wall_m) & (points[:, 0] < wall_m + 0.1)
        nothing = torch.zeros(len(points))
        return Parts(torch.where(solid, 60.0, 0.0), nothing, torch.zeros(len(points), 4), nothing)

    monkeypatch.setattr(scene_field, "parts", parts)
    grid = scene_field.proposals
    grid.static.zero_()
    grid.moving.zero_()
    column = scene_field.unit(torch.tensor([[wall_m, 0.0, 0.0]]))[0, 0] * len(grid.static)
    grid.static[int(column)] = 30.0
    aside = torch.linspace(-1, 1, 50)
    rays = Rays(torch.zeros(50, 3), torch.stack([0 * aside + 1, aside, 0.1 * aside], dim=-1))
    moment, config = scene_field.at(0.5), RenderConfig()
    edges = march_edges(config, 0.8, 50.0)
    seen = render_rays(moment, rays, ray_edges(moment, rays, edges, config.fine_samples))
    assert seen.opacity.min() > 0.9
    torch.testing.assert_close(seen.depth_m, torch.full((50,), wall_m), atol=0.1, rtol=0)


def test_a_moment_can_be_asked_in_the_vehicle_s_frame(scene_field):
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    pose[:3, 3] = torch.tensor([2.0, 0.0, 1.0])
    in_ego = scene_field.at(0.5).seen_from(pose)
    placed = POINTS @ pose[:3, :3].T + pose[:3, 3]
    torch.testing.assert_close(in_ego.density(POINTS), scene_field.at(0.5).density(placed))
    view = torch.tensor([[0.0, 1.0, 0.0]]).expand(3, 3)
    expected = scene_field(placed, view @ pose[:3, :3].T, 0.5).rgb
    torch.testing.assert_close(in_ego(POINTS, view).rgb, expected)
    torch.testing.assert_close(in_ego.sky(view), scene_field.sky(view @ pose[:3, :3].T))
    assert torch.equal(scene_field.at(0.5).sky(view), scene_field.sky(view))


@torch.no_grad()
def test_occupancy_is_asked_like_any_field_s(scene_field, monkeypatch):
    every = occupancy.voxel_centers_m(torch.device("cpu"))[::40, ::40, ::8]
    monkeypatch.setattr(occupancy, "voxel_centers_m", lambda device: every)
    found = occupancy.occupancy_density(scene_field.at(0.5), torch.device("cpu"))
    above, below = occupancy.voxel_samples_m(torch.device("cpu"))
    moment = scene_field.at(0.5)
    expected = torch.maximum(moment.density(every + above), moment.density(every + below))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("time_s", [None, 0.4])
def test_every_weight_has_a_gradient(scene_field, time_s):
    scene_field.flow_head[-1].weight.data.normal_()
    sample = scene_field(POINTS, None, time_s)
    (sample.density.log().sum() + sample.rgb.sum()).backward()
    without = {name for name, p in scene_field.named_parameters() if p.grad is None}
    moving = {"moving", "flow_grid", "moving_head", "flow_head"}
    expected = {"sky_grid", "sky_head", "exposure", "vignette"} | (
        moving if time_s is None else set()
    )
    assert {name.split(".")[0] for name in without} == expected


def test_the_sky_can_hold_clouds(scene_config):
    """A pattern of 15 degrees, which the harmonics alone leave grey."""
    torch.manual_seed(0)
    field = SceneField(scene_config)
    around = torch.arange(0, 2 * math.pi, math.pi / 180)
    directions = torch.stack([around.cos(), around.sin(), torch.full_like(around, 0.3)], dim=-1)
    clouds = (0.5 + 0.4 * (24 * around).sin())[:, None].expand(-1, 3)
    parameters = [*field.sky_grid.parameters(), *field.sky_head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(150):
        loss = (field.sky(directions) - clouds).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * clouds.var()
