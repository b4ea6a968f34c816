"""Wheels and lamps that vehicles share."""

from distillnerf_ros.world.objects.palette import (
    LAMP_AMBER,
    LAMP_RED,
    LAMP_WHITE,
    RUBBER,
    STEEL,
)
from distillnerf_ros.world.shapes import Shape, Texture


def wheels(
    shape: Shape, xs: tuple[float, ...], track_m: float, radius_m: float, width_m: float = 0.24
) -> None:
    """Pairs of wheels at positions along x; ``track_m`` is the full width over the tyres."""
    for x in xs:
        for side in (1.0, -1.0):
            y = side * (track_m / 2 - width_m / 2)
            shape.tube(
                (x, y - width_m / 2, radius_m),
                (x, y + width_m / 2, radius_m),
                radius_m,
                RUBBER,
                Texture.TYRE,
                color2=STEEL,
            )


def lights(shape: Shape, length_m: float, width_m: float, height_m: float, braking: bool) -> None:
    """Head lamps, tail lamps and number plates."""
    x, y = length_m / 2, width_m / 2 - 0.22
    for side in (1.0, -1.0):
        shape.box((x - 0.03, side * y, height_m), (0.1, 0.36, 0.16), LAMP_WHITE, Texture.LAMP)
        shape.box(
            (-x + 0.03, side * (y + 0.06), height_m + 0.08),
            (0.1, 0.28, 0.2),
            LAMP_RED,
            Texture.TAIL,
            param=float(braking),
        )
    for end in (1.0, -1.0):
        shape.box((end * (x + 0.005), 0, 0.42), (0.03, 0.5, 0.12), (0.7, 0.68, 0.5))


def tail_lamps(shape: Shape, x: float, width_m: float, braking: bool) -> None:
    """Red tail lamps and amber indicators of a large vehicle."""
    for side in (1, -1):
        shape.box(
            (x, side * (width_m / 2 - 0.25), 0.85),
            (0.08, 0.36, 0.18),
            LAMP_RED,
            Texture.TAIL,
            param=float(braking),
        )
        shape.box(
            (x, side * (width_m / 2 - 0.56), 0.85), (0.07, 0.16, 0.16), LAMP_AMBER, Texture.LAMP
        )
