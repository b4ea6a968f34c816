"""Rays against single solids and packets of rays."""

import math

import pytest
import torch

from distillnerf_ros.world.primitives import Primitives, SolidTable, pose
from distillnerf_ros.world.shapes import Shape
from distillnerf_ros.world.solids import Packets, inside, nearest

GREY = (0.5, 0.5, 0.5)


def placed(shape: Shape) -> Primitives:
    table = SolidTable.from_shapes([shape], 0)
    count = len(table.owner)
    return pose(table, torch.eye(4).repeat(count, 1, 1), torch.zeros(count), -1)


def first_hit(
    primitives: Primitives, origins: torch.Tensor, directions: torch.Tensor, size: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    packets = Packets.from_rays(origins, directions, size)
    limit = torch.full_like(packets.origins[:, 0], torch.inf)
    t, solid = nearest(primitives, packets, limit)
    return t.reshape(-1)[: len(origins)], solid.reshape(-1)[: len(origins)]


def random_rays(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    origins = torch.randn(count, 3, generator=generator)
    origins = 6 * origins / origins.norm(dim=1, keepdim=True)
    targets = torch.rand(count, 3, generator=generator) * 2.4 - 1.2
    return origins, targets - origins


def clutter() -> Shape:
    shape = Shape()
    shape.box((0, 0, 0), (2.0, 1.2, 0.8), GREY, lean=(0.5, 0.1, 0.3), yaw=0.4, pitch=0.3)
    shape.ellipsoid((0.6, -0.5, 0.7), (1.0, 0.7, 0.5), GREY, pitch=0.5)
    shape.tube((-1, -0.8, -0.9), (-0.4, 0.3, 1.0), 0.3, GREY)
    shape.tube((0.9, 0.9, -1), (0.9, 0.9, 0.8), 0.4, GREY, top=0.05)
    return shape


def test_box_at_known_distance() -> None:
    shape = Shape()
    shape.box((7, 0, 0), (2.0, 4.0, 4.0), GREY)
    origins = torch.zeros(3, 3)
    directions = torch.tensor([[1.0, 0, 0], [0.5, 0, 0], [-1.0, 0, 0]])
    t, solid = first_hit(placed(shape), origins, directions)
    torch.testing.assert_close(t, torch.tensor([6.0, 12.0, torch.inf]))
    assert solid.tolist() == [0, 0, -1]


def test_sphere_cylinder_and_cone_in_closed_form() -> None:
    shape = Shape()
    shape.ellipsoid((10, 0, 0), (4.0, 4.0, 4.0), GREY)
    shape.tube((0, 10, -1), (0, 10, 1), 1.5, GREY)
    shape.tube((-10, 0, 0), (-10, 0, 2), 1.0, GREY, top=0.0)
    directions = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0]])
    origins = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 1.0]])
    t, solid = first_hit(placed(shape), origins, directions)
    # The cone is half as wide at half its height.
    torch.testing.assert_close(t, torch.tensor([8.0, 8.5, 9.5]), atol=1e-4, rtol=0)
    assert solid.tolist() == [0, 1, 2]


def test_leaning_wall_moves_in_with_height() -> None:
    shape = Shape()
    shape.box((5, 0, 1), (2.0, 2.0, 2.0), GREY, lean=(0.0, 0.5, 0.0))
    origins = torch.tensor([[0.0, 0, 0.001], [0, 0, 1.0], [0, 0, 1.999]])
    t, _ = first_hit(placed(shape), origins, torch.tensor([[1.0, 0, 0]]).expand(3, 3))
    torch.testing.assert_close(t, torch.tensor([4.0, 4.25, 4.5]), atol=2e-3, rtol=0)


def test_hits_agree_with_marching_through_the_inside_test() -> None:
    primitives = placed(clutter())
    origins, directions = random_rays(120)
    t, solid = first_hit(primitives, origins, directions)
    steps = torch.linspace(0, 1.6, 3200)
    points = origins[:, None] + steps[:, None] * directions[:, None]
    expected = torch.full_like(t, torch.inf)
    for index in range(len(primitives.radius)):
        kind = bool(primitives.quadric[index])
        within = inside(
            primitives, torch.tensor([index]), points.reshape(1, -1, 3), quadric=kind
        ).view(points.shape[:2])
        first = torch.where(within.any(dim=1), steps[within.int().argmax(dim=1)], torch.inf)
        expected = torch.minimum(expected, first)
    met = torch.isfinite(expected)
    assert met.sum() > 60
    grazing = torch.isfinite(t) & ~met  # thinner than the marching step
    assert grazing.sum() <= 2
    torch.testing.assert_close(t[met], expected[met], atol=1e-3, rtol=0)
    assert ((solid >= 0) == torch.isfinite(t)).all()


@pytest.mark.parametrize("size", [1, 7, 120])
def test_culling_in_packets_changes_nothing(size: int) -> None:
    primitives = placed(clutter())
    origins, directions = random_rays(120)
    alone, _ = first_hit(primitives, origins, directions, 1)
    together, _ = first_hit(primitives, origins, directions, size)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_many_candidates_in_one_packet() -> None:
    shape = Shape()
    for index in range(40):
        shape.box((5 + index, 0.2 * math.sin(index), 0), (0.4, 0.2, 9.0), GREY)
    origins = torch.zeros(64, 3)
    directions = torch.stack(
        [torch.ones(64), torch.linspace(-0.06, 0.06, 64), torch.zeros(64)], dim=1
    )
    alone, first = first_hit(placed(shape), origins, directions, 1)
    together, second = first_hit(placed(shape), origins, directions, 64)
    torch.testing.assert_close(alone, together)
    assert first.tolist() == second.tolist()


def test_limit_hides_what_lies_behind() -> None:
    shape = Shape()
    shape.box((7, 0, 0), (2.0, 4.0, 4.0), GREY)
    packets = Packets.from_rays(torch.zeros(2, 3), torch.tensor([[1.0, 0, 0]]).expand(2, 3), 2)
    t, solid = nearest(placed(shape), packets, torch.tensor([[5.0, 50.0]]))
    torch.testing.assert_close(t, torch.tensor([[5.0, 6.0]]))
    assert solid.tolist() == [[-1, 0]]


def test_groups_see_their_own_solids_only() -> None:
    shape = Shape()
    shape.box((7, 0, 0), (2.0, 4.0, 4.0), GREY)
    table = SolidTable.from_shapes([shape], 0)
    later = torch.eye(4)[None].clone()
    later[0, 0, 3] = 3.0
    both = Primitives.concatenate(
        [pose(table, torch.eye(4)[None], torch.zeros(1), 0), pose(table, later, torch.zeros(1), 1)]
    )
    rays = Packets.from_rays(torch.zeros(2, 3), torch.tensor([[1.0, 0, 0]]).expand(2, 3), 1)
    packets = Packets(rays.origins, rays.directions, torch.tensor([0, 1]))
    t, _ = nearest(both, packets, torch.full((2, 1), torch.inf))
    torch.testing.assert_close(t[:, 0], torch.tensor([6.0, 9.0]))


def test_limb_swings_about_its_pivot() -> None:
    shape = Shape()
    shape.tube((0, 0, 0), (0, 0, 1), 0.05, GREY, swing=math.pi / 2, pivot_m=1.0)
    table = SolidTable.from_shapes([shape], 0)
    posed = pose(table, torch.eye(4)[None], torch.tensor([math.pi / 2]), -1)
    torch.testing.assert_close(posed.center, torch.tensor([[-0.5, 0.0, 1.0]]), atol=1e-5, rtol=0)


def test_thread_count_changes_no_byte() -> None:
    primitives = placed(clutter())
    origins, directions = random_rays(4000)
    threads, hits = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            hits.append(first_hit(primitives, origins, directions, 128))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(hits[0][0], hits[1][0])
    assert torch.equal(hits[0][1], hits[1][1])
