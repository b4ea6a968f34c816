"""One picture of one glance: every camera, every output, and the space around the vehicle."""

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from distillnerf_ros.demo import canvas, colors
from distillnerf_ros.demo.birds_eye import draw_birds_eye
from distillnerf_ros.demo.snapshot import CameraView, Found, Picture, Snapshot, Voxels
from distillnerf_ros.demo.voxel_view import draw_voxels
from distillnerf_ros.taxonomy import OCC3D_CLASSES, OCC3D_COLORS

TILE_PX = (144, 256)
"""Height and width of a camera tile."""
GAP_PX = 6
LABEL_PX = 26
SCENE_PX = 560
"""Height of the lower half."""
LEAST_WIDTH_PX = 3 * TILE_PX[1] + 2 * GAP_PX
"""That of three cameras: fewer leave no room for the voxels beside the map."""
LEFT_TO_RIGHT = (
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
)
"""How nuScenes' cameras stand beside one another; others keep their own order."""


def in_order(cameras: Sequence[CameraView]) -> list[CameraView]:
    """Cameras as they look, from the left to the right."""
    known = {name: place for place, name in enumerate(LEFT_TO_RIGHT)}
    return sorted(cameras, key=lambda view: known.get(view.name, len(known)))


def picture_tile(view: CameraView) -> Picture | None:
    """What the camera saw."""
    return None if view.picture is None else canvas.fit(view.picture, *TILE_PX)


def rgb_tile(view: CameraView) -> Picture | None:
    """Rendered colour."""
    return None if view.rgb is None else canvas.fit(view.rgb, *TILE_PX)


def depth_tile(view: CameraView) -> Picture | None:
    """Rendered depth in turbo colours."""
    if view.depth_m is None:
        return None
    return canvas.fit_cells(colors.depth_picture(view.depth_m), *TILE_PX)


def features_tile(view: CameraView) -> Picture | None:
    """Rendered features."""
    return None if view.features is None else canvas.fit(view.features, *TILE_PX)


def heat_tile(view: CameraView) -> Picture | None:
    """Relevancy of the standing queries glowing over the camera's picture."""
    if view.heat is None:
        return None
    under = canvas.blank(*TILE_PX) if view.picture is None else canvas.fit(view.picture, *TILE_PX)
    # Averages of NaN are NaN: what is not hit must not eat its neighbours.
    heat = cv2.resize(np.nan_to_num(view.heat).astype(np.float32), TILE_PX[::-1])
    return colors.heat_overlay(under, heat)


Tile = Callable[[CameraView], Picture | None]
ROWS: tuple[tuple[str, Tile], ...] = (
    ("camera", picture_tile),
    ("rendered colour", rgb_tile),
    ("depth", depth_tile),
    ("features", features_tile),
    ("query", heat_tile),
)
"""Title and drawing of every row of tiles."""


def camera_rows(snapshot: Snapshot, queries: Sequence[str] = ()) -> Picture:
    """All cameras side by side, one row per output that was published.

    Args:
        snapshot: the glance.
        queries: the standing queries, named beside their row.
    """
    views = in_order(snapshot.cameras)
    rows = {}
    for title, draw in ROWS:
        name = f"{title}: {', '.join(queries)}" if title == "query" and queries else title
        rows[name] = [draw(view) for view in views]
    return tile_rows([view.name for view in views], rows)


def tile_rows(cameras: Sequence[str], rows: Mapping[str, Sequence[Picture | None]]) -> Picture:
    """Cameras side by side, one row per kind of picture; a row without pictures is left out.

    Args:
        cameras: their names.
        rows: by title, a tile of ``TILE_PX`` for every camera.
    """
    height, width = TILE_PX
    drawn = [_name_row(cameras)]
    for title, tiles in rows.items():
        if all(tile is None for tile in tiles):
            continue
        row = canvas.blank(height + GAP_PX, len(cameras) * (width + GAP_PX) - GAP_PX)
        for index, tile in enumerate(tiles):
            shown = _nothing() if tile is None else tile
            canvas.paste(row, shown, 0, index * (width + GAP_PX))
        drawn.append(canvas.write_tag(row, title, (9, 8)))
    return np.concatenate(drawn)


def _name_row(cameras: Sequence[str]) -> Picture:
    width = TILE_PX[1]
    row = canvas.blank(LABEL_PX, len(cameras) * (width + GAP_PX) - GAP_PX)
    for index, name in enumerate(cameras):
        middle = index * (width + GAP_PX) + width // 2
        row = canvas.write_text(row, name, (middle, LABEL_PX // 2), 13, anchor="mm")
    return row


def _nothing() -> Picture:
    tile = canvas.blank(*TILE_PX, canvas.PANEL)
    middle = (TILE_PX[1] // 2, TILE_PX[0] // 2)
    return canvas.write_text(tile, "not published", middle, 13, canvas.FAINT, "mm")


def class_legend(voxels: Voxels, width: int) -> Picture:
    """Colours of the classes that occur."""
    if voxels.labels is None:
        text = "occupied (these weights carry no semantics)"
        return canvas.legend([(text, (160, 160, 160))], width)
    present = [k for k in np.unique(voxels.labels).tolist() if k < len(OCC3D_CLASSES)]
    return canvas.legend([(OCC3D_CLASSES[k], OCC3D_COLORS[k]) for k in present], width)


def space(snapshot: Snapshot, width: int, found: Sequence[Found] = ()) -> Picture:
    """Voxels in perspective at the left, the map from above at the right, legend below."""
    left_px = width - SCENE_PX - GAP_PX
    view = draw_voxels(snapshot.voxels, (SCENE_PX, left_px))
    view = canvas.write_tag(view, f"occupancy: {len(snapshot.voxels.points_m)} voxels", (9, 8))
    above = draw_birds_eye(snapshot.voxels, SCENE_PX, snapshot.grid, found)
    above = canvas.write_tag(above, "from above, rings every 10 m", (9, 8))
    gap = canvas.blank(SCENE_PX, GAP_PX)
    both = np.concatenate([view, gap, above], axis=1)
    legend = class_legend(snapshot.voxels, width)
    return np.concatenate([both, canvas.blank(GAP_PX, width), legend])


def overview(
    snapshot: Snapshot, title: str, queries: Sequence[str] = (), found: Sequence[Found] = ()
) -> Picture:
    """The whole picture.

    Args:
        snapshot: the glance.
        title: first line.
        queries: standing queries behind the heat.
        found: boxes drawn from above.
    """
    cameras = camera_rows(snapshot, queries)
    width = max(cameras.shape[1], LEAST_WIDTH_PX)
    rows = canvas.blank(cameras.shape[0], width)
    canvas.paste(rows, cameras, 0, 0)
    head = canvas.write_text(canvas.blank(40, width), title, (4, 20), 20, anchor="lm")
    foot = canvas.blank(0, width)
    if any(view.depth_m is not None for view in snapshot.cameras):
        scale = canvas.color_bar(*colors.depth_scale(), width=width // 2, title="depth")
        foot = canvas.blank(scale.shape[0] + GAP_PX, width)
        canvas.paste(foot, scale, 0, 0)
    picture = np.concatenate([head, rows, foot, space(snapshot, width, found)])
    border = canvas.blank(picture.shape[0] + 20, width + 20)
    canvas.paste(border, picture, 10, 10)
    return border
