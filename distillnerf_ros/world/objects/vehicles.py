"""Cars, vans, pickups, trucks, trailers and buses."""

import dataclasses

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import (
    DARK,
    GLASS,
    LAMP_AMBER,
    LAMP_RED,
    LAMP_WHITE,
    RUBBER,
    STEEL,
    VEHICLE_SHARE,
    Color,
    choose,
    pick_paint,
    vary,
)  # fmt: skip
from distillnerf_ros.world.shapes import Shape, Texture


def wheels(
    shape: Shape, xs: tuple[float, ...], track_m: float, radius_m: float, width_m: float = 0.24
) -> None:
    """Pairs of wheels at positions along x; ``track_m`` is the full width over the tyres."""
    for x in xs:
        for side in (1.0, -1.0):
            y = side * (track_m / 2 - width_m / 2)
            shape.tube(
                (x, y - width_m / 2, radius_m), (x, y + width_m / 2, radius_m), radius_m,
                RUBBER, Texture.TYRE, color2=STEEL,
            )  # fmt: skip


def lights(shape: Shape, length_m: float, width_m: float, height_m: float, braking: bool) -> None:
    """Head lamps, tail lamps and number plates."""
    x, y = length_m / 2, width_m / 2 - 0.22
    for side in (1.0, -1.0):
        shape.box((x - 0.03, side * y, height_m), (0.1, 0.36, 0.16), LAMP_WHITE, Texture.LAMP)
        shape.box(
            (-x + 0.03, side * (y + 0.06), height_m + 0.08), (0.1, 0.28, 0.2), LAMP_RED,
            Texture.TAIL, param=float(braking),
        )  # fmt: skip
    for end in (1.0, -1.0):
        shape.box((end * (x + 0.005), 0, 0.42), (0.03, 0.5, 0.12), (0.7, 0.68, 0.5))


@dataclasses.dataclass(frozen=True)
class _Body:
    """Proportions of a car: cabin end positions as fractions of the length from the rear."""

    kind: str
    length_m: tuple[float, float]
    width_m: tuple[float, float]
    height_m: tuple[float, float]
    hood_share: float
    cabin: tuple[float, float]
    lean: tuple[float, float]
    share: float


_CARS: tuple[_Body, ...] = (
    _Body("sedan", (4.4, 5.0), (1.78, 1.9), (1.42, 1.5), 0.6, (0.14, 0.72), (0.45, 0.38), 0.3),
    _Body(
        "hatchback", (3.7, 4.3), (1.7, 1.82), (1.44, 1.55), 0.6, (0.02, 0.72), (0.4, 0.16), 0.24
    ),
    _Body("SUV", (4.4, 4.95), (1.85, 2.0), (1.65, 1.85), 0.6, (0.02, 0.72), (0.3, 0.12), 0.22),
    _Body(
        "station wagon", (4.6, 4.95), (1.8, 1.9), (1.45, 1.55), 0.6, (0.02, 0.7), (0.38, 0.2), 0.1
    ),
    _Body("taxi", (4.4, 4.9), (1.78, 1.86), (1.45, 1.52), 0.6, (0.14, 0.72), (0.42, 0.36), 0.05),
    _Body(
        "police car", (4.5, 4.9), (1.8, 1.9), (1.45, 1.52), 0.6, (0.14, 0.72), (0.42, 0.36), 0.0
    ),
)


def car(rng: np.random.Generator, braking: bool = False) -> Model:
    """A passenger car, or in one of eight cases a van."""
    if rng.random() < 0.13:
        return van(rng, braking)
    share = np.array([body.share for body in _CARS])
    body = _CARS[int(rng.choice(len(_CARS), p=share / share.sum()))]
    name, color = pick_paint(rng, VEHICLE_SHARE)
    if body.kind == "taxi":
        name, color = "yellow", (0.75, 0.48, 0.02)
    return _passenger_car(rng, body, name, color, braking)


def police_car(rng: np.random.Generator) -> Model:
    """A police car with a light bar; Occ3D counts it among the others."""
    model = _passenger_car(rng, _CARS[-1], "white", (0.8, 0.8, 0.8), False)
    length, width, height = model.size_m
    shape = model.shape
    shape.box((-0.2, 0.3, height + 0.06), (0.3, 0.55, 0.14), (0.02, 0.05, 0.8), Texture.LAMP)
    shape.box((-0.2, -0.3, height + 0.06), (0.3, 0.55, 0.14), (0.8, 0.02, 0.02), Texture.LAMP)
    for side in (1, -1):
        shape.box((0, side * width / 2, 0.75), (length * 0.7, 0.03, 0.22), (0.02, 0.06, 0.4))
    return dataclasses.replace(
        model, category="vehicle.emergency.police", size_m=(length, width, height + 0.13)
    )


def _passenger_car(
    rng: np.random.Generator, body: _Body, name: str, color: Color, braking: bool
) -> Model:
    length, width, height = (
        float(rng.uniform(*span)) for span in (body.length_m, body.width_m, body.height_m)
    )
    shape = Shape()
    belt = height * body.hood_share
    low = 0.22
    shape.box((0, 0, (low + belt) / 2), (length, width, belt - low), color, Texture.PAINT,
              lean=(0.03, 0.02, 0.06))  # fmt: skip
    start, end = (length * (share - 0.5) for share in body.cabin)
    middle, long = (start + end) / 2, end - start
    front, back = body.lean
    glass_top = height - 0.09
    shape.box((middle, 0, (belt + glass_top) / 2), (long, width * 0.94, glass_top - belt), GLASS,
              Texture.GLASS, lean=(front * 2, back * 2, 0.2))  # fmt: skip
    top_start, top_end = start + back * long / 1.02, end - front * long / 1.02
    roof = (top_start + top_end) / 2
    shape.box((roof, 0, height - 0.05), (top_end - top_start + 0.15, width * 0.8, 0.1), color,
              Texture.PAINT, lean=(0.1, 0.1, 0.1))  # fmt: skip
    post = middle - 0.02 * length
    shape.box((post, 0, (belt + glass_top) / 2), (0.1, width * 0.9, glass_top - belt), color,
              Texture.PAINT, lean=(0.0, 0.0, 0.12))  # fmt: skip
    for end_sign in (1, -1):
        shape.box((end_sign * (length / 2 - 0.06), 0, 0.33), (0.2, width * 0.96, 0.2), DARK)
    for side in (1, -1):
        shape.ellipsoid(
            (end - 0.35, side * (width / 2 + 0.07), belt + 0.04), (0.16, 0.2, 0.15), color
        )
    shape.box((0.0, 0, 0.3), (length * 0.92, width * 0.86, 0.22), DARK)
    wheels(shape, (length * 0.31, -length * 0.3), width + 0.02, 0.33)
    lights(shape, length, width, belt * 0.72, braking)
    if body.kind == "taxi":
        shape.box((roof, 0, height + 0.07), (0.2, 0.45, 0.15), LAMP_WHITE, Texture.LAMP)
    return Model(body.kind, "vehicle.car", (length, width, height), name, shape)


def van(rng: np.random.Generator, braking: bool = False) -> Model:
    """A panel van or minibus (nuScenes counts vans as cars)."""
    name, color = pick_paint(
        rng, {"white": 0.5, **{k: v / 2 for k, v in VEHICLE_SHARE.items() if k != "white"}}
    )
    length, width, height = rng.uniform(4.9, 5.8), rng.uniform(1.9, 2.05), rng.uniform(2.05, 2.5)
    glazed = bool(rng.random() < 0.35)
    shape = Shape()
    shape.box((-0.35, 0, (0.25 + height) / 2), (length - 0.7, width, height - 0.25), color,
              Texture.PAINT, lean=(0.1, 0.02, 0.06))  # fmt: skip
    shape.box((length / 2 - 0.6, 0, 0.68), (1.2, width, 0.86), color, Texture.PAINT,
              lean=(0.25, 0.0, 0.06))  # fmt: skip
    nose = length / 2 - 0.7
    shape.box((nose - 0.05, 0, height * 0.69), (0.5, width * 0.9, height * 0.34), GLASS,
              Texture.GLASS, lean=(1.2, 0.0, 0.05))  # fmt: skip
    back = nose - (length * 0.72 if glazed else 1.35)
    shape.box(((nose - 0.25 + back) / 2, 0, height * 0.7), (nose - 0.25 - back, width * 0.995, height * 0.24),
              GLASS, Texture.GLASS)  # fmt: skip
    shape.box(
        (-length / 2, 0, height * 0.7), (0.03, width * 0.75, height * 0.24), GLASS, Texture.GLASS
    )
    if not glazed and rng.random() < 0.6:
        _, mark = pick_paint(rng)
        for side in (1, -1):
            shape.box((-length * 0.22, side * width / 2, height * 0.6), (length * 0.4, 0.02, 0.6), color,
                      Texture.POSTER, color2=mark, param=0.5)  # fmt: skip
    wheels(shape, (length * 0.31, -length * 0.3), width + 0.02, 0.35)
    lights(shape, length, width, 0.72, braking)
    shape.box((length / 2 - 0.05, 0, 0.38), (0.16, width * 0.97, 0.22), DARK)
    kind = "minibus" if glazed else "delivery van"
    return Model(kind, "vehicle.car", (float(length), float(width), float(height)), name, shape)


def _truck_cab(
    shape: Shape, x_front: float, length_m: float, width_m: float, height_m: float, color: Color
) -> None:
    """A cab over its engine: big windscreen, side windows, mirrors, bumper, lamps."""
    middle = x_front - length_m / 2
    shape.box((middle, 0, (0.5 + height_m) / 2), (length_m, width_m, height_m - 0.5), color,
              Texture.PAINT, lean=(0.08, 0.0, 0.04))  # fmt: skip
    shape.box((x_front - 0.08, 0, height_m * 0.68), (0.18, width_m * 0.9, height_m * 0.27), GLASS,
              Texture.GLASS, lean=(0.3, 0, 0))  # fmt: skip
    shape.box((middle + 0.15, 0, height_m * 0.68), (length_m * 0.5, width_m * 1.005, height_m * 0.24),
              GLASS, Texture.GLASS)  # fmt: skip
    shape.box((x_front - 0.05, 0, 0.55), (0.22, width_m * 0.98, 0.4), DARK)
    shape.box((x_front + 0.01, 0, height_m * 0.4), (0.04, width_m * 0.6, 0.3), DARK)
    for side in (1, -1):
        shape.box(
            (x_front - 0.15, side * (width_m / 2 + 0.14), height_m * 0.66), (0.12, 0.2, 0.5), DARK
        )
        shape.box((x_front + 0.05, side * (width_m / 2 - 0.35), 0.72), (0.06, 0.4, 0.18), LAMP_WHITE,
                  Texture.LAMP)  # fmt: skip


def _tail_lamps(shape: Shape, x: float, width_m: float, braking: bool) -> None:
    for side in (1, -1):
        shape.box((x, side * (width_m / 2 - 0.25), 0.85), (0.08, 0.36, 0.18), LAMP_RED, Texture.TAIL,
                  param=float(braking))  # fmt: skip
        shape.box(
            (x, side * (width_m / 2 - 0.56), 0.85), (0.07, 0.16, 0.16), LAMP_AMBER, Texture.LAMP
        )


def truck(rng: np.random.Generator, braking: bool = False) -> Model:
    """A pickup, box truck, flatbed or dump truck."""
    kind = str(rng.choice(["pickup truck", "box truck", "flatbed truck", "dump truck", "garbage truck"],
                          p=[0.18, 0.4, 0.14, 0.16, 0.12]))  # fmt: skip
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
    _tail_lamps(shape, -length / 2 + 0.05, width, braking)
    return Model(kind, "vehicle.truck", (length, width, max(height, cab_height)), name, shape)


def _box_bed(rng: np.random.Generator, shape: Shape, x: float, bed: float, width: float) -> float:
    height = float(rng.uniform(2.9, 3.6))
    _, color = ("white", vary(rng, (0.72, 0.72, 0.7))) if rng.random() < 0.55 else pick_paint(rng)
    _, mark = pick_paint(rng)
    center, size = (x, 0.0, (1.0 + height) / 2), (bed, width, height - 1.0)
    shape.box(center, size, color, Texture.CONCRETE)
    for side in (1, -1):
        shape.box((x, side * width / 2, (1.1 + height) / 2), (bed * 0.7, 0.03, height * 0.35), color,
                  Texture.POSTER, color2=mark, param=float(rng.uniform(0.5, 1.3)))  # fmt: skip
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
    shape.box((length * 0.22, 0, 0.7), (length * 0.56, width, 0.8), color, Texture.PAINT,
              lean=(0.04, 0, 0.05))  # fmt: skip
    shape.box((0.15, 0, (belt + height) / 2), (2.0, width * 0.93, height - belt), GLASS, Texture.GLASS,
              lean=(0.55, 0.1, 0.2))  # fmt: skip
    shape.box((0.0, 0, height - 0.04), (1.35, width * 0.8, 0.1), color, Texture.PAINT)
    shape.box((-length * 0.28, 0, 0.62), (length * 0.44, width, 0.3), DARK)
    for side in (1, -1):
        shape.box((-length * 0.28, side * (width / 2 - 0.06), 0.9), (length * 0.44, 0.12, 0.5), color,
                  Texture.PAINT)  # fmt: skip
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
    _tail_lamps(shape, -length / 2 + 0.1, width, braking)
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
        dark = tuple(channel * 0.75 for channel in color)
        shape.box((0, 0, (1.15 + height) / 2), (length, width, height - 1.15), color, texture,
                  color2=dark, param=0.4)  # fmt: skip
        for side in (1, -1):
            shape.box((0, side * width / 2, 2.5), (length * 0.55, 0.03, 1.2), color, Texture.POSTER,
                      color2=mark, param=1.1)  # fmt: skip
    shape.box((0, 0, 0.98), (length * 0.96, 1.0, 0.3), DARK)
    wheels(shape, (-length / 2 + 1.0, -length / 2 + 2.1, -length / 2 + 3.2), width, 0.5, 0.32)
    for side in (1, -1):
        shape.box((length / 2 - 2.2, side * 0.8, 0.5), (0.15, 0.15, 1.0), STEEL)
        shape.box((-0.1 * length, side * 1.15, 0.75), (length * 0.4, 0.06, 0.45), STEEL)
    _tail_lamps(shape, -length / 2 - 0.02, width, braking)
    return Model(kind, "vehicle.trailer", (length, width, height), name, shape)


def bus(rng: np.random.Generator, braking: bool = False) -> Model:
    """A city bus, coach, double-decker or school bus."""
    kind = str(
        rng.choice(
            ["city bus", "coach", "double-decker bus", "school bus"], p=[0.5, 0.2, 0.15, 0.15]
        )
    )
    length, width = float(rng.uniform(10.2, 12.2)), 2.55
    height = {"city bus": 3.1, "coach": 3.5, "double-decker bus": 4.2, "school bus": 3.0}[kind]
    name, color = pick_paint(rng, {"white": 0.2, "red": 0.25, "blue": 0.15, "green": 0.15, "orange": 0.1,
                                   "light blue": 0.1, "purple": 0.05})  # fmt: skip
    if kind == "school bus":
        name, color = "yellow", (0.75, 0.42, 0.015)
    shape = Shape()
    shape.box((0, 0, (0.32 + height) / 2), (length, width, height - 0.32), color, Texture.PAINT,
              lean=(0.012, 0.0, 0.04))  # fmt: skip
    _, stripe = pick_paint(rng)
    shape.box((0, 0, 0.95), (length * 1.002, width * 1.012, 0.25), stripe)
    levels = (1.75, 3.3) if kind == "double-decker bus" else (height - 1.15,)
    panes = int(rng.integers(5, 8))
    for level in levels:
        for pane in range(panes):
            x = (pane + 0.5) / panes * (length * 0.94) - length * 0.47
            shape.box(
                (x, 0, level),
                (length * 0.94 / panes - 0.14, width * 1.008, 0.85),
                GLASS,
                Texture.GLASS,
            )
        shape.box((-length / 2, 0, level + 0.1), (0.04, width * 0.8, 0.7), GLASS, Texture.GLASS)
        shape.box(
            (length / 2 - 0.01, 0, level - 0.1), (0.1, width * 0.92, 1.15), GLASS, Texture.GLASS
        )
    for x in (length * 0.4, -length * 0.05):
        shape.box((x, -width / 2, 1.45), (1.15, 0.06, 2.1), GLASS, Texture.GLASS)
    shape.box((length / 2 + 0.02, 0, height - 0.28), (0.08, 1.7, 0.28), LAMP_AMBER, Texture.LAMP)
    shape.box((-0.2 * length, 0, height + 0.08), (2.2, 1.6, 0.2), vary(rng, (0.5, 0.5, 0.5)))
    for side in (1, -1):
        shape.box(
            (length / 2 + 0.15, side * (width / 2 + 0.1), height * 0.7), (0.25, 0.14, 0.42), DARK
        )
        shape.box(
            (length / 2 + 0.01, side * 0.95, 0.68), (0.06, 0.38, 0.2), LAMP_WHITE, Texture.LAMP
        )
    wheels(shape, (length * 0.27, -length * 0.26), width + 0.01, 0.49, 0.3)
    _tail_lamps(shape, -length / 2 - 0.01, width, braking)
    return Model(kind, "vehicle.bus.rigid", (length, width, height), name, shape)
