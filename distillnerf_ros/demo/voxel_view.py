"""Occupied voxels as shaded cubes in perspective, drawn from far to near."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from distillnerf_ros.demo.canvas import BACKGROUND
from distillnerf_ros.demo.snapshot import Picture, Voxels
from distillnerf_ros.taxonomy import OCC3D_COLORS

VOXEL_M = 0.4
SUPERSAMPLING = 2
FOG_M = (30.0, 75.0)
"""Distances from the eye between which colours fade to at most `FOG`."""
FOG = 0.55

# Faces of a unit cube: outward normal, four corners in order, and its brightness under a high sun
# from the front left.
_FACES = (
    ((0, 0, 1), ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)), 1.0),
    ((1, 0, 0), ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)), 0.78),
    ((-1, 0, 0), ((0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1)), 0.66),
    ((0, 1, 0), ((0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1)), 0.84),
    ((0, -1, 0), ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)), 0.58),
    ((0, 0, -1), ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)), 0.45),
)
# The nuScenes vehicle (4.08 x 1.73 m) as voxels: lower and upper corner of body and cabin, in
# the ego frame.
_VEHICLE_M = (((-0.8, -0.8, 0.2), (3.2, 0.8, 1.0)), ((-0.4, -0.8, 1.0), (2.0, 0.8, 1.8)))
_VEHICLE_COLOR = (240, 240, 245)
_NO_CLASS_COLOR = (160, 160, 160)


@dataclasses.dataclass(frozen=True)
class Eye:
    """Where the scene is looked at from, in the ego frame.

    Attributes:
        position_m: of the eye.
        target_m: what lies in the middle of the picture.
        focal: focal length as a share of the picture's width.
    """

    position_m: tuple[float, float, float] = (-38.0, 12.0, 27.0)
    target_m: tuple[float, float, float] = (4.0, 0.0, -2.0)
    focal: float = 0.85

    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """Rows: right, down and forward of the view (optical axes)."""
        forward = np.subtract(self.target_m, self.position_m)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])


@dataclasses.dataclass(frozen=True)
class _Quads:
    """Faces to draw: corners (F, 4, 3) in metres and colours (F, 3)."""

    corners_m: Float[np.ndarray, "F 4 3"]
    colors: Float[np.ndarray, "F 3"]


def draw_voxels(
    voxels: Voxels, size: tuple[int, int], eye: Eye | None = None, origin_z_m: float = -1.0
) -> Picture:
    """The scene in perspective, with the vehicle in the middle.

    Args:
        voxels: occupied voxels of 0.4 m.
        size: height and width of the picture.
        eye: where to look from; None = behind and above the vehicle.
        origin_z_m: height of the lower side of the lowest voxels, the darkest ones.
    """
    eye = eye or Eye()
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = _sky(height)[:, None]
    points_m, colors = _with_vehicle(voxels, origin_z_m)
    _paint(canvas, _quads(points_m, colors, eye), eye)
    return cv2.resize(canvas, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _sky(height: int) -> UInt8[np.ndarray, "H 3"]:
    share = np.linspace(1.6, 0.9, height)[:, None]
    return (np.array(BACKGROUND) * share).clip(0, 255).astype(np.uint8)


def _with_vehicle(
    voxels: Voxels, origin_z_m: float
) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, "P 3"]]:
    """Centres and colours of all cubes; the vehicle takes the place of what was found there."""
    colors = np.full((len(voxels.points_m), 3), _NO_CLASS_COLOR, np.float64)
    if voxels.labels is not None:
        palette = np.array([*OCC3D_COLORS, _NO_CLASS_COLOR], np.float64)
        colors = palette[np.minimum(voxels.labels, len(OCC3D_COLORS))]
    # A little brighter with height, so that walls and crowns have shape.
    height = ((voxels.points_m[:, 2:] - origin_z_m) / 6.4).clip(0, 1)
    colors = colors * (0.86 + 0.22 * height)
    points_m, outside = voxels.points_m, np.ones(len(voxels.points_m), bool)
    vehicle = []
    for low, high in _VEHICLE_M:
        outside &= ~((points_m > low) & (points_m < high)).all(axis=1)
        axes = [np.arange(a + VOXEL_M / 2, b, VOXEL_M) for a, b in zip(low, high, strict=True)]
        vehicle.append(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))
    body = np.concatenate(vehicle)
    painted = np.tile(np.array(_VEHICLE_COLOR, np.float64), (len(body), 1))
    return np.concatenate([points_m[outside], body]), np.concatenate([colors[outside], painted])


def _quads(points_m: Float[np.ndarray, "P 3"], base: Float[np.ndarray, "P 3"], eye: Eye) -> _Quads:
    """The faces that the eye can see: not between two cubes, and turned towards it."""
    cells = np.round((points_m - points_m[0]) / VOXEL_M).astype(np.int64)
    corners, colors = [], []
    for normal, face, light in _FACES:
        shown = ~_has_neighbour(cells, np.array(normal))
        towards = (np.array(eye.position_m) - points_m) @ np.array(normal, float)
        shown &= towards > VOXEL_M / 2
        low = points_m[shown, None] - VOXEL_M / 2
        corners.append(low + np.array(face, float) * VOXEL_M)
        colors.append(base[shown] * light)
    return _Quads(np.concatenate(corners), np.concatenate(colors))


def _has_neighbour(
    cells: Int64[np.ndarray, "P 3"], step: Int64[np.ndarray, " 3"]
) -> Bool[np.ndarray, " P"]:
    shifted = cells - cells.min(axis=0) + 1
    shape = shifted.max(axis=0) + 2
    keys = np.ravel_multi_index(tuple(shifted.T), tuple(shape))
    return np.isin(np.ravel_multi_index(tuple((shifted + step).T), tuple(shape)), keys)


def _paint(canvas: Picture, quads: _Quads, eye: Eye) -> None:
    """Draw faces in place, the farthest first."""
    height, width = canvas.shape[:2]
    seen = (quads.corners_m - np.array(eye.position_m)) @ eye.rotation().T
    depth = seen[..., 2]
    kept = (depth > 0.5).all(axis=1)
    seen, depth = seen[kept], depth[kept]
    pixels = seen[..., :2] / depth[..., None] * eye.focal * width + (width / 2, height / 2)
    distance = np.linalg.norm(seen.mean(axis=1), axis=1)
    fog = ((distance - FOG_M[0]) / (FOG_M[1] - FOG_M[0])).clip(0, 1)[:, None] * FOG
    colors = quads.colors[kept] * (1 - fog) + np.array(BACKGROUND) * 1.5 * fog
    colors = colors.clip(0, 255)
    # Sub-pixel corners: cv2 takes fixed-point coordinates.
    fixed = np.round(pixels.clip(-1e5, 1e5) * 16).astype(np.int32)
    for index in np.argsort(-distance):
        fill, edge = colors[index].tolist(), (colors[index] * 0.8).tolist()
        cv2.fillConvexPoly(canvas, fixed[index], fill, cv2.LINE_8, 4)
        cv2.polylines(canvas, [fixed[index]], True, edge, 1, cv2.LINE_8, 4)
