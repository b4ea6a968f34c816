"""Solids every object of the world is built from, in the object's own frame.

Two kinds of convex solid, each a unit shape under an affine map:

- a six-sided polyhedron: the cube [-1, 1]^3 whose four walls may lean inwards towards the top
  (boxes, windscreens, gable roofs, jersey barriers);
- a quadric cut by |z| <= 1: x^2 + y^2 + s z^2 <= (a + b z)^2 with a^2 or the cone
  (ellipsoids s=1, cylinders a=1, cones and tapered limbs b != 0).
"""

import dataclasses
import math

import numpy as np

POLYHEDRON, QUADRIC = 0, 1


class Texture:
    """How the surface of a solid is coloured; the number is stored per solid."""

    PLAIN = 0
    PAINT = 1
    GLASS = 2
    TYRE = 3
    FACADE = 4
    FOLIAGE = 5
    BARK = 6
    CLOTH = 7
    STRIPES = 8
    BANDS = 9
    LAMP = 10
    ROOF = 11
    CONCRETE = 12
    BRICK = 13
    POSTER = 14
    TAIL = 15


Color = tuple[float, float, float]
Vector = tuple[float | int, float | int, float | int]


@dataclasses.dataclass(frozen=True)
class Solid:
    """One solid in the frame of its object.

    Attributes:
        object_from_unit: (3, 4) affine map of the unit shape.
        kind: POLYHEDRON or QUADRIC.
        form: (3,) inward lean of +x, -x and both y walls per half height; or s, a, b.
        color: base colour, linear 0..1.
        color2: second colour of two-coloured textures.
        texture: a number of ``Texture``.
        param: the texture's period in metres, or the amplitude of a swinging limb's texture.
        swing: radians a limb turns about the object's y axis at its pivot while walking.
        pivot_m: height of the pivot.
    """

    object_from_unit: np.ndarray
    kind: int
    form: Vector
    color: Color
    color2: Color
    texture: int
    param: float
    swing: float
    pivot_m: float


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """3x3 rotation: roll about x, then pitch about y (positive = nose down), then yaw about z."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


class Shape:
    """A growing list of solids; the object's frame has x ahead, z up, origin on the ground."""

    def __init__(self) -> None:
        """Start empty."""
        self.solids: list[Solid] = []

    def _add(
        self,
        kind: int,
        form: Vector,
        center: Vector,
        size: Vector,
        turn: np.ndarray,
        color: Color,
        texture: int,
        color2: Color | None,
        param: float,
        swing: float,
        pivot_m: float,
    ) -> None:
        affine = np.zeros((3, 4))
        affine[:, :3] = turn * (np.asarray(size, dtype=float) / 2)
        affine[:, 3] = center
        self.solids.append(
            Solid(affine, kind, form, color, color2 or color, texture, param, swing, pivot_m)
        )

    def box(
        self,
        center: Vector,
        size: Vector,
        color: Color,
        texture: int = Texture.PLAIN,
        *,
        lean: Vector = (0, 0, 0),
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
        color2: Color | None = None,
        param: float = 0.0,
        swing: float = 0.0,
        pivot_m: float = 0.0,
    ) -> None:
        """Add a box (metres); ``lean`` moves the top edges of +x, -x, y walls inwards by that
        fraction of the half size.
        """
        turn = rotation(yaw, pitch, roll)
        self._add(
            POLYHEDRON, lean, center, size, turn, color, texture, color2, param, swing, pivot_m
        )

    def ellipsoid(
        self,
        center: Vector,
        size: Vector,
        color: Color,
        texture: int = Texture.PLAIN,
        *,
        pitch: float = 0.0,
        yaw: float = 0.0,
        color2: Color | None = None,
        param: float = 0.0,
    ) -> None:
        """Add an ellipsoid with the given full axes in metres."""
        turn = rotation(yaw, pitch)
        form = (1.0, 1.0, 0.0)
        self._add(QUADRIC, form, center, size, turn, color, texture, color2, param, 0.0, 0.0)

    def tube(
        self,
        start: Vector,
        end: Vector,
        radius: float,
        color: Color,
        texture: int = Texture.PLAIN,
        *,
        top: float = 1.0,
        color2: Color | None = None,
        param: float = 0.0,
        swing: float = 0.0,
        pivot_m: float = 0.0,
    ) -> None:
        """Add a cylinder or, with ``top`` (end radius / start radius) below 1, a cone."""
        dx, dy, dz = (float(e) - float(s) for s, e in zip(start, end, strict=True))
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        zx, zy, zz = dx / length, dy / length, dz / length
        # The side axis is level, or along y for upright tubes.
        flat = math.hypot(zx, zy)
        xx, xy = (zy / flat, -zx / flat) if flat > 1e-6 else (0.0, 1.0)
        turn = np.array(
            [
                [xx, -zz * xy, zx],
                [xy, zz * xx, zy],
                [0.0, zx * xy - zy * xx, zz],
            ]
        )
        center = (start[0] + dx / 2, start[1] + dy / 2, start[2] + dz / 2)
        form = (0.0, (1 + top) / 2, (top - 1) / 2)
        size = (2 * radius, 2 * radius, length)
        self._add(QUADRIC, form, center, size, turn, color, texture, color2, param, swing, pivot_m)
