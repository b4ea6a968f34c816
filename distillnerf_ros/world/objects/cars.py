"""Passenger cars, police cars and vans."""

import dataclasses

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import (
    DARK,
    GLASS,
    LAMP_WHITE,
    VEHICLE_SHARE,
    Color,
    pick_paint,
)
from distillnerf_ros.world.objects.vehicle_parts import lights, wheels
from distillnerf_ros.world.shapes import Shape, Texture


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
    shape.box(
        (0, 0, (low + belt) / 2),
        (length, width, belt - low),
        color,
        Texture.PAINT,
        lean=(0.03, 0.02, 0.06),
    )
    start, end = (length * (share - 0.5) for share in body.cabin)
    middle, long = (start + end) / 2, end - start
    front, back = body.lean
    glass_top = height - 0.09
    shape.box(
        (middle, 0, (belt + glass_top) / 2),
        (long, width * 0.94, glass_top - belt),
        GLASS,
        Texture.GLASS,
        lean=(front * 2, back * 2, 0.2),
    )
    top_start, top_end = start + back * long / 1.02, end - front * long / 1.02
    roof = (top_start + top_end) / 2
    shape.box(
        (roof, 0, height - 0.05),
        (top_end - top_start + 0.15, width * 0.8, 0.1),
        color,
        Texture.PAINT,
        lean=(0.1, 0.1, 0.1),
    )
    post = middle - 0.02 * length
    shape.box(
        (post, 0, (belt + glass_top) / 2),
        (0.1, width * 0.9, glass_top - belt),
        color,
        Texture.PAINT,
        lean=(0.0, 0.0, 0.12),
    )
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
    shape.box(
        (-0.35, 0, (0.25 + height) / 2),
        (length - 0.7, width, height - 0.25),
        color,
        Texture.PAINT,
        lean=(0.1, 0.02, 0.06),
    )
    shape.box(
        (length / 2 - 0.6, 0, 0.68),
        (1.2, width, 0.86),
        color,
        Texture.PAINT,
        lean=(0.25, 0.0, 0.06),
    )
    nose = length / 2 - 0.7
    shape.box(
        (nose - 0.05, 0, height * 0.69),
        (0.5, width * 0.9, height * 0.34),
        GLASS,
        Texture.GLASS,
        lean=(1.2, 0.0, 0.05),
    )
    back = nose - (length * 0.72 if glazed else 1.35)
    shape.box(
        ((nose - 0.25 + back) / 2, 0, height * 0.7),
        (nose - 0.25 - back, width * 0.995, height * 0.24),
        GLASS,
        Texture.GLASS,
    )
    shape.box(
        (-length / 2, 0, height * 0.7), (0.03, width * 0.75, height * 0.24), GLASS, Texture.GLASS
    )
    if not glazed and rng.random() < 0.6:
        _, mark = pick_paint(rng)
        for side in (1, -1):
            shape.box(
                (-length * 0.22, side * width / 2, height * 0.6),
                (length * 0.4, 0.02, 0.6),
                color,
                Texture.POSTER,
                color2=mark,
                param=0.5,
            )
    wheels(shape, (length * 0.31, -length * 0.3), width + 0.02, 0.35)
    lights(shape, length, width, 0.72, braking)
    shape.box((length / 2 - 0.05, 0, 0.38), (0.16, width * 0.97, 0.22), DARK)
    kind = "minibus" if glazed else "delivery van"
    return Model(kind, "vehicle.car", (float(length), float(width), float(height)), name, shape)
