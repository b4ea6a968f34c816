"""Rays against the ground, and its zones."""

import numpy as np
import pytest
import torch

from distillnerf_ros.world.ground import (
    DRIVEABLE,
    KERB_M,
    MAX_RANGE_M,
    RASTER_CELLS,
    RASTER_M,
    RASTER_ORIGIN_M,
    SIDEWALK,
    Ground,
    bake,
)  # fmt: skip
from distillnerf_ros.world.roads import Road

ROAD = Road((0.0, 0.0), 0.0, 0.0, 300.0, 1, False, 0.0, 3.0)


def flat_ground() -> Ground:
    """Height 0, road where |y| < 4, pavement beyond, nothing green."""
    y = (torch.arange(RASTER_CELLS) + 0.5) * RASTER_M + RASTER_ORIGIN_M[1]
    edge = (y.abs() - 4.0)[:, None].expand(-1, RASTER_CELLS)
    far = torch.full_like(edge, 99.0)
    return Ground(torch.stack([torch.zeros_like(edge), edge, far, far]), (ROAD,), ())


def test_flat_road_is_hit_at_height_over_fall() -> None:
    origins = torch.tensor([[0.0, 0, 1.5]]).expand(3, 3)
    directions = torch.tensor([[1.0, 0, -0.3], [1.0, 0, -0.05], [1.0, 0, 0.2]])
    t, kerb = flat_ground().intersect(origins, directions)
    torch.testing.assert_close(t, torch.tensor([5.0, 30.0, torch.inf]), atol=2e-3, rtol=0)
    assert kerb.tolist() == [0, 0, 0]


def test_pavement_is_a_kerb_higher() -> None:
    ground = flat_ground()
    t, kerb = ground.intersect(torch.tensor([[0.0, 6, 1.5]]), torch.tensor([[1.0, 0, -0.3]]))
    torch.testing.assert_close(t, torch.tensor([(1.5 - KERB_M) / 0.3]), atol=2e-3, rtol=0)
    assert kerb.item() == 0
    assert ground.class_at(torch.tensor([[0.0, 0.0], [0.0, 6.0]])).tolist() == [
        DRIVEABLE,
        SIDEWALK,
    ]


def test_ray_meets_the_face_of_the_kerb() -> None:
    fall = (1.5 - KERB_M / 2) / 4.0  # half way up the kerb at the edge 4 m away
    t, kerb = flat_ground().intersect(torch.tensor([[0.0, 0, 1.5]]), torch.tensor([[0, 1, -fall]]))
    torch.testing.assert_close(t, torch.tensor([4.0]), atol=0.02, rtol=0)
    assert kerb.item() == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hits_lie_on_hilly_ground(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ground = bake((ROAD,), (), rng)
    azimuth = torch.linspace(0, 6.2, 200)
    fall = -torch.rand(200, generator=torch.Generator().manual_seed(seed)) * 0.6 - 0.03
    directions = torch.stack([azimuth.cos(), azimuth.sin(), fall], dim=1)
    start = torch.tensor([[0.0, 0, 0]])
    origins = (start + torch.tensor([0, 0, 1.6 + float(ground.height(start[:, :2]))])).expand(
        200, 3
    )
    t, kerb = ground.intersect(origins, directions)
    met = torch.isfinite(t) & (kerb == 0)
    assert met.float().mean() > 0.8
    points = (origins + t[:, None] * directions)[met]
    error = (points[:, 2] - ground.height(points[:, :2])).abs()
    assert error.quantile(0.95) < 0.02
    assert t[met].max() <= MAX_RANGE_M


def test_class_of_a_crossing_and_of_the_verge() -> None:
    other = Road((50.0, 0.0), np.pi / 2, 0.0, 300.0, 1, False, 0.0, 3.0)
    ground = bake((ROAD, other), (), np.random.default_rng(0))
    crossing = ground.class_at(torch.tensor([[50.0, 0.0], [50.0, 40.0], [20.0, 0.0]]))
    assert crossing.tolist() == [DRIVEABLE] * 3
    assert ground.class_at(torch.tensor([[20.0, ROAD.half_width_m + 1.0]])).item() == SIDEWALK
