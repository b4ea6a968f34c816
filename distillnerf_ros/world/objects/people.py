"""Pedestrians, cyclists and motorcyclists."""

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import (
    DARK,
    HAIRS,
    RUBBER,
    SKINS,
    STEEL,
    VEHICLE_SHARE,
    Color,
    choose,
    pick_paint,
)
from distillnerf_ros.world.shapes import Shape, Texture

HI_VIS: Color = (0.72, 0.75, 0.04)
SAFETY_ORANGE: Color = (0.8, 0.2, 0.01)


def pedestrian(rng: np.random.Generator, walking: bool = True) -> Model:
    """An adult or a child on foot, sometimes with a bag, an umbrella or a hat."""
    child = rng.random() < 0.12
    height = float(rng.uniform(1.0, 1.4) if child else rng.uniform(1.55, 1.92))
    name, top = pick_paint(rng)
    shape = Shape()
    _, legs = pick_paint(
        rng, {"black": 0.3, "dark blue": 0.35, "grey": 0.15, "beige": 0.1, "brown": 0.1}
    )
    skirt = rng.random() < 0.15
    _figure(rng, shape, height, top, legs, stride=0.5 if walking else 0.05)
    if skirt:
        shape.tube(
            (0, 0, height * 0.28),
            (0, 0, height * 0.58),
            height * 0.16,
            top,
            Texture.CLOTH,
            top=0.6,
        )
    kind = "child" if child else "pedestrian"
    extra = rng.random()
    if extra < 0.2:
        _, bag = pick_paint(rng)
        shape.box((-height * 0.12, 0, height * 0.7), (0.2, 0.3, 0.44), bag, Texture.CLOTH)
        kind = "pedestrian with a backpack" if not child else "child with a school bag"
    elif extra < 0.28 and not child:
        _, cover = pick_paint(rng)
        shape.tube((0.1, 0.2, height * 0.6), (0.1, 0.1, height + 0.35), 0.015, STEEL)
        shape.tube(
            (0.1, 0.1, height + 0.12),
            (0.1, 0.1, height + 0.4),
            0.55,
            cover,
            Texture.CLOTH,
            top=0.05,
        )
        kind = "pedestrian with an umbrella"
    elif extra < 0.36:
        _, bag = pick_paint(rng)
        shape.box((0.0, height * 0.22, height * 0.38), (0.3, 0.14, 0.3), bag, Texture.CLOTH)
        kind = "pedestrian carrying a bag"
    category = "human.pedestrian.child" if child else "human.pedestrian.adult"
    return Model(kind, category, (0.65, 0.62, height), name, shape)


def worker(rng: np.random.Generator) -> Model:
    """A construction worker or police officer in a bright vest."""
    height = float(rng.uniform(1.65, 1.88))
    shape = Shape()
    coat = HI_VIS if rng.random() < 0.6 else SAFETY_ORANGE
    _figure(rng, shape, height, coat, (0.04, 0.05, 0.09), stride=0.1, hat=False)
    shape.box((0, 0, height * 0.68), (0.27, 0.43, 0.05), (0.75, 0.75, 0.75))
    helmet = choose(rng, ((0.8, 0.6, 0.02), (0.8, 0.8, 0.78), (0.75, 0.2, 0.02)))
    shape.ellipsoid((0, 0, height - 0.08), (0.3, 0.27, 0.22), helmet)
    name = "yellow" if coat == HI_VIS else "orange"
    return Model(
        "construction worker",
        "human.pedestrian.construction_worker",
        (0.65, 0.65, height),
        name,
        shape,
    )


def _figure(
    rng: np.random.Generator,
    shape: Shape,
    height: float,
    top: Color,
    legs: Color,
    stride: float,
    hat: bool = True,
) -> None:
    """Legs, trunk, arms, head and hair of a person standing or walking along x."""
    skin, hair = choose(rng, SKINS), choose(rng, HAIRS)
    hip, shoulder, wide = height * 0.5, height * 0.82, height * 0.125
    for side, phase in ((1, 1), (-1, -1)):
        y = side * height * 0.055
        swing = phase * stride
        shape.tube(
            (0, y, 0.05),
            (0, y, hip),
            height * 0.042,
            legs,
            Texture.CLOTH,
            top=1.5,
            swing=swing,
            pivot_m=hip,
        )
        shape.box((0.05, y, 0.04), (0.27, 0.1, 0.09), DARK, swing=swing, pivot_m=hip)
        y = side * (wide + height * 0.025)
        shape.tube(
            (0.02, y * 1.1, height * 0.44),
            (0, y, shoulder),
            height * 0.027,
            top,
            Texture.CLOTH,
            top=1.25,
            swing=-swing * 0.8,
            pivot_m=shoulder,
        )
        shape.ellipsoid((0.03, y * 1.1, height * 0.43), (0.09, 0.07, 0.12), skin)
    shape.box(
        (0, 0, (hip + shoulder) / 2),
        (height * 0.14, wide * 2, shoulder - hip + 0.06),
        top,
        Texture.CLOTH,
        lean=(0.1, 0.1, -0.12),
    )
    shape.ellipsoid(
        (0, 0, shoulder), (height * 0.13, wide * 2.1, height * 0.08), top, Texture.CLOTH
    )
    shape.tube((0, 0, shoulder), (0, 0, height * 0.89), height * 0.03, skin)
    head = height * 0.13
    shape.ellipsoid((0.01, 0, height - head / 2), (head * 0.92, head * 0.78, head), skin)
    if hat and rng.random() < 0.2:
        _, cap = pick_paint(rng)
        shape.tube(
            (0, 0, height - 0.08), (0, 0, height + 0.02), head * 0.5, cap, Texture.CLOTH, top=0.8
        )
    else:
        shape.ellipsoid(
            (-0.02, 0, height - head * 0.36), (head * 0.98, head * 0.88, head * 0.8), hair
        )


def _rider(
    rng: np.random.Generator,
    shape: Shape,
    seat: tuple[float, float],
    hands: tuple[float, float],
    feet: tuple[float, float],
    top: Color,
    helmet: Color | None,
) -> float:
    """A person sitting at ``seat`` (x, z), hands and feet given likewise; returns the top's z."""
    skin = choose(rng, SKINS)
    _, legs = pick_paint(rng, {"black": 0.5, "dark blue": 0.4, "grey": 0.1})
    lean = 0.35 * (hands[0] - seat[0])
    neck = (seat[0] + lean, seat[1] + 0.56)
    for side in (1, -1):
        y = side * 0.12
        knee = ((seat[0] + feet[0]) / 2 + 0.2, (seat[1] + feet[1]) / 2 + 0.12)
        shape.tube(
            (seat[0], y, seat[1]), (knee[0], y, knee[1]), 0.085, legs, Texture.CLOTH, top=0.8
        )
        shape.tube(
            (knee[0], y, knee[1]), (feet[0], y, feet[1]), 0.065, legs, Texture.CLOTH, top=0.8
        )
        shape.box((feet[0] + 0.06, y, feet[1]), (0.26, 0.09, 0.09), DARK)
        shape.tube(
            (neck[0], side * 0.2, neck[1] - 0.06),
            (hands[0], side * 0.24, hands[1]),
            0.055,
            top,
            Texture.CLOTH,
            top=0.75,
        )
    shape.tube(
        (seat[0], 0, seat[1] - 0.05), (neck[0], 0, neck[1]), 0.17, top, Texture.CLOTH, top=1.1
    )
    head = (neck[0] + 0.07, 0.0, neck[1] + 0.2)
    shape.ellipsoid(head, (0.2, 0.17, 0.25), skin)
    shape.ellipsoid(
        (head[0] - 0.015, 0, head[2] + 0.05), (0.27, 0.24, 0.22), helmet or choose(rng, HAIRS)
    )
    return head[2] + 0.16


def bicycle(rng: np.random.Generator, ridden: bool = True) -> Model:
    """A bicycle with or without its rider; the box includes the rider, as in nuScenes."""
    name, frame = pick_paint(rng)
    shape = Shape()
    radius, base = 0.35, 1.08
    for x in (base / 2, -base / 2):
        for part in range(8):
            a, b = (2 * np.pi * (part + k) / 8 for k in (0.0, 1.0))
            shape.tube(
                (x + radius * np.cos(a), 0, radius + radius * np.sin(a) + 0.02),
                (x + radius * np.cos(b), 0, radius + radius * np.sin(b) + 0.02),
                0.032,
                RUBBER,
            )
        shape.tube((x, -0.05, radius), (x, 0.05, radius), 0.05, STEEL)
    crank, saddle, head = (-0.1, 0, 0.3), (-0.25, 0, 0.85), (0.36, 0, 0.82)
    for start, end in (
        (crank, saddle),
        (crank, head),
        (saddle, head),
        (crank, (-base / 2, 0, radius)),
        (saddle, (-base / 2, 0, radius)),
        (head, (base / 2, 0, radius)),
    ):
        shape.tube(start, end, 0.028, frame, Texture.PAINT)
    shape.box((-0.27, 0, 0.9), (0.28, 0.15, 0.07), DARK)
    shape.tube((0.36, 0, 0.82), (0.34, 0, 1.0), 0.02, STEEL)
    shape.tube((0.34, -0.28, 1.0), (0.34, 0.28, 1.0), 0.02, DARK)
    if rng.random() < 0.3:
        shape.box((0.55, 0, 0.95), (0.3, 0.36, 0.25), (0.2, 0.13, 0.06), Texture.BARK)
    height = 1.1
    if ridden:
        name, top = pick_paint(rng)
        helmet = choose(rng, ((0.7, 0.7, 0.7), (0.5, 0.03, 0.03), (0.03, 0.03, 0.03)))
        height = _rider(
            rng,
            shape,
            (-0.27, 0.92),
            (0.34, 1.02),
            (-0.08, 0.25),
            top,
            helmet if rng.random() < 0.6 else None,
        )
    kind = "cyclist" if ridden else "parked bicycle"
    return Model(kind, "vehicle.bicycle", (1.78, 0.6, height), name, shape)


def motorcycle(rng: np.random.Generator, ridden: bool = True) -> Model:
    """A motorcycle or scooter with or without its rider."""
    name, paint = pick_paint(rng, {**VEHICLE_SHARE, "red": 0.25, "yellow": 0.1, "light blue": 0.1})
    scooter = bool(rng.random() < 0.45)
    shape = Shape()
    radius, base = (0.24, 1.3) if scooter else (0.31, 1.4)
    for x in (base / 2, -base / 2):
        shape.tube(
            (x, -0.07, radius), (x, 0.07, radius), radius, RUBBER, Texture.TYRE, color2=STEEL
        )
    if scooter:
        shape.box((base * 0.36, 0, 0.65), (0.16, 0.42, 0.75), paint, Texture.PAINT, pitch=-0.25)
        shape.box((0.05, 0, 0.3), (0.9, 0.34, 0.12), DARK)
        shape.ellipsoid((-0.5, 0, 0.55), (0.95, 0.42, 0.5), paint, Texture.PAINT)
        if rng.random() < 0.4:
            shape.box(
                (-0.8, 0, 1.05),
                (0.45, 0.45, 0.45),
                choose(rng, (paint, (0.03, 0.4, 0.3))),
                Texture.PAINT,
            )
    else:
        shape.ellipsoid((0.15, 0, 0.78), (0.62, 0.36, 0.34), paint, Texture.PAINT)
        shape.box((0.0, 0, 0.48), (0.55, 0.34, 0.4), (0.12, 0.12, 0.125))
        shape.tube((-0.1, 0.2, 0.35), (-0.85, 0.22, 0.45), 0.06, STEEL, Texture.PAINT)
        shape.ellipsoid((-0.62, 0, 0.82), (0.5, 0.26, 0.18), paint, Texture.PAINT)
    shape.box((-0.35, 0, 0.84), (0.7, 0.28, 0.1), DARK)
    shape.tube((base / 2, 0, radius), (base * 0.3, 0, 1.0), 0.05, STEEL)
    shape.tube((base * 0.3, -0.36, 1.02), (base * 0.3, 0.36, 1.02), 0.025, DARK)
    shape.ellipsoid((base * 0.38, 0, 0.88), (0.16, 0.2, 0.2), (0.85, 0.83, 0.76), Texture.LAMP)
    shape.box((-base * 0.5 - 0.12, 0, 0.75), (0.06, 0.2, 0.1), (0.55, 0.01, 0.01), Texture.TAIL)
    height = 1.15
    if ridden:
        name, top = pick_paint(rng)
        helmet = choose(
            rng, ((0.75, 0.75, 0.75), (0.5, 0.03, 0.03), (0.02, 0.02, 0.02), (0.05, 0.1, 0.5))
        )
        height = _rider(rng, shape, (-0.3, 0.9), (base * 0.3, 1.05), (0.1, 0.35), top, helmet)
    kind = ("scooter" if scooter else "motorcycle") + (" with a rider" if ridden else "")
    if not ridden:
        kind = "parked " + kind
    return Model(kind, "vehicle.motorcycle", (2.05, 0.8, height), name, shape)
