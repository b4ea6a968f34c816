"""Pickups, trucks, tractors and trailers."""

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import (
    DARK,
    GLASS,
    LAMP_WHITE,
    STEEL,
    VEHICLE_SHARE,
    Color,
    choose,
    pick_paint,
    scaled,
    vary,
)
from distillnerf_ros.world.objects.vehicle_parts import lights, tail_lamps, wheels
from distillnerf_ros.world.shapes import Shape, Texture


def _truck_cab(
    shape: Shape, x_front: float, length_m: float, width_m: float, height_m: float, color: Color
) -> None:
    """A cab over its engine: big windscreen, side windows, mirrors, bumper, lamps."""
    middle = x_front - length_m / 2
    shape.box(
        (middle, 0, (0.5 + height_m) / 2),
        (length_m, width_m, height_m - 0.5),
        color,
        Texture.PAINT,
        lean=(0.08, 0.0, 0.04),
    )
    shape.box(
        (x_front - 0.08, 0, height_m * 0.68),
        (0.18, width_m * 0.9, height_m * 0.27),
        GLASS,
        Texture.GLASS,
        lean=(0.3, 0, 0),
    )
    shape.box(
        (middle + 0.15, 0, height_m * 0.68),
        (length_m * 0.5, width_m * 1.005, height_m * 0.24),
        GLASS,
        Texture.GLASS,
    )
    shape.box((x_front - 0.05, 0, 0.55), (0.22, width_m * 0.98, 0.4), DARK)
    shape.box((x_front + 0.01, 0, height_m * 0.4), (0.04, width_m * 0.6, 0.3), DARK)
    for side in (1, -1):
        shape.box(
            (x_front - 0.15, side * (width_m / 2 + 0.14), height_m * 0.66), (0.12, 0.2, 0.5), DARK
        )
        shape.box(
            (x_front + 0.05, side * (width_m / 2 - 0.35), 0.72),
            (0.06, 0.4, 0.18),
            LAMP_WHITE,
            Texture.LAMP,
        )


def truck(rng: np.random.Generator, braking: bool = False) -> Model:
    """A pickup, box truck, flatbed or dump truck."""
    kind = str(
        rng.choice(
            ["pickup truck", "box truck", "flatbed truck", "dump truck", "garbage truck"],
            p=[0.18, 0.4, 0.14, 0.16, 0.12],
        )
    )
    if kind == "pickup truck":
        return _pickup(rng, braking)
    length, width = float(rng.uniform(6.2, 9.5)), float(rng.uniform(2.3, 2.55))
    cab_height = float(rng.uniform(2.4, 2.9))
    name, color = pick_paint(rng, VEHICLE_SHARE)
    shape = Shape()
    cab = 1.9
    _truck_cab(shape, length / 2, cab, width * 0.96, cab_height, color)
    bed = length - cab - 0.15
    middle = -length / 2 + bed / 2
    height = _TRUCK_BEDS[kind](rng, shape, middle, bed, width)
    shape.box((-0.3, 0, 0.75), (length - 0.8, width * 0.5, 0.3), DARK)
    wheels(shape, (length / 2 - 1.0, -length / 2 + 1.3, -length / 2 + 2.4), width, 0.48, 0.3)
    tail_lamps(shape, -length / 2 + 0.05, width, braking)
    return Model(kind, "vehicle.truck", (length, width, max(height, cab_height)), name, shape)


def _box_bed(rng: np.random.Generator, shape: Shape, x: float, bed: float, width: float) -> float:
    height = float(rng.uniform(2.9, 3.6))
    _, color = ("white", vary(rng, (0.72, 0.72, 0.7))) if rng.random() < 0.55 else pick_paint(rng)
    _, mark = pick_paint(rng)
    center, size = (x, 0.0, (1.0 + height) / 2), (bed, width, height - 1.0)
    shape.box(center, size, color, Texture.CONCRETE)
    for side in (1, -1):
        shape.box(
            (x, side * width / 2, (1.1 + height) / 2),
            (bed * 0.7, 0.03, height * 0.35),
            color,
            Texture.POSTER,
            color2=mark,
            param=float(rng.uniform(0.5, 1.3)),
        )
    shape.box((x - bed / 2, 0, (1.0 + height) / 2), (0.06, 0.06, height - 1.2), STEEL)
    return height


def _flat_bed(rng: np.random.Generator, shape: Shape, x: float, bed: float, width: float) -> float:
    shape.box((x, 0, 1.05), (bed, width, 0.18), (0.16, 0.1, 0.06))
    for side in (1, -1):
        shape.box(
            (x, side * (width / 2 - 0.03), 1.35),
            (bed, 0.06, 0.5),
            (0.25, 0.25, 0.27),
            Texture.BARK,
        )
    load = float(rng.uniform(0.5, 1.3))
    _, color = pick_paint(rng)
    shape.box(
        (x - 0.1 * bed, 0, 1.15 + load / 2), (bed * 0.6, width * 0.7, load), color, Texture.BARK
    )
    return 1.15 + load


def _dump_bed(rng: np.random.Generator, shape: Shape, x: float, bed: float, width: float) -> float:
    _, color = pick_paint(
        rng, {"orange": 0.3, "yellow": 0.3, "blue": 0.2, "red": 0.2, "green": 0.2}
    )
    shape.box((x, 0, 1.75), (bed, width, 1.3), color, Texture.CONCRETE, lean=(-0.06, -0.2, -0.1))
    for rib in np.linspace(-0.4, 0.4, 5):
        shape.box(
            (x + rib * bed, 0, 1.7), (0.14, width * 1.04, 1.2), vary(rng, color), lean=(0, 0, -0.1)
        )
    shape.ellipsoid((x, 0, 2.3), (bed * 0.85, width * 0.85, 0.9), (0.16, 0.11, 0.07), Texture.BARK)
    return 2.7


def _garbage_bed(
    rng: np.random.Generator, shape: Shape, x: float, bed: float, width: float
) -> float:
    _, color = pick_paint(rng, {"green": 0.5, "white": 0.3, "orange": 0.2})
    shape.box(
        (x + 0.4, 0, 2.05), (bed - 0.8, width, 2.1), color, Texture.PAINT, lean=(0, 0.15, 0.12)
    )
    shape.box(
        (x - bed / 2 + 0.5, 0, 1.75), (1.2, width * 0.96, 2.0), vary(rng, color), lean=(0, 0.7, 0)
    )
    shape.box((x - bed / 2 + 0.1, 0, 1.1), (0.5, width * 0.8, 0.9), DARK)
    return 3.1


_TRUCK_BEDS = {
    "box truck": _box_bed,
    "flatbed truck": _flat_bed,
    "dump truck": _dump_bed,
    "garbage truck": _garbage_bed,
}


def _pickup(rng: np.random.Generator, braking: bool) -> Model:
    name, color = pick_paint(rng, VEHICLE_SHARE)
    length, width, height = float(rng.uniform(5.2, 5.8)), 1.95, float(rng.uniform(1.8, 1.95))
    belt = 1.1
    shape = Shape()
    shape.box(
        (length * 0.22, 0, 0.7),
        (length * 0.56, width, 0.8),
        color,
        Texture.PAINT,
        lean=(0.04, 0, 0.05),
    )
    shape.box(
        (0.15, 0, (belt + height) / 2),
        (2.0, width * 0.93, height - belt),
        GLASS,
        Texture.GLASS,
        lean=(0.55, 0.1, 0.2),
    )
    shape.box((0.0, 0, height - 0.04), (1.35, width * 0.8, 0.1), color, Texture.PAINT)
    shape.box((-length * 0.28, 0, 0.62), (length * 0.44, width, 0.3), DARK)
    for side in (1, -1):
        shape.box(
            (-length * 0.28, side * (width / 2 - 0.06), 0.9),
            (length * 0.44, 0.12, 0.5),
            color,
            Texture.PAINT,
        )
    shape.box((-length / 2 + 0.05, 0, 0.9), (0.1, width, 0.5), color, Texture.PAINT)
    wheels(shape, (length * 0.32, -length * 0.29), width + 0.04, 0.4)
    lights(shape, length, width, 0.85, braking)
    return Model("pickup truck", "vehicle.truck", (length, width, height), name, shape)


def tractor(rng: np.random.Generator, braking: bool = False) -> Model:
    """The truck in front of a semi-trailer."""
    name, color = pick_paint(rng)
    shape = Shape()
    length, width, height = 5.6, 2.5, 3.4
    _truck_cab(shape, length / 2, 2.3, width, height, color)
    shape.box((-1.0, 0, 0.9), (3.4, 1.1, 0.3), DARK)
    wheels(shape, (length / 2 - 1.2, -1.2, -2.2), width, 0.5, 0.32)
    tail_lamps(shape, -length / 2 + 0.1, width, braking)
    return Model("truck tractor", "vehicle.truck", (length, width, height), name, shape)


def trailer(rng: np.random.Generator, braking: bool = False) -> Model:
    """A semi-trailer: box, shipping container or tank; or a small open trailer."""
    kind = str(rng.choice(["box trailer", "container trailer", "tank trailer", "flatbed trailer"]))
    length, width, height = float(rng.uniform(8.5, 12.5)), 2.5, float(rng.uniform(3.5, 3.9))
    shape = Shape()
    name, color = pick_paint(rng)
    if kind == "tank trailer":
        color = choose(rng, ((0.6, 0.6, 0.62), (0.7, 0.7, 0.68)))
        name = "silver"
        shape.tube((-length / 2, 0, 2.3), (length / 2, 0, 2.3), 1.15, color, Texture.PAINT)
        for x in (-0.35, 0.0, 0.35):
            shape.tube((x * length - 0.1, 0, 2.3), (x * length + 0.1, 0, 2.3), 1.18, STEEL)
    elif kind == "flatbed trailer":
        height = 2.6
        shape.box((0, 0, 1.2), (length, width, 0.25), (0.14, 0.09, 0.06))
        for x in (-0.3, 0.02, 0.33):
            shape.box(
                (x * length, 0, 1.95), (length * 0.24, 2.0, 1.3), vary(rng, color), Texture.BARK
            )
    else:
        _, mark = pick_paint(rng)
        texture = Texture.STRIPES if kind == "container trailer" else Texture.CONCRETE
        dark = scaled(color, 0.75)
        shape.box(
            (0, 0, (1.15 + height) / 2),
            (length, width, height - 1.15),
            color,
            texture,
            color2=dark,
            param=0.4,
        )
        for side in (1, -1):
            shape.box(
                (0, side * width / 2, 2.5),
                (length * 0.55, 0.03, 1.2),
                color,
                Texture.POSTER,
                color2=mark,
                param=1.1,
            )
    shape.box((0, 0, 0.98), (length * 0.96, 1.0, 0.3), DARK)
    wheels(shape, (-length / 2 + 1.0, -length / 2 + 2.1, -length / 2 + 3.2), width, 0.5, 0.32)
    for side in (1, -1):
        shape.box((length / 2 - 2.2, side * 0.8, 0.5), (0.15, 0.15, 1.0), STEEL)
        shape.box((-0.1 * length, side * 1.15, 0.75), (length * 0.4, 0.06, 0.45), STEEL)
    tail_lamps(shape, -length / 2 - 0.02, width, braking)
    return Model(kind, "vehicle.trailer", (length, width, height), name, shape)
