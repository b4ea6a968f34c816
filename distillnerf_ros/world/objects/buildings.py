"""Houses, apartment blocks, offices, halls and parking decks; the front faces -x."""

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import (
    CONCRETE,
    DARK,
    STEEL,
    Color,
    choose,
    pick_paint,
    scaled,
    vary,
)
from distillnerf_ros.world.shapes import Shape, Texture
from distillnerf_ros.world.textures import FLOOR_M

_WALLS: tuple[Color, ...] = (
    (0.42, 0.17, 0.11),
    (0.5, 0.3, 0.2),
    (0.62, 0.55, 0.42),
    (0.7, 0.68, 0.62),
    (0.55, 0.4, 0.25),
    (0.36, 0.36, 0.36),
    (0.35, 0.42, 0.45),
    (0.65, 0.5, 0.3),
    (0.3, 0.14, 0.1),
    (0.5, 0.55, 0.48),
)
_FRAMES: tuple[Color, ...] = (
    (0.75, 0.75, 0.72),
    (0.1, 0.1, 0.1),
    (0.3, 0.2, 0.12),
    (0.2, 0.25, 0.3),
)
_ROOFS: tuple[Color, ...] = (
    (0.22, 0.08, 0.05),
    (0.09, 0.09, 0.1),
    (0.15, 0.1, 0.07),
    (0.2, 0.2, 0.22),
)

FOOT_M = 1.5
"""How far walls reach below the ground, so that slopes leave no gap (see textures)."""


def building(rng: np.random.Generator, depth_m: float, width_m: float) -> Model:
    """Any building of the given depth (x) and width along the street (y)."""
    luck = rng.random()
    if width_m < 13 and luck < 0.45:
        return _house(rng, depth_m, width_m)
    if luck > 0.9:
        return _hall(rng, depth_m, width_m)
    return _block(rng, depth_m, width_m)


def _walls(
    shape: Shape, depth: float, width: float, floors: int, coat: Color, trim: Color, pitch: float
) -> float:
    height = floors * FLOOR_M + 0.5
    shape.box(
        (0, 0, (height - FOOT_M) / 2),
        (depth, width, height + FOOT_M),
        coat,
        Texture.FACADE,
        color2=trim,
        param=pitch,
    )
    return height


def _house(rng: np.random.Generator, depth: float, width: float) -> Model:
    shape = Shape()
    coat, trim = choose(rng, _WALLS), choose(rng, _FRAMES)
    height = _walls(
        shape, depth, width, int(rng.integers(1, 4)), coat, trim, float(rng.uniform(2.2, 3.2))
    )
    rise = float(rng.uniform(1.6, 3.2))
    if rng.random() < 0.5:
        shape.box(
            (0, 0, height + rise / 2),
            (depth + 0.8, width + 0.3, rise),
            choose(rng, _ROOFS),
            Texture.ROOF,
            lean=(0.98, 0.98, 0.02),
        )
    else:
        shape.box(
            (0, 0, height + rise / 2),
            (depth + 0.5, width + 0.6, rise),
            choose(rng, _ROOFS),
            Texture.ROOF,
            lean=(0.6, 0.6, 0.9),
        )
    shape.box(
        (depth * 0.15, width * 0.25, height + rise * 0.8),
        (0.6, 0.6, rise),
        (0.3, 0.13, 0.09),
        Texture.BRICK,
    )
    _porch(rng, shape, depth, width)
    return Model("house", "static.manmade", (depth, width, height + rise), "", shape)


def _porch(rng: np.random.Generator, shape: Shape, depth: float, width: float) -> None:
    y = float(rng.uniform(-0.3, 0.3)) * width
    shape.box((-depth / 2 - 0.5, y, 0.1), (1.0, 1.6, 0.5), CONCRETE, Texture.CONCRETE)
    shape.box((-depth / 2 - 0.45, y, 2.6), (1.1, 1.9, 0.12), choose(rng, _ROOFS))
    _, door = pick_paint(rng)
    shape.box((-depth / 2, y, 1.35), (0.1, 1.0, 2.1), door)


def _block(rng: np.random.Generator, depth: float, width: float) -> Model:
    shape = Shape()
    coat, trim = choose(rng, _WALLS), choose(rng, _FRAMES)
    floors = int(rng.integers(2, 8)) if rng.random() < 0.8 else int(rng.integers(8, 15))
    pitch = float(rng.uniform(2.0, 4.2))
    height = _walls(shape, depth, width, floors, coat, trim, pitch)
    shape.box(
        (0, 0, height + 0.15), (depth + 0.5, width + 0.4, 0.5), vary(rng, trim), Texture.CONCRETE
    )
    shape.box((1.0, width * 0.2, height + 1.2), (2.5, 3.0, 2.2), CONCRETE, Texture.CONCRETE)
    if rng.random() < 0.4 and floors > 2:
        _balconies(rng, shape, depth, width, floors, pitch)
    if rng.random() < 0.5:
        _awning(rng, shape, depth, width)
    kind = "apartment block" if floors < 8 else "office tower"
    return Model(kind, "static.manmade", (depth, width, height), "", shape)


def _balconies(
    rng: np.random.Generator, shape: Shape, depth: float, width: float, floors: int, pitch: float
) -> None:
    rail = choose(rng, ((0.5, 0.5, 0.5), (0.1, 0.1, 0.1), (0.3, 0.35, 0.38)))
    columns = [y for y in np.arange(-width / 2 + pitch, width / 2 - pitch, 2 * pitch)][:4]
    for floor in range(1, min(floors, 6)):
        for y in columns:
            z = floor * FLOOR_M + 0.1
            shape.box((-depth / 2 - 0.6, float(y), z), (1.2, pitch * 0.9, 0.16), CONCRETE)
            shape.box((-depth / 2 - 1.15, float(y), z + 0.5), (0.06, pitch * 0.9, 0.9), rail)


def _awning(rng: np.random.Generator, shape: Shape, depth: float, width: float) -> None:
    _, coat = pick_paint(rng)
    y = float(rng.uniform(-0.25, 0.25)) * width
    shape.box(
        (-depth / 2 - 0.6, y, 2.85),
        (1.3, width * 0.4, 0.1),
        coat,
        Texture.STRIPES,
        color2=(0.75, 0.75, 0.72),
        param=0.8,
        pitch=-0.25,
    )
    shape.box(
        (-depth / 2 - 0.4, y + width * 0.24, 3.6),
        (0.8, 0.12, 0.9),
        coat,
        Texture.POSTER,
        color2=DARK,
        param=0.2,
    )


def _hall(rng: np.random.Generator, depth: float, width: float) -> Model:
    shape = Shape()
    if rng.random() < 0.5:
        floors = int(rng.integers(2, 5))
        for floor in range(floors + 1):
            shape.box((0, 0, floor * 2.8 + 0.35), (depth, width, 0.9), CONCRETE, Texture.CONCRETE)
        for x in (-depth / 2 + 0.4, depth / 2 - 0.4):
            for y in np.linspace(-width / 2 + 0.4, width / 2 - 0.4, max(int(width / 6), 2)):
                shape.box(
                    (x, float(y), floors * 1.4),
                    (0.5, 0.5, floors * 2.8),
                    CONCRETE,
                    Texture.CONCRETE,
                )
        shape.box(
            (depth * 0.1, 0, floors * 1.4),
            (depth * 0.7, width * 0.94, floors * 2.8),
            (0.05, 0.05, 0.05),
        )
        return Model("parking garage", "static.manmade", (depth, width, floors * 2.8), "", shape)
    height = float(rng.uniform(4.5, 8))
    name, coat = pick_paint(rng)
    coat = (0.5 * coat[0] + 0.2, 0.5 * coat[1] + 0.2, 0.5 * coat[2] + 0.2)
    dark = scaled(coat, 0.85)
    shape.box(
        (0, 0, (height - FOOT_M) / 2),
        (depth, width, height + FOOT_M),
        coat,
        Texture.STRIPES,
        color2=dark,
        param=0.5,
    )
    _, mark = pick_paint(rng)
    shape.box(
        (-depth / 2 - 0.05, 0, height - 1.2),
        (0.1, width * 0.4, 1.4),
        mark,
        Texture.POSTER,
        color2=(0.7, 0.7, 0.7),
        param=0.8,
    )
    for y in (-width * 0.3, width * 0.3):
        shape.box((-depth / 2, y, 1.7), (0.12, 3.4, 3.4), STEEL, Texture.CONCRETE)
    return Model("warehouse", "static.manmade", (depth, width, height), name, shape)
