"""Rays through a whole scene."""

import torch

from distillnerf_ros.taxonomy import SKY_LABEL
from distillnerf_ros.world.caster import cast
from distillnerf_ros.world.scene import Scene


def fan(street: Scene, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays from the roof in all directions around."""
    azimuth = torch.linspace(0, 6.28, count)
    fall = torch.linspace(-0.5, 0.3, 7).repeat(count // 7 + 1)[:count]
    directions = torch.stack([azimuth.cos(), azimuth.sin(), fall], dim=1)
    start = torch.from_numpy(street.ego_pose(2.0)[:3, 3]).float()
    return (start + torch.tensor([0, 0, 1.7])).expand(count, 3), directions


def test_order_of_rays_does_not_matter(street: Scene) -> None:
    origins, directions = fan(street, 210)
    straight = cast(street, 2.0, origins, directions)
    turned = cast(street, 2.0, origins, directions.flip(0))
    torch.testing.assert_close(straight.distance, turned.distance.flip(0), atol=1e-3, rtol=1e-4)
    same = (straight.class_id == turned.class_id.flip(0)).float().mean()
    assert same > 0.99


def test_distance_counts_in_units_of_the_direction(street: Scene) -> None:
    origins, directions = fan(street, 70)
    once = cast(street, 2.0, origins, directions, shade=False)
    twice = cast(street, 2.0, origins, 2 * directions, shade=False)
    torch.testing.assert_close(once.distance, 2 * twice.distance, atol=1e-3, rtol=1e-3)


def test_straight_down_is_the_road_below(street: Scene) -> None:
    origins, _ = fan(street, 1)
    hit = cast(street, 2.0, origins, torch.tensor([[0.0, 0, -1]]))
    torch.testing.assert_close(hit.distance, torch.tensor([1.7]), atol=0.01, rtol=0)
    assert hit.class_id.tolist() == [11]
    assert hit.instance.tolist() == [0]


def test_upwards_is_sky(street: Scene) -> None:
    origins, _ = fan(street, 1)
    hit = cast(street, 2.0, origins, torch.tensor([[0.02, 0, 1.0]]))
    assert torch.isinf(hit.distance).all()
    assert hit.class_id.tolist() == [SKY_LABEL]
    assert (hit.rgb > 0).all()


def test_ray_at_an_object_meets_its_box(street: Scene) -> None:
    """Aim at the nearest vehicles' middles: something is hit at or before their boxes."""
    start = torch.from_numpy(street.ego_pose(2.0)[:3, 3]).float() + torch.tensor([0, 0, 1.7])
    boxes = [box for box in street.objects_at(2.0) if box.category.startswith("vehicle.")]
    centers = torch.tensor([box.center_m for box in boxes])
    near = (centers - start).norm(dim=1).argsort()[:30]
    directions = centers[near] - start
    hit = cast(street, 2.0, start.expand_as(directions), directions, shade=False)
    assert (hit.distance < 1.3).all()
    ids = torch.tensor([box.id for box in boxes])[near]
    assert (hit.instance == ids).sum() >= 8


def test_unshaded_rays_have_no_colour(street: Scene) -> None:
    origins, directions = fan(street, 20)
    assert (cast(street, 2.0, origins, directions, shade=False).rgb == 0).all()
