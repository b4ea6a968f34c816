"""Trees, bushes and hedges."""

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import Color, choose, scaled, vary
from distillnerf_ros.world.shapes import Shape, Texture

_LEAVES: tuple[Color, ...] = (
    (0.055, 0.13, 0.022),
    (0.09, 0.17, 0.03),
    (0.03, 0.085, 0.025),
    (0.14, 0.17, 0.04),
    (0.26, 0.15, 0.025),
)
_BARKS: tuple[Color, ...] = ((0.1, 0.075, 0.05), (0.17, 0.15, 0.12), (0.06, 0.045, 0.035))


def _leaf(rng: np.random.Generator) -> Color:
    index = int(rng.choice(len(_LEAVES), p=[0.3, 0.25, 0.25, 0.12, 0.08]))
    return vary(rng, _LEAVES[index])


def tree(rng: np.random.Generator) -> Model:
    """A broad-leaved tree, a conifer or a palm."""
    luck = rng.random()
    if luck < 0.14:
        return _conifer(rng)
    if luck < 0.22:
        return _palm(rng)
    shape = Shape()
    height = float(rng.uniform(4.5, 9.5))
    crown, wide = height * float(rng.uniform(0.3, 0.42)), height * float(rng.uniform(0.4, 0.62))
    bark, leaf = choose(rng, _BARKS), _leaf(rng)
    light = scaled(leaf, 1.9)
    trunk = height * float(rng.uniform(0.014, 0.024))
    shape.tube((0, 0, -0.3), (0, 0, height * 0.62), trunk * 1.4, bark, Texture.BARK, top=0.6)
    middle = height - (height - crown) / 2
    for _ in range(int(rng.integers(6, 10))):
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.32) * wide
        x, y = reach * np.cos(angle), reach * np.sin(angle)
        z = middle + rng.uniform(-0.3, 0.36) * (height - crown)
        size = wide * rng.uniform(0.42, 0.62)
        shape.ellipsoid(
            (x, y, z),
            (size, size, size * 0.8),
            vary(rng, leaf, 0.12),
            Texture.FOLIAGE,
            color2=light,
            yaw=float(angle),
        )
        shape.tube(
            (0, 0, height * 0.33), (x * 0.8, y * 0.8, z), trunk * 0.6, bark, Texture.BARK, top=0.5
        )
    return Model("tree", "static.vegetation", (wide, wide, height), "", shape)


def _conifer(rng: np.random.Generator) -> Model:
    shape = Shape()
    height = float(rng.uniform(5, 11))
    leaf = vary(rng, (0.025, 0.07, 0.03))
    light = scaled(leaf, 1.8)
    shape.tube(
        (0, 0, -0.3), (0, 0, height * 0.4), height * 0.02, choose(rng, _BARKS), Texture.BARK
    )
    for layer in range(4):
        foot = height * (0.14 + 0.2 * layer)
        shape.tube(
            (0, 0, foot),
            (0, 0, min(foot + height * 0.36, height)),
            height * (0.22 - 0.042 * layer),
            leaf,
            Texture.FOLIAGE,
            top=0.08,
            color2=light,
        )
    return Model("conifer", "static.vegetation", (height * 0.44, height * 0.44, height), "", shape)


def _palm(rng: np.random.Generator) -> Model:
    shape = Shape()
    height = float(rng.uniform(5, 8))
    leaf = vary(rng, (0.07, 0.14, 0.03))
    light = scaled(leaf, 1.6)
    shape.tube((0, 0, -0.3), (0, 0, height), 0.2, (0.2, 0.15, 0.1), Texture.BARK, top=0.7)
    for angle in np.linspace(0, 2 * np.pi, 10)[:-1]:
        yaw = float(angle)
        x, y = 0.95 * np.cos(yaw), 0.95 * np.sin(yaw)
        shape.ellipsoid(
            (x, y, height - 0.1),
            (2.2, 0.5, 0.16),
            leaf,
            Texture.FOLIAGE,
            yaw=yaw,
            pitch=0.45,
            color2=light,
        )
    return Model("palm tree", "static.vegetation", (3.2, 3.2, height), "", shape)


def bush(rng: np.random.Generator) -> Model:
    """A few leafy balls on the ground."""
    shape = Shape()
    leaf = _leaf(rng)
    light = scaled(leaf, 1.8)
    for _ in range(int(rng.integers(2, 5))):
        size = float(rng.uniform(0.7, 1.5))
        x, y = rng.uniform(-0.6, 0.6, 2)
        shape.ellipsoid(
            (x, y, size * 0.36),
            (size, size, size * 0.9),
            vary(rng, leaf, 0.1),
            Texture.FOLIAGE,
            color2=light,
        )
    return Model("bush", "static.vegetation", (2.0, 2.0, 1.3), "", shape)


def hedge(rng: np.random.Generator, length_m: float) -> Model:
    """A clipped hedge along y."""
    shape = Shape()
    leaf, height = _leaf(rng), float(rng.uniform(0.8, 1.8))
    light = scaled(leaf, 1.8)
    shape.box(
        (0, 0, height / 2 - 0.2),
        (0.9, length_m, height + 0.4),
        leaf,
        Texture.FOLIAGE,
        color2=light,
        lean=(0.1, 0.1, 0.02),
    )
    count = int(length_m / 1.3)
    for y in np.linspace(-length_m / 2 + 0.6, length_m / 2 - 0.6, max(count, 2)):
        size = float(rng.uniform(0.8, 1.25))
        shape.ellipsoid(
            (0, float(y), height * 0.8),
            (size, 1.4, size * 0.6),
            vary(rng, leaf, 0.1),
            Texture.FOLIAGE,
            color2=light,
        )
    return Model("hedge", "static.vegetation", (1.0, length_m, height), "", shape)
