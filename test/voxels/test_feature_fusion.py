"""Features of voxels: the linear read-out at first, what goes in, and what training can learn."""

import dataclasses
import math

import pytest
import torch

from distillnerf_ros.cameras.visibility import Told, Visibility
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.feature_fusion import NEARBY_M, FeatureFusion, _known, _latents
from distillnerf_ros.voxels.field import FieldHeads, VoxelField
from distillnerf_ros.voxels.grid import GridLayout, build_grid

LAYOUT = GridLayout(Contraction((50.0, 50.0, 6.4), 0.8), (20, 16, 8), 4)
LATENT, FEATURES = 7, 5
ROWS, COLS = 6, 12
# One camera that looks along ego x, and one a metre to its left that looks along ego y.
FORWARD = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
LEFTWARD = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 1], [0, -1, 0, 1.5], [0, 0, 0, 1]])
K = torch.tensor([[50.0, 0, 50], [0, 50, 25], [0, 0, 1]])


@pytest.fixture
def field() -> VoxelField:
    generator = torch.Generator().manual_seed(1)
    low, high = torch.tensor([-40.0, -40, -1]), torch.tensor([40.0, 40, 5])
    points = low + (high - low) * torch.rand(2000, 3, generator=generator)
    grid = build_grid(LAYOUT, points, torch.ones(2000, dtype=torch.bool), 900, 9999)[0]
    depth = 5 + 30 * torch.rand(2, ROWS, COLS, generator=generator)
    depth[:, 0] = torch.inf
    pictures = Told(
        depth,
        torch.rand(2, ROWS, COLS, 4, generator=generator),
        torch.randn(2, ROWS, COLS, LATENT, generator=generator),
    )
    poses = torch.stack([FORWARD, LEFTWARD])
    density = 3 * torch.rand(grid.coarse_count * 64, generator=generator)
    torch.manual_seed(2)
    return VoxelField(
        grid,
        torch.cat([density, torch.zeros(64)]),
        torch.cat([torch.randn(grid.fine_count, 3, generator=generator), torch.zeros(1, 3)]),
        torch.cat([torch.randn(grid.coarse_count, 4, generator=generator), torch.zeros(1, 4)]),
        FieldHeads(LATENT, FEATURES, 2),
        torch.zeros(2),
        Visibility(K.repeat(2, 1, 1), poses, (50, 100), depth),
        told=pictures,
    )


def some_centers(count: int = 60) -> torch.Tensor:
    """Before, beside and behind the cameras; at height 0.6 at most half of the sky is met."""
    generator = torch.Generator().manual_seed(3)
    low, high = torch.tensor([-10.0, -20, -1]), torch.tensor([35.0, 35, 5])
    return low + (high - low) * torch.rand(count, 3, generator=generator)


def slow_latent(field: VoxelField, center: torch.Tensor) -> torch.Tensor:
    around = [center + torch.tensor(offset) for offset in NEARBY_M]
    weights = [float(field.density(x).clamp(max=1)) + 1e-2 for x in around]
    total = sum(w * field.latent(x) for w, x in zip(weights, around, strict=True))
    return total / sum(weights)


def test_untrained_it_is_the_linear_read_out_of_the_mean_latent(field):
    centers = some_centers()
    said = FeatureFusion(LATENT, FEATURES)(field, centers)
    for center, features in zip(centers, said, strict=True):
        torch.testing.assert_close(features, field.heads.features(slow_latent(field, center)))


def test_without_pictures_it_stays_the_linear_read_out(field):
    fusion = FeatureFusion(LATENT, FEATURES)
    linear = fusion(field, some_centers())
    torch.nn.init.normal_(fusion.net[-1].weight)
    assert not torch.equal(fusion(field, some_centers()), linear)
    silent = dataclasses.replace(field, told=None)
    assert torch.equal(fusion(silent, some_centers()), linear)


def slow_known(field: VoxelField, center: torch.Tensor) -> list[float]:
    """The same numbers, one voxel and one camera after the other."""
    pixels = []
    for camera, pose in enumerate((FORWARD, LEFTWARD)):
        x, y, z = (pose[:3, :3].T @ (center - pose[:3, 3])).tolist()
        if z <= 0.1:
            continue
        col = math.floor((50 * x / z + 50) * COLS / 100)
        row = math.floor((50 * y / z + 25) * ROWS / 50)
        if 0 <= col < COLS and 0 <= row < ROWS:
            pixels.append((camera, row, col, z))
    depth = [float(field.visibility.depth_m[c, r, u]) for c, r, u, _ in pixels]
    behind = [(d - z) / max(z, 0.5) for d, (*_, z) in zip(depth, pixels, strict=True)]
    near = [p for d, p in zip(depth, pixels, strict=True) if abs(d - p[3]) <= 0.8 + 0.2 * p[3]]
    shown = [
        torch.stack([field.told.features[c, r, u] for c, r, u, _ in which]).mean(0)
        if which
        else torch.zeros(LATENT)
        for which in (near, pixels)
    ]
    density = [float(field.density(center + torch.tensor(o))) for o in NEARBY_M]
    numbers = [
        float(center[2]),
        math.log(max(math.hypot(*center[:2].tolist()), 0.5)),
        math.log(density[0] + 1e-3) / 3,
        math.log(sum(density) / 8 + 1e-3) / 3,
        len(near),
        len(pixels),
    ]
    if any(math.isfinite(b) for b in behind):
        best = min(range(len(pixels)), key=lambda i: abs(behind[i]))
        c, r, u, _ = pixels[best]
        numbers += [min(max(behind[best], -2), 2), *field.told.doubts[c, r, u, 1:].tolist()]
    else:
        numbers += [2.0]  # whose doubts these are does not matter
    parts = [slow_latent(field, center), field.latent(center), *shown, torch.tensor(numbers)]
    return torch.cat(parts).tolist()


def test_what_goes_in_against_one_voxel_after_the_other(field):
    centers = some_centers()
    points = centers[:, None] + torch.tensor(NEARBY_M)
    density = field.density(points)
    latent = _latents(field, field.grid.layout.locate(points), density)
    known = _known(field, centers, latent, density)
    whole = 4 * LATENT + 10
    assert known.shape == (60, whole)
    assert known.isfinite().all()
    lengths = set()
    for center, numbers in zip(centers, known.tolist(), strict=True):
        expected = slow_known(field, center)
        lengths.add(len(expected))
        assert numbers[: len(expected)] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert lengths == {whole, whole - 3}  # some are seen, some are not


def test_it_learns_what_only_the_pictures_know(field):
    """Every voxel holds the same latent; what is wanted is what the pixels say."""
    torch.manual_seed(0)
    plain = dataclasses.replace(
        field,
        fine_values=torch.ones_like(field.fine_values),
        coarse_values=torch.ones_like(field.coarse_values),
    )
    fusion, centers = FeatureFusion(LATENT, FEATURES), some_centers(2000)
    inside, pixel, _ = field.visibility.project(centers)
    centers, pixel = centers[inside[0] & ~inside[1]], pixel[0, inside[0] & ~inside[1]]
    wanted = field.told.features.flatten(0, 2)[pixel][:, :FEATURES].tanh()
    optimizer = torch.optim.Adam(fusion.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = (fusion(plain, centers) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert len(centers) > 100
    assert losses[-1] < 0.1 * losses[0]


def test_the_gradient_reaches_field_and_pictures(field):
    fusion = FeatureFusion(LATENT, FEATURES)
    torch.nn.init.normal_(fusion.net[-1].weight)
    fine = field.fine_values.clone().requires_grad_()
    shown = field.told.features.clone().requires_grad_()
    told = dataclasses.replace(field.told, features=shown)
    fusion(
        dataclasses.replace(field, fine_values=fine, told=told), some_centers()
    ).sum().backward()
    assert (fine.grad != 0).any()
    assert (shown.grad != 0).any()
