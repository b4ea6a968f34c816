"""Tables of solids: in object frames (``SolidTable``), and posed in the map (``Primitives``)."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.world.shapes import QUADRIC, Shape


@dataclasses.dataclass(frozen=True)
class SolidTable:
    """K solids of many objects, each in the frame of its object; constant over time.

    Attributes:
        object_from_unit: (K, 3, 4) affine maps.
        quadric: (K,) True for quadrics, False for polyhedra.
        form: (K, 3) see ``shapes.Solid``.
        owner: (K,) index of the object in the scene.
        surface: (K, 12) colour, second colour, texture, param, full sizes in metres, random seed.
        swing: (K, 2) swing amplitude in radians and pivot height in metres.
    """

    object_from_unit: Float[Tensor, "K 3 4"]
    quadric: Bool[Tensor, " K"]
    form: Float[Tensor, "K 3"]
    owner: Int[Tensor, " K"]
    surface: Float[Tensor, "K 12"]
    swing: Float[Tensor, "K 2"]

    @classmethod
    def from_shapes(cls, shapes: list[Shape], seed: int) -> "SolidTable":
        """Collect the solids of every object in order."""
        solids = [(owner, solid) for owner, shape in enumerate(shapes) for solid in shape.solids]
        affine = np.stack([solid.object_from_unit for _, solid in solids])
        sizes = 2 * np.linalg.norm(affine[:, :, :3], axis=1)
        luck = np.random.default_rng([seed, 7]).random((len(solids), 1))
        paint = [(*s.color, *s.color2, float(s.texture), s.param) for _, s in solids]
        surface = np.concatenate([np.array(paint), sizes, luck], axis=1)
        return cls(
            torch.tensor(affine, dtype=torch.float32),
            torch.tensor([solid.kind == QUADRIC for _, solid in solids]),
            torch.tensor([solid.form for _, solid in solids], dtype=torch.float32),
            torch.tensor([owner for owner, _ in solids]),
            torch.tensor(surface, dtype=torch.float32),
            torch.tensor([(s.swing, s.pivot_m) for _, s in solids], dtype=torch.float32),
        )

    def select(self, index: Tensor) -> "SolidTable":
        """The solids at an index or under a mask."""
        fields = (getattr(self, field.name)[index] for field in dataclasses.fields(self))
        return SolidTable(*fields)


@dataclasses.dataclass(frozen=True)
class Primitives:
    """K solids posed in the map frame at one or several instants.

    Attributes:
        unit_from_map: (K, 3, 4) affine maps into the unit shape.
        planes: (K, 6, 4) outward walls (n, w) of polyhedra, inside where n . p + w <= 0.
        quadric: (K,) True for quadrics.
        form: (K, 3) see ``shapes.Solid``.
        center: (K, 3) metres.
        half_axes: (K, 3, 3) columns are the half axes of the bounding parallelepiped.
        radius: (K,) of the bounding sphere in metres.
        group: (K,) the ray group (instant) that sees this solid, or -1 for all.
        owner: (K,) index of the object in the scene.
        surface: (K, 12) see ``SolidTable``.
    """

    unit_from_map: Float[Tensor, "K 3 4"]
    planes: Float[Tensor, "K 6 4"]
    quadric: Bool[Tensor, " K"]
    form: Float[Tensor, "K 3"]
    center: Float[Tensor, "K 3"]
    half_axes: Float[Tensor, "K 3 3"]
    radius: Float[Tensor, " K"]
    group: Int[Tensor, " K"]
    owner: Int[Tensor, " K"]
    surface: Float[Tensor, "K 12"]

    def select(self, index: Tensor) -> "Primitives":
        """The primitives at an index or under a mask."""
        fields = (getattr(self, field.name)[index] for field in dataclasses.fields(self))
        return Primitives(*fields)

    @staticmethod
    def concatenate(parts: list["Primitives"]) -> "Primitives":
        """Join tables."""
        names = [field.name for field in dataclasses.fields(Primitives)]
        return Primitives(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def pose(
    table: SolidTable,
    map_from_object: Float[Tensor, "K 4 4"],
    phase: Float[Tensor, " K"],
    group: int,
) -> Primitives:
    """Place solids in the map.

    Args:
        table: K solids.
        map_from_object: pose of each solid's object.
        phase: walking phase in radians of each solid's object.
        group: the ray group that sees them; -1 for all.
    """
    local = _swing(table, phase)
    linear = map_from_object[:, :3, :3] @ local[:, :, :3]
    center = (map_from_object[:, :3, :3] @ local[:, :, 3:])[..., 0] + map_from_object[:, :3, 3]
    inverse = torch.linalg.inv(linear)
    unit_from_map = torch.cat([inverse, -inverse @ center[:, :, None]], dim=2)
    return Primitives(
        unit_from_map,
        _walls(unit_from_map, table.form),
        table.quadric,
        table.form,
        center,
        linear,
        _bounding_radius(linear, table.quadric),
        torch.full_like(table.owner, group),
        table.owner,
        table.surface,
    )


def _swing(table: SolidTable, phase: Float[Tensor, " K"]) -> Float[Tensor, "K 3 4"]:
    """Turn limbs about the y axis through their pivot."""
    angle = table.swing[:, 0] * torch.sin(phase)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    one = torch.ones_like(angle)
    turn = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], 1).view(-1, 3, 3)
    pivot = torch.stack([zero, zero, table.swing[:, 1]], dim=1)[:, :, None]
    moved = torch.cat(
        [table.object_from_unit[:, :, :3], table.object_from_unit[:, :, 3:] - pivot], dim=2
    )
    moved = turn @ moved
    return torch.cat([moved[:, :, :3], moved[:, :, 3:] + pivot], dim=2)


def _bounding_radius(linear: Float[Tensor, "K 3 3"], quadric: Bool[Tensor, " K"]) -> Tensor:
    """Radius of a sphere around the centre; the box corner, or the long axis of ellipsoids."""
    corner = linear.norm(dim=1).square().sum(dim=1).sqrt()
    return corner + 0 * quadric


def _walls(unit_from_map: Float[Tensor, "K 3 4"], form: Float[Tensor, "K 3"]) -> Tensor:
    """Six outward walls in map coordinates; a wall leans inwards by ``form`` towards the top."""
    front, back, side = (form / 2).unbind(dim=1)
    zero, one = torch.zeros_like(front), torch.ones_like(front)
    normals = torch.stack(
        [
            torch.stack([one, zero, front], 1),
            torch.stack([-one, zero, back], 1),
            torch.stack([zero, one, side], 1),
            torch.stack([zero, -one, side], 1),
            torch.stack([zero, zero, one], 1),
            torch.stack([zero, zero, -one], 1),
        ],
        dim=1,
    )
    offsets = torch.stack([1 - front, 1 - back, 1 - side, 1 - side, one, one], dim=1)
    walls = normals @ unit_from_map
    walls[..., 3] -= offsets
    return walls
