"""Solids every object of the world is built from, in the object's own frame.

Two kinds of convex solid, each a unit shape under an affine map:

- a six-sided polyhedron: the cube [-1, 1]^3 whose four walls may lean inwards towards the top
  (boxes, windscreens, gable roofs, jersey barriers);
- a quadric cut by |z| <= 1: x^2 + y^2 + s z^2 <= (a + b z)^2 with a^2 or the cone
  (ellipsoids s=1, cylinders a=1, cones and tapered limbs b != 0).
"""

import dataclasses

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
    form: tuple[float, float, float]
    color: Color
    color2: Color
    texture: int
    param: float
    swing: float
    pivot_m: float


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """3x3 rotation: roll about x, then pitch about y (positive = nose down), then yaw about z."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return about_z @ about_y @ about_x


class Shape:
    """A growing list of solids; the object's frame has x ahead, z up, origin on the ground."""

    def __init__(self) -> None:
        """Start empty."""
        self.solids: list[Solid] = []

    def _add(
        self, kind: int, form: tuple[float, float, float], center: Color, size: Color,
        turn: np.ndarray, color: Color, texture: int, color2: Color | None, param: float,
        swing: float, pivot_m: float,
    ) -> None:  # fmt: skip
        affine = np.zeros((3, 4))
        affine[:, :3] = turn * (np.asarray(size, dtype=float) / 2)
        affine[:, 3] = center
        self.solids.append(
            Solid(affine, kind, form, color, color2 or color, texture, param, swing, pivot_m)
        )

    def box(
        self, center: Color, size: Color, color: Color, texture: int = Texture.PLAIN, *,
        lean: tuple[float, float, float] = (0.0, 0.0, 0.0), yaw: float = 0.0, pitch: float = 0.0,
        roll: float = 0.0, color2: Color | None = None, param: float = 0.0, swing: float = 0.0,
        pivot_m: float = 0.0,
    ) -> None:  # fmt: skip
        """Add a box (metres); ``lean`` moves the top edges of +x, -x, y walls inwards by that
        fraction of the half size."""
        turn = rotation(yaw, pitch, roll)
        self._add(
            POLYHEDRON, lean, center, size, turn, color, texture, color2, param, swing, pivot_m
        )

    def ellipsoid(
        self, center: Color, size: Color, color: Color, texture: int = Texture.PLAIN, *,
        pitch: float = 0.0, yaw: float = 0.0, color2: Color | None = None, param: float = 0.0,
    ) -> None:  # fmt: skip
        """Add an ellipsoid with the given full axes in metres."""
        turn = rotation(yaw, pitch)
        form = (1.0, 1.0, 0.0)
        self._add(QUADRIC, form, center, size, turn, color, texture, color2, param, 0.0, 0.0)

    def tube(
        self, start: Color, end: Color, radius: float, color: Color,
        texture: int = Texture.PLAIN, *, top: float = 1.0, color2: Color | None = None,
        param: float = 0.0, swing: float = 0.0, pivot_m: float = 0.0,
    ) -> None:  # fmt: skip
        """Add a cylinder or, with ``top`` (end radius / start radius) below 1, a cone."""
        begin, finish = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        axis = finish - begin
        length = float(np.linalg.norm(axis))
        z = axis / length
        side = np.array([1.0, 0, 0]) if abs(z[0]) < 0.9 else np.array([0, 1.0, 0])
        x = np.cross(side, z)
        x /= np.linalg.norm(x)
        turn = np.stack([x, np.cross(z, x), z], axis=1)
        center = tuple((begin + finish) / 2)
        form = (0.0, (1 + top) / 2, (top - 1) / 2)
        size = (2 * radius, 2 * radius, length)
        self._add(QUADRIC, form, center, size, turn, color, texture, color2, param, swing, pivot_m)
