"""Calibration for the eye: lidar and camera frusta drawn over the images of a rig.

Where calibration, poses and stamps are right, lidar depth edges sit on image edges and the frame
of a neighbouring camera lies where both images show the same things.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8

from distillnerf_ros.cameras import CAMERA_NAMES, CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import project
from distillnerf_ros.data.nuscenes import Box
from distillnerf_ros.errors import ConfigError, DatasetError

VERB_HELP = "draw lidar and camera frusta over the images: calibration for the eye"
EXAMPLE = "distillnerf check --dataroot /data/nuscenes --scene scene-0061 --out check.png"

_RANGE_M = 50.0  # bird's-eye view and colour scale
_FRUSTUM_M = 12.0  # depth of the drawn frusta
_CAMERA_COLORS = (  # R, G, B
    (255, 80, 80),
    (255, 190, 60),
    (230, 255, 80),
    (80, 255, 120),
    (90, 190, 255),
    (230, 120, 255),
)


def depth_colors(depth_m: Float[np.ndarray, " P"]) -> UInt8[np.ndarray, "P 3"]:
    """Colour (R, G, B) of each depth: near red, far blue, logarithmic from 1 to 50 m."""
    import cv2

    position = np.log(np.clip(depth_m, 1.0, _RANGE_M)) / np.log(_RANGE_M)
    levels = np.round(255 * (1 - position)).astype(np.uint8)
    return _palette(cv2.COLORMAP_TURBO)[levels]


def depth_picture(depth_m: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A depth image in colours (see ``depth_colors``); black where nothing is hit or known."""
    picture = np.zeros((*depth_m.shape, 3), np.uint8)
    hit = np.isfinite(depth_m)
    picture[hit] = depth_colors(depth_m[hit])
    return picture


def _palette(colormap: int) -> UInt8[np.ndarray, "256 3"]:
    """OpenCV's colour map as (R, G, B) of each level (applyColorMap refuses an empty list)."""
    import cv2

    levels = np.arange(256, dtype=np.uint8)[:, None]
    return cv2.applyColorMap(levels, colormap)[:, 0, ::-1].copy()


def draw_camera(
    rig: CameraRig, camera: int, points_ego: Float[torch.Tensor, "P 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """One image with the lidar points in it and the frame of every other camera at 12 m."""
    import cv2

    image = _pixels(rig, camera)
    height, width = image.shape[:2]
    uv, depth = project(points_ego, rig, camera)
    inside = (depth > 0.5) & (uv >= 0).all(1) & (uv[:, 0] < width) & (uv[:, 1] < height)
    order = depth[inside].argsort(descending=True)  # near points are drawn last
    centers = uv[inside][order].numpy()
    radius = max(1, width // 500)
    colors = depth_colors(depth[inside][order].numpy())
    for (u, v), color in zip(centers, colors, strict=True):
        cv2.circle(image, (int(u), int(v)), radius, color.tolist(), -1)
    for other in range(len(rig.names)):
        if other != camera and rig.valid[other]:
            _draw_frame(image, rig, camera, other)
    cv2.putText(
        image,
        rig.names[camera],
        (8, 24),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.7,
        _CAMERA_COLORS[camera % 6],
        2,
        cv2.LINE_AA,
    )
    return image


def _pixels(rig: CameraRig, camera: int) -> UInt8[np.ndarray, "H W 3"]:
    image = rig.images[camera].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte()
    return image.cpu().numpy().copy()


def _frame_points(rig: CameraRig, camera: int, count: int) -> Float[torch.Tensor, "S 3"]:
    """Points along the border of a camera's image at the frustum depth, in the ego frame."""
    height, width = rig.image_size
    side = torch.linspace(0, 1, count, dtype=torch.float64)
    zero, one = torch.zeros_like(side), torch.ones_like(side)
    u = torch.cat([side, one, 1 - side, zero]) * width
    v = torch.cat([zero, side, one, 1 - side]) * height
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=1)
    optical = pixels @ torch.linalg.inv(rig.intrinsics[camera].double()).T * _FRUSTUM_M
    pose = rig.ego_from_camera[camera].double()
    return (optical @ pose[:3, :3].T + pose[:3, 3]).to(rig.images)


def _draw_frame(image: np.ndarray, rig: CameraRig, camera: int, other: int) -> None:
    import cv2

    uv, depth = project(_frame_points(rig, other, 60), rig, camera)
    height, width = image.shape[:2]
    near = (depth > 0.5) & (uv.abs() < 4 * max(height, width)).all(1)
    color = _CAMERA_COLORS[other % 6]
    points = uv.round().int().tolist()
    for index in range(len(points) - 1):
        if near[index] and near[index + 1]:
            cv2.line(image, points[index], points[index + 1], color, 2, cv2.LINE_AA)


def draw_birds_eye(
    rig: CameraRig,
    points_ego: Float[torch.Tensor, "P 3"],
    boxes: Iterable[Box] = (),
    side_px: int = 720,
) -> UInt8[np.ndarray, "side side 3"]:
    """Lidar (coloured by height), frusta and boxes from above; forward is up, rings every 10 m."""
    import cv2

    canvas = np.full((side_px, side_px, 3), 24, np.uint8)
    middle = (side_px // 2, side_px // 2)
    for ring_m in range(10, int(_RANGE_M) + 1, 10):
        cv2.circle(
            canvas, middle, round(ring_m * side_px / (2 * _RANGE_M)), (60, 60, 60), 1, cv2.LINE_AA
        )
    points = points_ego.numpy()
    pixels = _to_px(points[:, :2], side_px)
    inside = ((pixels >= 0) & (pixels < side_px)).all(1)
    heights = np.clip((points[inside, 2] + 1) / 5, 0, 1)
    levels = (60 + 195 * heights).astype(np.uint8)
    canvas[pixels[inside, 1], pixels[inside, 0]] = _palette(cv2.COLORMAP_BONE)[levels]
    for camera in rig.valid.nonzero()[:, 0].tolist():
        _draw_wedge(canvas, rig, camera)
    for box in boxes:
        cv2.polylines(
            canvas, [_to_px(_footprint(box), side_px)], True, (255, 255, 255), 1, cv2.LINE_AA
        )
    vehicle = np.array([[3.5, 0.9], [3.5, -0.9], [-0.8, -0.9], [-0.8, 0.9]])
    cv2.fillPoly(canvas, [_to_px(vehicle, side_px)], (120, 120, 120))
    return canvas


def _to_px(xy_m: Float[np.ndarray, "*P 2"], side_px: int) -> Int32[np.ndarray, "*P 2"]:
    """Pixels of ego positions in the bird's-eye view: ego x is up, ego y is left."""
    return np.round(side_px / 2 - xy_m[..., ::-1] * side_px / (2 * _RANGE_M)).astype(np.int32)


def _draw_wedge(canvas: np.ndarray, rig: CameraRig, camera: int) -> None:
    import cv2

    border = _frame_points(rig, camera, 2)[:, :2].numpy()  # 2 points per side, from the top left
    origin = rig.ego_from_camera[camera][:2, 3].numpy()
    wedge = _to_px(np.stack([origin, border[0], border[1]]), canvas.shape[0])
    cv2.polylines(canvas, [wedge], True, _CAMERA_COLORS[camera % 6], 2, cv2.LINE_AA)


def _footprint(box: Box) -> Float[np.ndarray, "4 2"]:
    length, width, _ = box.size_m
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (length / 2, width / 2)
    cos, sin = np.cos(box.yaw_rad), np.sin(box.yaw_rad)
    return corners @ np.array([[cos, sin], [-sin, cos]]) + box.center_m[:2]


def draw_check(
    rig: CameraRig, points_ego: Float[torch.Tensor, "P 3"], boxes: Iterable[Box] = ()
) -> UInt8[np.ndarray, "H W 3"]:
    """The whole picture: the front cameras over the back cameras, bird's-eye view at the right.

    Args:
        rig: any rig; nuScenes' six cameras are laid out as they look, others in their own order.
        points_ego: lidar points in the rig's ego frame.
        boxes: drawn into the bird's-eye view.
    """
    rig = rig.to("cpu")
    points_ego = points_ego.cpu()
    order = list(range(len(rig.names)))
    if rig.names == CAMERA_NAMES:  # left, front, right / back left, back, back right
        order = [5, 0, 1, 4, 3, 2]
    views = [draw_camera(rig, camera, points_ego) for camera in order]
    columns = min(3, len(views))
    views += [np.zeros_like(views[0])] * (-len(views) % columns)
    rows = [
        np.concatenate(views[start : start + columns], axis=1)
        for start in range(0, len(views), columns)
    ]
    mosaic = np.concatenate(rows, axis=0)
    return np.concatenate(
        [mosaic, draw_birds_eye(rig, points_ego, boxes, mosaic.shape[0])], axis=1
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf check``."""
    nuscenes.add_dataset_arguments(parser)
    parser.add_argument("--frame", type=int, default=0, metavar="K", help="keyframe, from 0")
    parser.add_argument("--width", type=int, default=640, metavar="PX", help="width of a view")
    parser.add_argument("--out", type=Path, default=Path("check.png"), metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Write the check picture of one keyframe.

    Raises:
        ConfigError: the width is not usable.
        DatasetError: the data set, scene or keyframe is not there, or the file cannot be written.
    """
    import cv2

    if not 64 <= args.width <= 1600:
        raise ConfigError(f"--width {args.width} px is out of range; expected 64..1600")
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    scene = nuscenes.find_scene(nusc, args.scene)
    samples = nuscenes.keyframes(nusc, scene)
    if not 0 <= args.frame < len(samples):
        raise DatasetError(f"--frame {args.frame}: {scene['name']} has 0..{len(samples) - 1}")
    sample = samples[args.frame]
    rig = nuscenes.load_glance(nusc, sample, (round(args.width * 9 / 16), args.width))
    points = torch.zeros(0, 3)  # frusta alone are worth a look, too
    if nuscenes.has_lidar(nusc, sample):
        points = nuscenes.lidar_points(nusc, sample)
    picture = draw_check(rig, points, nuscenes.boxes(nusc, sample))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    known = cv2.haveImageWriter(str(args.out))
    if not (known and cv2.imwrite(str(args.out), picture[..., ::-1])):
        raise DatasetError(f"{args.out} cannot be written; give a .png or .jpg name")
    print(f"{scene['name']} keyframe {args.frame}: {len(points)} lidar points -> {args.out}")
    return 0
