"""Rendering of analytic fields in closed form, and of voxel fields against brute force."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import pytest
import torch

from distillnerf_ros.cameras import Rays, camera_rays
from distillnerf_ros.cameras.visibility import Visibility
from distillnerf_ros.config import tiny
from distillnerf_ros.render.compositing import composite, ray_weights
from distillnerf_ros.render.renderer import (
    RayResult,
    image_edges,
    march_edges,
    propose,
    ray_edges,
    render_rays,
)
from distillnerf_ros.render.sampling import importance_edges, interval_probability
from distillnerf_ros.voxels.field import Field, FieldHeads, FieldSample, VoxelField
from distillnerf_ros.voxels.grid import GridLayout, build_grid

EDGES = march_edges(tiny().render, 0.8, 50.0)


@dataclasses.dataclass(frozen=True)
class Analytic:
    """A field of a density that is a formula, white and without features."""

    formula: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, points_m, directions=None, time=None) -> FieldSample:
        white = torch.ones_like(points_m)
        return FieldSample(self.formula(points_m), white, points_m[..., :0])

    def density(self, points_m):
        return self.formula(points_m)

    def proposal_density(self, points_m):
        return self.formula(points_m).detach()

    def sky(self, directions):
        return torch.zeros_like(directions)


def slab(near_m: float, far_m: float, sigma: float) -> Analytic:
    """Uniform between two planes across ego x."""
    return Analytic(lambda p: sigma * ((p[..., 0] > near_m) & (p[..., 0] < far_m)).to(p))


def forward_rays(make_rig, grid_size=(9, 16)) -> Rays:
    """Rays of a camera at the ego origin that looks along x."""
    rig = make_rig(count=1)
    pose = rig.ego_from_camera.clone()
    pose[0, :3, 3] = 0
    return camera_rays(rig.intrinsics, pose, rig.image_size, grid_size)


def render(field: Field, rays: Rays, samples: int = 64, **kwargs) -> RayResult:
    return render_rays(field, rays, ray_edges(field, rays, EDGES, samples), **kwargs)


def test_analytic_is_a_field():
    assert isinstance(slab(1, 2, 3), Field)


def test_a_plane_at_five_metres_is_five_metres_deep_in_every_pixel(make_rig):
    """Depth is along the optical axis: rays to the corner are longer, not deeper."""
    rays = forward_rays(make_rig)
    assert rays.lengths.max() > 1.15
    result = render(slab(5.0, 60.0, 8000.0), rays, samples=256)
    torch.testing.assert_close(result.depth_m, torch.full((144,), 5.0), atol=0.03, rtol=0)
    torch.testing.assert_close(result.opacity, torch.ones(144))


def test_depth_starts_at_the_camera_and_not_at_the_ego_origin(make_rig):
    rays = forward_rays(make_rig)
    moved = Rays(rays.origins + torch.tensor([2.0, 1.0, 1.0]), rays.directions)
    result = render(slab(5.0, 60.0, 8000.0), moved, samples=256)
    torch.testing.assert_close(result.depth_m, torch.full((144,), 3.0), atol=0.03, rtol=0)


def test_opacity_of_a_slab_follows_the_metres_within(make_rig):
    rays = forward_rays(make_rig)
    result = render(slab(6.0, 10.0, 0.2), rays, samples=512)
    expected = 1 - torch.exp(-0.2 * 4.0 * rays.lengths)
    torch.testing.assert_close(result.opacity, expected, atol=0.01, rtol=0)


def test_mean_depth_in_a_slab(make_rig):
    """The mean of an exponential that is cut off at the slab's end."""
    result = render(slab(6.0, 10.0, 0.5), forward_rays(make_rig, (1, 1)), samples=512)
    x = 0.5 * 4.0
    expected = 6.0 + 1 / 0.5 - 4.0 * math.exp(-x) / (1 - math.exp(-x))
    assert float(result.depth_m) == pytest.approx(expected, abs=0.05)


def test_empty_space(make_rig):
    result = render(slab(5.0, 5.0, 1.0), forward_rays(make_rig))
    assert (result.opacity == 0).all()
    assert result.depth_m.isfinite().all()


def test_values_of_any_width_are_composited(make_rig):
    rays = forward_rays(make_rig)
    field = slab(6.0, 10.0, 0.2)
    constant = torch.tensor([1.0, -2.0, 3.0, 0.5, 7.0])
    result = render(
        field, rays, values=lambda p, w: composite(w, constant.expand(*p.shape[:-1], 5))
    )
    torch.testing.assert_close(result.values, result.opacity[:, None] * constant)
    position = render(
        slab(5.0, 60.0, 8000.0), rays, samples=256, values=lambda p, w: composite(w, p)
    )
    hit = rays.origins + 5 * rays.directions
    torch.testing.assert_close(position.values, hit, atol=0.04, rtol=0)


def test_gradient_makes_the_surface_denser_where_it_is_too_far(make_rig):
    sigma = torch.tensor(0.3, requires_grad=True)
    field = Analytic(lambda p: sigma * (p[..., 0] > 5.0))
    render(field, forward_rays(make_rig)).depth_m.mean().backward()
    assert sigma.grad < 0


@pytest.mark.parametrize("shape", [(1, 9, 16), (2, 8, 7)])
def test_neighbours_share_the_proposals_of_every_fourth_ray(make_rig, shape):
    rig = make_rig(count=shape[0])
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, shape[1:])
    field = slab(5.0, 6.0, 1.0)
    shared = image_edges(field, rays, EDGES, 40, shape)
    assert shared.shape == (math.prod(shape), 41)
    marched = propose(field, rays, EDGES)
    found = marched.amax(-1) > 0.1
    assert found.any()
    interval = marched.argmax(-1, keepdim=True)
    near, far = (EDGES[place] for place in (interval, interval + 1))
    middles = (shared[:, 1:] + shared[:, :-1]) / 2
    looks = ((middles > near) & (middles < far)).sum(dim=1)
    assert (looks[found] >= 2).all()  # of 40: a twentieth of what the first pass says at least


def test_every_fourth_ray_of_an_image_looks_where_its_surroundings_lie(make_rig):
    """The slow way: a maximum over nine rays, then the inverse of their distribution."""
    rig, shape = make_rig(count=1), (1, 6, 8)
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, shape[1:])
    field = Analytic(lambda p: 1.0 * (p[..., 0] > 5 + p[..., 1].abs()))
    marched = propose(field, rays, EDGES).reshape(6, 8, -1)[::2, ::2]
    edges = image_edges(field, rays, EDGES, 16, shape).reshape(6, 8, -1)
    for row, col in itertools.product(range(6), range(8)):
        r, c = row // 2, col // 2
        around = marched[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].flatten(0, 1).amax(0)
        expected = importance_edges(EDGES, interval_probability(around[None]), 16)[0]
        torch.testing.assert_close(edges[row, col], expected)


def street(seed: int) -> VoxelField:
    """A road, walls and clutter as voxels of tiny's size with random densities."""
    generator = torch.Generator().manual_seed(seed)

    def scatter(count: int, low: list[float], high: list[float]) -> torch.Tensor:
        low, high = torch.tensor(low), torch.tensor(high)
        return low + (high - low) * torch.rand(count, 3, generator=generator)

    parts = [scatter(60_000, [-45, -12, -0.2], [45, 12, 0.0])]
    parts += [scatter(20_000, [-45, y, 0.0], [45, y + 0.5, 6.0]) for y in (-12.0, 12.0)]
    corners = scatter(25, [-40, -10, 0], [40, 10, 0])
    parts += [c + scatter(600, [0, 0, 0], [2, 2, 1.7]) for c in corners]
    points = torch.cat(parts)
    layout = GridLayout.from_config(tiny().grid)
    keep = torch.ones(len(points), dtype=torch.bool)
    grid = build_grid(layout, points, keep, 16_000, 160_000)[0]
    exists = (grid.fine_table < grid.fine_count).reshape(-1)
    density = torch.exp(3 * torch.rand(len(exists), generator=generator)) * exists
    nowhere = Visibility(torch.eye(3)[None], torch.eye(4)[None], (2, 2), torch.ones(1, 2, 2))
    empty = torch.zeros(1, 1)
    heads = FieldHeads(2, 1, 1)
    return VoxelField(
        grid,
        torch.cat([density, torch.zeros(64)]),
        torch.cat([torch.rand(grid.fine_count, 1, generator=generator), empty]),
        torch.cat([torch.rand(grid.coarse_count, 1, generator=generator), empty]),
        heads,
        torch.zeros(1),
        nowhere,
    )


def brute_force(field: Field, rays: Rays, samples: int = 2000) -> RayResult:
    """Even marching, far too fine to miss a voxel of 0.25 m."""
    edges = torch.linspace(0.5, 120.0, samples + 1)
    middles = ((edges[1:] + edges[:-1]) / 2).expand(len(rays.origins), -1)
    weights = ray_weights(field.density(rays.at(middles)), edges.diff() * rays.lengths[:, None])
    opacity = weights.sum(-1)
    depth = (weights * middles).sum(-1) / opacity.clamp(min=1e-6)
    return RayResult(depth, opacity, None, weights, middles)


def test_two_passes_against_brute_force(make_rig):
    """24 samples after the first pass see what 2000 even ones see, thin shells included.

    Proposals that hid everything behind them once lost 4.9 % of the surfaces.
    """
    field, rig = street(0), make_rig((128, 224), count=1)
    shape = (1, 64, 112)
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, shape[1:])
    edges = image_edges(field, rays, EDGES, 24, shape)
    some = torch.randperm(len(rays.origins), generator=torch.Generator().manual_seed(0))[:1500]
    truth = brute_force(field, rays.select(some))
    result = render_rays(field, rays.select(some), edges[some])
    assert (result.opacity - truth.opacity).abs().mean() < 0.02
    surface = truth.opacity > 0.9
    assert surface.float().mean() > 0.5
    assert (result.opacity < 0.5)[surface].float().mean() < 0.015
    error = ((result.depth_m - truth.depth_m).abs() / truth.depth_m)[surface]
    assert error.median() < 0.01
    assert error.mean() < 0.03


def test_first_pass_alone_finds_the_surface_of_a_single_ray(make_rig):
    field, rays = street(1), forward_rays(make_rig, (16, 28))
    rays = Rays(rays.origins + torch.tensor([0.0, 0.0, 1.6]), rays.directions)
    truth, found = brute_force(field, rays, 1000), render(field, rays, 24)
    surface = truth.opacity > 0.9
    assert (found.opacity < 0.5)[surface].float().mean() < 0.05
