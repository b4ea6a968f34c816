"""City buses, coaches, double-deckers and school buses."""

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import (
    DARK,
    GLASS,
    LAMP_AMBER,
    LAMP_WHITE,
    pick_paint,
    vary,
)
from distillnerf_ros.world.objects.vehicle_parts import tail_lamps, wheels
from distillnerf_ros.world.shapes import Shape, Texture


def bus(rng: np.random.Generator, braking: bool = False) -> Model:
    """A city bus, coach, double-decker or school bus."""
    kind = str(
        rng.choice(
            ["city bus", "coach", "double-decker bus", "school bus"], p=[0.5, 0.2, 0.15, 0.15]
        )
    )
    length, width = float(rng.uniform(10.2, 12.2)), 2.55
    height = {"city bus": 3.1, "coach": 3.5, "double-decker bus": 4.2, "school bus": 3.0}[kind]
    name, color = pick_paint(
        rng,
        {
            "white": 0.2,
            "red": 0.25,
            "blue": 0.15,
            "green": 0.15,
            "orange": 0.1,
            "light blue": 0.1,
            "purple": 0.05,
        },
    )
    if kind == "school bus":
        name, color = "yellow", (0.75, 0.42, 0.015)
    shape = Shape()
    shape.box(
        (0, 0, (0.32 + height) / 2),
        (length, width, height - 0.32),
        color,
        Texture.PAINT,
        lean=(0.012, 0.0, 0.04),
    )
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
    tail_lamps(shape, -length / 2 - 0.01, width, braking)
    return Model(kind, "vehicle.bus.rigid", (length, width, height), name, shape)
