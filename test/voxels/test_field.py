"""The voxel field: nearest-voxel look-ups, empty space, proposals and sky."""

import dataclasses

import pytest
import torch

from distillnerf_ros.cameras.visibility import Visibility
from distillnerf_ros.query.occupancy import (
    occupancy_density,
    voxel_centers_m,
    voxel_samples_m,
)
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.field import Field, FieldHeads, VoxelField
from distillnerf_ros.voxels.grid import GridLayout, build_grid
from distillnerf_ros.voxels.paint import Paint, RayEnds

CPU = torch.device("cpu")
LAYOUT = GridLayout(Contraction((50.0, 50.0, 6.4), 0.8), (5, 4, 3), 4)
SPREAD = torch.tensor([30.0, 30.0, 3.0])
POINTS = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * SPREAD


@pytest.fixture(scope="module")
def field() -> VoxelField:
    generator = torch.Generator().manual_seed(1)
    keep = torch.arange(300) < 120
    grid = build_grid(LAYOUT, POINTS, keep, 30, 999)[0]
    nothing = Visibility(torch.eye(3)[None], torch.eye(4)[None], (2, 2), torch.ones(1, 2, 2))
    density = torch.rand(grid.coarse_count * 64, generator=generator)
    fine = torch.randn(grid.fine_count, 3, generator=generator)
    coarse = torch.randn(grid.coarse_count, 4, generator=generator)
    return VoxelField(
        grid,
        torch.cat([density, torch.zeros(64)]),
        torch.cat([fine, torch.zeros(1, 3)]),
        torch.cat([coarse, torch.zeros(1, 4)]),
        FieldHeads(7, 6, 2),
        torch.randn(2, generator=generator),
        nothing,
    )


def test_is_a_field(field):
    assert isinstance(field, Field)


def test_look_ups_against_a_search_over_all_voxels(field):
    grid = field.grid
    coarse_row = {cell: row for row, cell in enumerate(grid.coarse_cells.tolist())}
    fine_row = {slot: row for row, slot in enumerate(grid.fine_slots.tolist())}
    density, latent = field.density(POINTS), field.latent(POINTS)
    seen = set()
    cells, subs = (t.tolist() for t in LAYOUT.locate(POINTS))
    for i, (cell, sub) in enumerate(zip(cells, subs, strict=True)):
        block = coarse_row.get(cell)
        slot = None if block is None else block * 64 + sub
        fine = field.fine_values[fine_row.get(slot, -1)]
        coarse = field.coarse_values[-1 if block is None else block]
        assert density[i] == (0 if slot is None else field.slot_density[slot])
        assert (latent[i] == torch.cat([fine, coarse])).all()
        seen.add((block is None, slot in fine_row))
    assert len(seen) == 3  # empty space, coarse voxel alone, fine voxel


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)])
def test_points_come_in_any_shape(field, shape):
    sample = field(torch.zeros(*shape, 3))
    assert sample.density.shape == shape
    assert sample.rgb.shape == (*shape, 3)
    assert sample.features.shape == (*shape, 6)


def test_a_sample_holds_what_the_single_questions_answer(field):
    sample = field(POINTS)
    assert (sample.density == field.density(POINTS)).all()
    torch.testing.assert_close(sample.features, field.heads.features(field.latent(POINTS)))
    assert ((sample.rgb > 0) & (sample.rgb < 1)).all()


def test_proposals_are_the_largest_density_of_the_octant(field):
    coarse, sub = LAYOUT.locate(POINTS)
    corner = LAYOUT.fine_xyz(coarse, sub) // 2 * 2
    largest = torch.zeros(len(POINTS))
    for offset in torch.cartesian_prod(*[torch.arange(2)] * 3):
        cell = corner + offset
        centers = LAYOUT.contraction.expand((cell + 0.5) / torch.tensor([20, 16, 12]) * 2 - 1)
        largest = torch.maximum(largest, field.density(centers))
    assert (field.proposal_density(POINTS) == largest).all()
    assert (largest > 0).any()
    assert (largest == 0).any()


def test_proposals_carry_no_gradient(field):
    learning = dataclasses.replace(field, slot_density=field.slot_density.clone().requires_grad_())
    assert learning.density(POINTS).requires_grad
    assert not learning.proposal_density(POINTS).requires_grad


def test_an_edited_field_forgets_the_proposals_of_the_old_one(field):
    assert field.proposal_density(POINTS).max() > 0
    emptied = dataclasses.replace(field, slot_density=torch.zeros_like(field.slot_density))
    assert emptied.proposal_density(POINTS).max() == 0


def test_sky_depends_on_direction_and_not_on_its_length(field):
    directions = torch.randn(8, 3)
    sky = field.sky_latent(directions)
    torch.testing.assert_close(field.sky_latent(3 * directions), sky)
    assert not torch.allclose(field.sky_latent(-directions), sky)


def test_composited_latents_and_their_gradients_are_the_plain_weighted_sums(field):
    def learned() -> tuple[VoxelField, torch.Tensor]:
        tables = {
            name: getattr(field, name).clone().requires_grad_()
            for name in ("fine_values", "coarse_values")
        }
        weights = torch.rand(30, 10, generator=torch.Generator().manual_seed(2))
        return dataclasses.replace(field, **tables), weights.requires_grad_()

    points = POINTS.reshape(30, 10, 3)
    fast, fast_weights = learned()
    plain, plain_weights = learned()
    result = fast.composite_latent(points, fast_weights)
    expected = torch.einsum("rs,rsc->rc", plain_weights, plain.latent(points))
    torch.testing.assert_close(result, expected)
    result.square().sum().backward()
    expected.square().sum().backward()
    for got, wanted in (
        (fast_weights, plain_weights),
        (fast.fine_values, plain.fine_values),
        (fast.coarse_values, plain.coarse_values),
    ):
        torch.testing.assert_close(got.grad, wanted.grad)


def test_occupancy_looks_up_cells_it_knows_beforehand_as_it_would_points(field):
    centers = voxel_centers_m(CPU)
    samples = torch.stack([field.density(centers + step) for step in voxel_samples_m(CPU)])
    assert samples.any()
    assert torch.equal(occupancy_density(field, CPU), samples.amax(dim=0))


def test_what_the_pictures_showed_is_a_sample_s_colour(field):
    """Painted where rays of pixels ended, and in the sky they looked at; else of the latents."""
    cell = POINTS[:1]
    up, ahead = torch.tensor([[0.1, 0.2, 1.0]]), torch.tensor([[1.0, 0.0, 0.1]])
    ends = RayEnds(torch.cat([cell, cell]), torch.cat([ahead, up]), torch.tensor([True, False]))
    seen = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.4, 0.8]])
    painted = dataclasses.replace(field, painter=lambda own: Paint.fit(own.grid, ends, seen))
    points = torch.stack([cell, POINTS[1:2]])
    colors, plain = painted(points).rgb, field(points).rgb
    torch.testing.assert_close(colors[0], seen[:1], atol=1e-3, rtol=0)
    torch.testing.assert_close(colors[1], plain[1])
    torch.testing.assert_close(painted.sky(7 * up), seen[1:], atol=1e-3, rtol=0)
    assert torch.equal(painted.sky(ahead), field.sky(ahead))
    torch.testing.assert_close(
        field.sky(ahead), torch.sigmoid(field.heads.rgb(field.sky_latent(ahead)))
    )
