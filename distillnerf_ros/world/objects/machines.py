"""Construction vehicles: excavators, wheel loaders, road rollers, cranes and forklifts."""

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import DARK, GLASS, STEEL, Color, choose
from distillnerf_ros.world.objects.vehicle_parts import wheels
from distillnerf_ros.world.shapes import Shape, Texture, Vector

_COATS: dict[str, Color] = {
    "yellow": (0.72, 0.44, 0.02),
    "orange": (0.7, 0.2, 0.02),
    "green": (0.05, 0.3, 0.1),
}


def construction_vehicle(rng: np.random.Generator) -> Model:
    """One of several machines, mostly yellow."""
    name = str(rng.choice(list(_COATS), p=[0.7, 0.2, 0.1]))
    color = choose(rng, (_COATS[name],))
    kinds = {
        "excavator": _excavator,
        "wheel loader": _loader,
        "road roller": _roller,
        "mobile crane": _crane,
        "forklift": _forklift,
    }
    kind = str(rng.choice(list(kinds), p=[0.4, 0.25, 0.13, 0.12, 0.1]))
    shape, size = kinds[kind](rng, color)
    return Model(kind, "vehicle.construction", size, name, shape)


_Built = tuple[Shape, tuple[float, float, float]]


def _cabin(shape: Shape, x: float, y: float, foot: float, color: Color) -> None:
    """A glazed cabin with a painted roof."""
    shape.box((x, y, foot + 0.7), (1.3, 1.0, 1.4), GLASS, Texture.GLASS, lean=(0.15, 0, 0.05))
    shape.box((x, y, foot + 1.45), (1.4, 1.1, 0.12), color, Texture.PAINT)
    shape.box((x, y, foot + 0.15), (1.34, 1.04, 0.3), color, Texture.PAINT)


def _excavator(rng: np.random.Generator, color: Color) -> _Built:
    shape = Shape()
    for side in (1, -1):
        shape.box(
            (0, side * 1.0, 0.45), (3.4, 0.55, 0.9), DARK, Texture.BARK, lean=(0.25, 0.25, 0)
        )
        shape.tube((1.35, side * 1.3, 0.45), (1.35, side * 0.7, 0.45), 0.42, STEEL)
        shape.tube((-1.35, side * 1.3, 0.45), (-1.35, side * 0.7, 0.45), 0.42, STEEL)
    shape.tube((0, 0, 0.8), (0, 0, 1.05), 0.8, DARK)
    shape.box((-0.7, 0, 1.6), (2.6, 2.4, 1.1), color, Texture.PAINT, lean=(0, 0.15, 0.05))
    shape.box((-1.8, 0, 1.55), (0.7, 2.3, 1.2), DARK, lean=(0, 0.3, 0.1))
    _cabin(shape, 0.55, 0.65, 1.15, color)
    reach = float(rng.uniform(0.9, 1.15))
    knee = (2.6 * reach, -0.2, 3.6 * reach)
    elbow, hand = (4.3 * reach, -0.2, 2.9 * reach), (4.0 * reach, -0.2, 0.9)
    _beam(shape, (0.5, -0.2, 1.5), knee, 0.42, color)
    _beam(shape, knee, elbow, 0.36, color)
    _beam(shape, elbow, hand, 0.3, color)
    shape.tube((0.9, -0.2, 1.4), (2.0, -0.2, 2.9), 0.09, STEEL)
    shape.box((hand[0] - 0.2, -0.2, 0.55), (0.9, 1.0, 0.8), (0.1, 0.09, 0.08), lean=(0.5, -0.2, 0))
    return shape, (4.3 * reach + 2.4, 2.6, 3.7 * reach)


def _beam(shape: Shape, start: Vector, end: Vector, thick: float, color: Color) -> None:
    """A box girder between two points in the plane y = const."""
    dx, dz = end[0] - start[0], end[2] - start[2]
    length = float(np.hypot(dx, dz))
    middle = ((start[0] + end[0]) / 2, start[1], (start[2] + end[2]) / 2)
    shape.box(
        middle,
        (length + thick * 0.6, thick * 0.9, thick),
        color,
        Texture.PAINT,
        pitch=float(-np.arctan2(dz, dx)),
    )


def _loader(rng: np.random.Generator, color: Color) -> _Built:
    shape = Shape()
    wheels(shape, (1.3, -1.5), 2.6, 0.75, 0.6)
    shape.box((-1.6, 0, 1.45), (2.2, 1.7, 1.1), color, Texture.PAINT, lean=(0, 0.2, 0.1))
    shape.box((0.6, 0, 1.1), (2.2, 1.2, 0.7), color, Texture.PAINT)
    _cabin(shape, -0.2, 0.0, 1.6, color)
    for side in (1, -1):
        _beam(shape, (0.6, side * 0.6, 1.7), (2.7, side * 0.6, 0.7), 0.26, color)
    shape.box(
        (3.0, 0, 0.6), (0.9, 2.7, 0.95), (0.13, 0.12, 0.1), Texture.BARK, lean=(-0.4, 0.5, 0)
    )
    shape.tube((-2.0, 0.4, 1.9), (-2.0, 0.4, 2.6), 0.07, STEEL)
    return shape, (6.3, 2.7, 3.2)


def _roller(rng: np.random.Generator, color: Color) -> _Built:
    shape = Shape()
    for x in (1.5, -1.5):
        shape.tube((x, 0.95, 0.7), (x, -0.95, 0.7), 0.7, (0.2, 0.2, 0.21), Texture.BARK)
    shape.box((0.0, 0, 1.25), (3.8, 1.5, 0.7), color, Texture.PAINT, lean=(0.05, 0.05, 0.05))
    shape.box((0.1, 0, 1.8), (0.7, 0.6, 0.5), DARK)
    for x in (0.8, -0.7):
        for side in (1, -1):
            shape.box((x, side * 0.6, 2.05), (0.08, 0.08, 1.1), DARK)
    shape.box((0.05, 0, 2.65), (1.9, 1.5, 0.1), color, Texture.PAINT)
    return shape, (4.5, 1.95, 2.7)


def _crane(rng: np.random.Generator, color: Color) -> _Built:
    shape = Shape()
    wheels(shape, (3.2, 1.6, -1.6, -3.2), 2.6, 0.6, 0.4)
    shape.box((0, 0, 1.15), (9.0, 2.5, 0.7), color, Texture.PAINT)
    _cabin(shape, 3.8, 0.5, 1.4, color)
    shape.box((-1.2, 0, 2.1), (3.0, 2.2, 1.2), color, Texture.PAINT, lean=(0.2, 0, 0.1))
    _cabin(shape, -0.2, -0.7, 1.6, color)
    _beam(shape, (-2.2, 0.2, 2.6), (5.6, 0.2, 4.6), 0.6, color)
    shape.tube((5.7, 0.2, 4.5), (5.7, 0.2, 2.8), 0.04, DARK)
    shape.box(
        (5.7, 0.2, 2.7),
        (0.35, 0.3, 0.45),
        (0.6, 0.4, 0.02),
        Texture.STRIPES,
        color2=DARK,
        param=0.2,
    )
    return shape, (11.0, 2.7, 4.8)


def _forklift(rng: np.random.Generator, color: Color) -> _Built:
    shape = Shape()
    wheels(shape, (0.7, -0.7), 1.25, 0.32, 0.25)
    shape.box((-0.4, 0, 0.75), (1.6, 1.15, 0.8), color, Texture.PAINT, lean=(0, 0.25, 0.05))
    for x in (0.5, -0.7):
        for side in (1, -1):
            shape.box((x, side * 0.5, 1.6), (0.07, 0.07, 1.1), DARK)
    shape.box((-0.1, 0, 2.15), (1.4, 1.1, 0.07), DARK)
    for side in (1, -1):
        shape.box((0.95, side * 0.3, 1.2), (0.12, 0.12, 2.2), STEEL)
        shape.box((1.5, side * 0.25, 0.15), (1.1, 0.14, 0.07), STEEL)
    shape.box((1.5, 0, 0.55), (0.9, 0.9, 0.7), (0.35, 0.22, 0.1), Texture.BARK)
    return shape, (3.6, 1.3, 2.3)
