"""Barriers, cones, poles, lights, signs, shelters, fences and the odd things of a street."""

import numpy as np

from distillnerf_ros.world.objects.model import Model
from distillnerf_ros.world.objects.palette import (
    CONCRETE,
    DARK,
    GLASS,
    LAMP_WHITE,
    RUBBER,
    STEEL,
    Color,
    choose,
    pick_paint,
    scaled,
    vary,
)
from distillnerf_ros.world.shapes import Shape, Texture

WHITE: Color = (0.75, 0.75, 0.73)
RED: Color = (0.6, 0.03, 0.02)


def barrier(rng: np.random.Generator, kind: str) -> Model:
    """A jersey barrier, plastic water barrier or striped fence, 2 m wide across x."""
    shape = Shape()
    if kind == "concrete barrier":
        shape.box((0, 0, 0.12), (0.62, 2.0, 0.24), CONCRETE, Texture.CONCRETE)
        shape.box((0, 0, 0.55), (0.5, 2.0, 0.7), CONCRETE, Texture.CONCRETE, lean=(0.6, 0.6, 0))
        size, name = (0.62, 2.0, 0.9), "grey"
    elif kind == "plastic barrier":
        name = str(rng.choice(["red", "white", "orange"]))
        coat = {"red": RED, "white": WHITE, "orange": (0.75, 0.2, 0.02)}[name]
        shape.box((0, 0, 0.5), (0.48, 1.9, 1.0), coat, lean=(0.5, 0.5, 0.02))
        shape.box((0, 0, 0.25), (0.5, 1.5, 0.12), DARK)
        shape.box((0, 0, 0.62), (0.38, 1.5, 0.12), vary(rng, WHITE))
        size = (0.5, 1.9, 1.0)
    else:
        name = "red and white"
        for y in (-0.8, 0.8):
            shape.box((0, y, 0.5), (0.08, 0.08, 1.0), STEEL)
            shape.box((0, y, 0.05), (0.6, 0.12, 0.1), DARK)
        for z in (0.92, 0.5):
            shape.box((0, 0, z), (0.05, 2.0, 0.26), WHITE, Texture.STRIPES, color2=RED, param=0.5)
        size = (0.6, 2.0, 1.05)
    return Model(kind, "movable_object.barrier", size, name, shape)


def cone(rng: np.random.Generator) -> Model:
    """A traffic cone or a bollard-like channeliser."""
    shape = Shape()
    coat = vary(rng, (0.85, 0.2, 0.01))
    if rng.random() < 0.75:
        height = float(rng.uniform(0.55, 0.95))
        shape.box((0, 0, 0.03), (0.45, 0.45, 0.06), vary(rng, coat))
        shape.tube(
            (0, 0, 0.05),
            (0, 0, height),
            0.18,
            coat,
            Texture.BANDS,
            top=0.22,
            color2=WHITE,
            param=1.0,
        )
        return Model(
            "traffic cone", "movable_object.trafficcone", (0.45, 0.45, height), "orange", shape
        )
    shape.tube((0, 0, 0), (0, 0, 0.12), 0.22, RUBBER)
    shape.tube((0, 0, 0.1), (0, 0, 1.05), 0.11, coat, Texture.BANDS, color2=WHITE, param=1.6)
    return Model("traffic drum", "movable_object.trafficcone", (0.45, 0.45, 1.05), "orange", shape)


def street_light(rng: np.random.Generator) -> Model:
    """A lamp post whose arm points along -x."""
    shape = Shape()
    height = float(rng.uniform(6.5, 9.0))
    coat = choose(rng, ((0.2, 0.2, 0.21), (0.05, 0.07, 0.06), (0.4, 0.4, 0.4)))
    shape.tube((0, 0, 0), (0, 0, 0.9), 0.14, coat)
    shape.tube((0, 0, 0), (0, 0, height), 0.1, coat, top=0.6)
    shape.tube((0, 0, height - 0.1), (-1.9, 0, height + 0.25), 0.05, coat)
    shape.box((-2.1, 0, height + 0.22), (0.75, 0.28, 0.13), coat)
    shape.box((-2.1, 0, height + 0.14), (0.6, 0.2, 0.06), LAMP_WHITE, Texture.LAMP)
    return Model("street light", "static.manmade", (2.6, 0.3, height), "", shape)


def traffic_light(rng: np.random.Generator) -> Model:
    """A signal on a post facing -x, sometimes with an arm over the road along +y."""
    shape = Shape()
    coat = (0.05, 0.05, 0.05) if rng.random() < 0.5 else (0.45, 0.35, 0.03)
    arm = bool(rng.random() < 0.5)
    height = 5.6 if arm else 3.2
    shape.tube((0, 0, 0), (0, 0, height), 0.09, (0.25, 0.25, 0.26))
    heads = [(0.0, 2.6)]
    if arm:
        shape.tube((0, 0, 5.4), (0, 4.2, 5.6), 0.07, (0.25, 0.25, 0.26))
        heads.append((4.1, 5.0))
    lit = int(rng.integers(3))
    for y, z in heads:
        shape.box((0, y, z + 0.3), (0.26, 0.32, 1.0), coat)
        for slot, glow in enumerate(((0.05, 0.7, 0.25), (0.8, 0.45, 0.02), (0.8, 0.02, 0.02))):
            color = glow if slot == lit else scaled(glow, 0.06)
            shape.tube(
                (-0.12, y, z + 0.3 * slot), (-0.17, y, z + 0.3 * slot), 0.11, color, Texture.LAMP
            )
    return Model("traffic light", "static.manmade", (0.5, 0.5, height), "", shape)


def sign(rng: np.random.Generator) -> Model:
    """A road sign or a larger street sign on a post, facing -x."""
    shape = Shape()
    shape.tube((0, 0, 0), (0, 0, 2.4), 0.035, STEEL)
    name = str(rng.choice(["red", "blue", "yellow", "green", "white"]))
    face = {
        "red": RED,
        "blue": (0.02, 0.09, 0.45),
        "yellow": (0.8, 0.55, 0.02),
        "green": (0.02, 0.25, 0.1),
        "white": WHITE,
    }[name]
    if rng.random() < 0.5:
        shape.tube(
            (-0.04, 0, 2.3), (-0.07, 0, 2.3), 0.36, face, Texture.BANDS, color2=WHITE, param=0.0
        )
        shape.tube((-0.07, 0, 2.3), (-0.08, 0, 2.3), 0.24, WHITE)
    else:
        shape.box(
            (-0.06, 0, 2.35), (0.04, 0.9, 0.7), face, Texture.POSTER, color2=WHITE, param=0.3
        )
    return Model("traffic sign", "static.manmade", (0.3, 0.9, 2.7), name, shape)


def pole(rng: np.random.Generator) -> Model:
    """A utility pole with cross arms, or a bollard."""
    shape = Shape()
    if rng.random() < 0.4:
        shape.tube(
            (0, 0, 0),
            (0, 0, 0.95),
            0.09,
            choose(rng, ((0.1, 0.1, 0.1), (0.5, 0.4, 0.05))),
            Texture.BANDS,
            color2=WHITE,
            param=1.0,
        )
        return Model("bollard", "static.manmade", (0.2, 0.2, 0.95), "", shape)
    wood = (0.13, 0.08, 0.05)
    shape.tube((0, 0, 0), (0, 0, 8.5), 0.15, wood, Texture.BARK, top=0.7)
    for z in (7.8, 7.1):
        shape.box((0, 0, z), (0.12, 1.9, 0.12), wood, Texture.BARK)
    shape.tube((0.2, 0.1, 6.0), (0.2, 0.1, 6.8), 0.22, (0.35, 0.35, 0.36))
    return Model("utility pole", "static.manmade", (0.4, 1.9, 8.5), "", shape)


def shelter(rng: np.random.Generator) -> Model:
    """A bus stop, a kiosk or a phone booth, open towards -x."""
    shape = Shape()
    if rng.random() < 0.5:
        shape.box((0.7, 0, 1.2), (0.06, 3.8, 2.2), (0.14, 0.18, 0.19), Texture.GLASS)
        shape.box((0, 0, 2.45), (1.7, 4.1, 0.14), (0.12, 0.12, 0.13))
        _, ad = pick_paint(rng)
        _, ad2 = pick_paint(rng)
        shape.box((0, 1.95, 1.2), (1.3, 0.14, 2.2), ad, Texture.POSTER, color2=ad2, param=0.35)
        shape.box((0.4, -0.3, 0.45), (0.4, 2.2, 0.08), (0.2, 0.12, 0.06))
        shape.box((0.4, -0.3, 0.22), (0.1, 1.8, 0.44), DARK)
        return Model("bus stop", "static.manmade", (1.7, 4.1, 2.5), "", shape)
    name, coat = pick_paint(rng)
    shape.box((0, 0, 1.2), (2.0, 2.6, 2.4), coat, Texture.CONCRETE)
    shape.box((-0.98, 0, 1.5), (0.1, 1.9, 1.0), GLASS, Texture.GLASS)
    shape.box((-0.4, 0, 2.5), (3.0, 3.0, 0.16), WHITE, Texture.STRIPES, color2=coat, param=0.6)
    return Model("kiosk", "static.manmade", (2.0, 2.6, 2.5), name, shape)


def fence(rng: np.random.Generator, length_m: float) -> Model:
    """A wall, a board fence or a railing along y."""
    shape = Shape()
    kind = str(rng.choice(["wall", "wooden fence", "railing"]))
    if kind == "wall":
        height = float(rng.uniform(1.0, 2.2))
        coat = choose(rng, ((0.34, 0.14, 0.09), (0.45, 0.42, 0.36), (0.3, 0.3, 0.29)))
        shape.box((0, 0, height / 2 - 0.3), (0.28, length_m, height + 0.6), coat, Texture.BRICK)
        shape.box((0, 0, height + 0.03), (0.36, length_m, 0.09), CONCRETE)
    elif kind == "wooden fence":
        height = 1.5
        coat = choose(rng, ((0.2, 0.11, 0.05), (0.6, 0.58, 0.5)))
        dark = scaled(coat, 0.6)
        shape.box(
            (0, 0, 0.6), (0.08, length_m, 1.8), coat, Texture.STRIPES, color2=dark, param=0.3
        )
    else:
        height = 1.1
        coat = choose(rng, ((0.03, 0.03, 0.03), (0.35, 0.36, 0.36), (0.05, 0.2, 0.1)))
        count = max(int(length_m / 1.2), 2)
        for y in np.linspace(-length_m / 2, length_m / 2, count):
            shape.box((0, float(y), 0.5), (0.05, 0.05, 1.1), coat)
        for z in (0.25, 0.65, 1.05):
            shape.box((0, 0, z), (0.04, length_m, 0.05), coat)
    return Model(kind, "static.manmade", (0.3, length_m, height), "", shape)


def furniture(rng: np.random.Generator) -> Model:
    """A bench, hydrant, mail box, electrical cabinet or planter."""
    shape = Shape()
    kind = str(rng.choice(["bench", "fire hydrant", "mailbox", "electrical cabinet"]))
    if kind == "bench":
        shape.box((0, 0, 0.45), (0.5, 1.7, 0.08), (0.22, 0.12, 0.05), Texture.BARK)
        shape.box((0.25, 0, 0.75), (0.07, 1.7, 0.4), (0.22, 0.12, 0.05), Texture.BARK)
        for y in (-0.7, 0.7):
            shape.box((0, y, 0.22), (0.45, 0.08, 0.44), DARK)
        return Model(kind, "static.manmade", (0.6, 1.7, 0.95), "brown", shape)
    if kind == "fire hydrant":
        shape.tube((0, 0, 0), (0, 0, 0.65), 0.14, RED)
        shape.ellipsoid((0, 0, 0.68), (0.3, 0.3, 0.26), RED)
        shape.tube((0, -0.22, 0.45), (0, 0.22, 0.45), 0.07, RED)
        return Model(kind, "static.manmade", (0.4, 0.4, 0.8), "red", shape)
    name, coat = ("blue", (0.02, 0.08, 0.4)) if kind == "mailbox" else ("grey", (0.25, 0.27, 0.25))
    height = 1.2 if kind == "mailbox" else 1.5
    shape.box(
        (0, 0, height / 2),
        (0.5, 0.6 if kind == "mailbox" else 1.2, height),
        coat,
        Texture.CONCRETE,
    )
    shape.box((-0.26, 0, height * 0.7), (0.03, 0.4, 0.12), DARK)
    return Model(kind, "static.manmade", (0.5, 0.9, height), name, shape)


def other(rng: np.random.Generator) -> Model:
    """Things Occ3D files under "others": bins, debris, carts, strollers, racks, animals."""
    builders = (_bin, _bin, _bags, _stroller, _rack, _dog, _cart)
    return builders[int(rng.integers(len(builders)))](rng)


def _bin(rng: np.random.Generator) -> Model:
    shape = Shape()
    name, coat = pick_paint(
        rng, {"green": 0.4, "grey": 0.2, "blue": 0.2, "brown": 0.1, "yellow": 0.1}
    )
    big = bool(rng.random() < 0.6)
    length, width, height = (0.8, 1.3, 1.2) if big else (0.6, 0.6, 1.05)
    shape.box((0, 0, height / 2), (length, width, height - 0.15), coat, lean=(-0.15, -0.15, -0.06))
    shape.box(
        (0.02, 0, height - 0.03),
        (length * 1.1, width * 1.08, 0.1),
        vary(rng, coat),
        lean=(0.3, 0, 0.1),
    )
    for y in (-width * 0.35, width * 0.35):
        shape.tube((-length * 0.3, y - 0.04, 0.1), (-length * 0.3, y + 0.04, 0.1), 0.1, RUBBER)
    return Model(
        "rubbish bin", "movable_object.pushable_pullable", (length, width, height), name, shape
    )


def _bags(rng: np.random.Generator) -> Model:
    shape = Shape()
    for _ in range(int(rng.integers(3, 7))):
        x, y = rng.uniform(-0.5, 0.5, 2)
        if rng.random() < 0.6:
            coat = choose(rng, ((0.02, 0.02, 0.02), (0.5, 0.5, 0.5), (0.05, 0.2, 0.35)))
            shape.ellipsoid((x, y, 0.24), (0.55, 0.5, 0.52), coat, Texture.CLOTH)
        else:
            shape.box(
                (x, y, 0.22),
                (0.5, 0.42, 0.44),
                vary(rng, (0.36, 0.23, 0.11)),
                yaw=float(rng.uniform(0, 3)),
            )
    return Model("pile of rubbish bags", "movable_object.debris", (1.4, 1.4, 0.6), "", shape)


def _stroller(rng: np.random.Generator) -> Model:
    shape = Shape()
    name, coat = pick_paint(rng)
    for x in (0.35, -0.35):
        for y in (-0.25, 0.25):
            shape.tube((x, y - 0.03, 0.12), (x, y + 0.03, 0.12), 0.12, RUBBER)
    shape.ellipsoid((0.05, 0, 0.6), (0.75, 0.45, 0.45), coat, Texture.CLOTH)
    shape.ellipsoid((-0.12, 0, 0.8), (0.45, 0.46, 0.5), coat, Texture.CLOTH)
    for y in (-0.22, 0.22):
        shape.tube((0.3, y, 0.15), (-0.6, y, 1.02), 0.02, STEEL)
    shape.tube((-0.6, -0.22, 1.02), (-0.6, 0.22, 1.02), 0.025, DARK)
    return Model("stroller", "human.pedestrian.stroller", (1.1, 0.55, 1.05), name, shape)


def _rack(rng: np.random.Generator) -> Model:
    shape = Shape()
    for y in np.linspace(-1.2, 1.2, 5):
        for x in (-0.35, 0.35):
            shape.box((x, float(y), 0.4), (0.06, 0.06, 0.8), STEEL)
        shape.box((0, float(y), 0.8), (0.76, 0.06, 0.06), STEEL)
    shape.box((0, 0, 0.05), (0.1, 2.8, 0.06), STEEL)
    return Model("bicycle rack", "static_object.bicycle_rack", (0.8, 2.8, 0.85), "grey", shape)


def _dog(rng: np.random.Generator) -> Model:
    shape = Shape()
    coat = choose(rng, ((0.25, 0.14, 0.06), (0.03, 0.025, 0.02), (0.5, 0.42, 0.3)))
    shape.ellipsoid((0, 0, 0.46), (0.75, 0.26, 0.3), coat, Texture.BARK)
    shape.ellipsoid((0.42, 0, 0.62), (0.28, 0.18, 0.2), coat)
    shape.tube((0.5, 0, 0.6), (0.64, 0, 0.58), 0.05, coat)
    shape.tube((-0.34, 0, 0.52), (-0.6, 0, 0.72), 0.03, coat)
    for x in (0.24, -0.26):
        for y in (-0.08, 0.08):
            shape.tube((x, y, 0), (x, y, 0.42), 0.045, coat)
    return Model("dog", "animal", (1.1, 0.3, 0.72), "", shape)


def _cart(rng: np.random.Generator) -> Model:
    shape = Shape()
    shape.box(
        (0, 0, 0.75),
        (0.9, 0.55, 0.5),
        (0.4, 0.41, 0.42),
        Texture.STRIPES,
        color2=(0.12, 0.12, 0.12),
        param=0.12,
        lean=(-0.1, -0.1, -0.1),
    )
    shape.box((0, 0, 0.25), (0.85, 0.5, 0.06), STEEL)
    shape.box((-0.35, 0, 0.4), (0.05, 0.5, 0.4), STEEL)
    for x in (0.35, -0.35):
        for y in (-0.22, 0.22):
            shape.tube((x, y - 0.03, 0.09), (x, y + 0.03, 0.09), 0.09, RUBBER)
    shape.tube((-0.55, -0.26, 1.05), (-0.55, 0.26, 1.05), 0.03, RED)
    return Model(
        "shopping cart", "movable_object.pushable_pullable", (1.0, 0.6, 1.08), "silver", shape
    )
