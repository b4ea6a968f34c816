"""Occupancy from above: the topmost class of every column, what was seen, and what was found."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Int8

from distillnerf_ros.demo.canvas import BACKGROUND, write_tag
from distillnerf_ros.demo.colors import prompt_color
from distillnerf_ros.demo.snapshot import Found, Picture, Voxels
from distillnerf_ros.taxonomy import OCC3D_COLORS

RANGE_M = 40.0
CELL_M = 0.4
CELLS = round(2 * RANGE_M / CELL_M)
SEEN = (38, 42, 54)
"""Colour of columns that were seen and are empty."""
_RING_COLOR = (92, 98, 114)
_VEHICLE_M = ((3.2, 0.87), (3.2, -0.87), (-0.9, -0.87), (-0.9, 0.87))


def class_map(voxels: Voxels, grid: Int8[np.ndarray, "X Y"] | None = None) -> Picture:
    """One pixel per column, forward up and left at the left: the topmost voxel's class.

    Args:
        voxels: occupied voxels; brighter where they are higher.
        grid: seen (>= 0) and unseen (-1) columns, indexed [x, y].
    """
    top = np.zeros((CELLS, CELLS, 3), np.uint8)
    top[:] = BACKGROUND
    if grid is not None:
        top[grid >= 0] = SEEN
    order = np.argsort(voxels.points_m[:, 2], kind="stable")
    cells = np.floor((voxels.points_m[order, :2] + RANGE_M) / CELL_M).astype(int)
    inside = ((cells >= 0) & (cells < CELLS)).all(axis=1)
    order, cells = order[inside], cells[inside]
    base = np.full((len(order), 3), 160.0)
    if voxels.labels is not None:
        palette = np.array([*OCC3D_COLORS, (160, 160, 160)], np.float64)
        base = palette[np.minimum(voxels.labels[order], len(OCC3D_COLORS))]
    light = 0.72 + 0.33 * ((voxels.points_m[order, 2:] + 1.0) / 4.0).clip(0, 1)
    # The highest voxel of a column comes last and stays.
    top[cells[:, 0], cells[:, 1]] = (base * light).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(top[::-1, ::-1])


def to_px(xy_m: Float[np.ndarray, "*P 2"], side_px: int) -> Float[np.ndarray, "*P 2"]:
    """Column and row of ego positions: ego x is up, ego y is left."""
    return (RANGE_M - xy_m[..., ::-1]) * side_px / (2 * RANGE_M)


def draw_birds_eye(
    voxels: Voxels,
    side_px: int,
    grid: Int8[np.ndarray, "X Y"] | None = None,
    found: Sequence[Found] = (),
) -> Picture:
    """The map with range rings, the vehicle and the boxes of what was found, in captions.

    Args:
        voxels: occupied voxels.
        side_px: edge of the picture.
        grid: which columns were seen.
        found: boxes; one colour per prompt.
    """
    small = class_map(voxels, grid)
    canvas = cv2.resize(small, (side_px, side_px), interpolation=cv2.INTER_NEAREST)
    middle = (side_px // 2, side_px // 2)
    for ring_m in (10, 20, 30, 40):
        radius = round(ring_m * side_px / (2 * RANGE_M))
        cv2.circle(canvas, middle, radius, _RING_COLOR, 1, cv2.LINE_AA)
    vehicle = np.round(to_px(np.array(_VEHICLE_M), side_px)).astype(np.int32)
    cv2.fillPoly(canvas, [vehicle], (245, 245, 250), cv2.LINE_AA)
    prompts = list(dict.fromkeys(thing.prompt for thing in found))
    for thing in found:
        color = prompt_color(prompts.index(thing.prompt), len(prompts))
        canvas = _draw_found(canvas, thing, color)
    return canvas


def _draw_found(canvas: Picture, thing: Found, color: tuple[int, int, int]) -> Picture:
    side_px = canvas.shape[0]
    half = np.array(thing.size_m[:2]) / 2
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * half + thing.center_m[:2]
    pixels = to_px(corners, side_px)
    # Less than six pixels cannot be seen.
    center = pixels.mean(axis=0)
    reach = np.maximum(np.abs(pixels - center), 6.0) * np.sign(pixels - center)
    box = np.round(center + reach).astype(np.int32)
    cv2.polylines(canvas, [box], True, color, 2, cv2.LINE_AA)
    col, row = box[:, 0].min(), box[:, 1].min() - 20
    at = (int(np.clip(col, 6, side_px - 130)), int(np.clip(row, 6, side_px - 22)))
    return write_tag(canvas, f"{thing.prompt} {thing.score:.2f}", at, 12)
