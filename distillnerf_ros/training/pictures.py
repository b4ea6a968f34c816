"""Pictures of glances: what the cameras saw, what the model says, and where it is wrong."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data.check import depth_picture
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.progress import write_picture
from distillnerf_ros.taxonomy import FREE_LABEL, OCC3D_COLORS
from distillnerf_ros.training.figures import Figures
from distillnerf_ros.training.judge import Answer, answer, predicted_labels
from distillnerf_ros.training.samples import TrainSample
from distillnerf_ros.training.truth import Frame, load_frame

_EXTREMES = 3
_TRAINED_CAMERAS = 3
_BACKGROUND = (24, 24, 24)
_ORDER = (CAMERA_NAMES[-1], *CAMERA_NAMES[:-1])
"""Clockwise from the front left."""


def draw_frame(frame: Frame, said: Answer) -> UInt8[np.ndarray, "height width 3"]:
    """One column per camera, from the left to the right of the vehicle and on around its back.

    Rows: image, rendered colour, rendered depth (near red, far blue, 1 to 50 m, black = nothing
    hit), lidar points coloured by |d - g| / g (green 0, red 0.5 and more). Right: occupied voxels
    from above, truth over prediction, the highest under the camera mask, forward is up.
    """
    import cv2

    height, width = frame.rig.image_size
    columns = []
    names = [name for name in _ORDER if name in frame.rig.names] or list(frame.rig.names)
    for camera in map(frame.rig.names.index, names):
        depth = depth_picture(said.depth_m[camera])
        error = _error_picture(frame, said, camera)
        column = [_pixels(frame.rig.images[camera].numpy()), _pixels(said.rgb[camera])]
        for picture in (depth, error):
            resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
            column.append(resized)
        columns.append(np.concatenate(column))
    mosaic = np.concatenate(columns, axis=1)
    side = mosaic.shape[0] // 2
    views = [np.zeros((side, side, 3), np.uint8)]
    mask = np.ones((200, 200, 16), bool)
    if frame.occupancy is not None:
        mask = frame.occupancy.mask_camera
        views = [_from_above(frame.occupancy.semantics, mask, side)]
    views.append(_from_above(predicted_labels(said.occupancy), mask, side))
    return np.concatenate([mosaic, np.concatenate(views)], axis=1)


def _pixels(image: Float[np.ndarray, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return (image.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)


def _error_picture(frame: Frame, said: Answer, camera: int) -> UInt8[np.ndarray, "h w 3"]:
    rows, cols = said.depth_m.shape[1:]
    truth = frame.lidar
    own = truth.cells // (rows * cols) == camera
    cells = truth.cells[own] % (rows * cols)
    predicted = np.nan_to_num(said.depth_m[camera].reshape(-1)[cells], nan=80.0)
    share = np.clip(2 * np.abs(predicted - truth.depth_m[own]) / truth.depth_m[own], 0, 1)
    picture = np.full((rows * cols, 3), _BACKGROUND, np.uint8)
    picture[cells] = np.stack([255 * share, 255 * (1 - share), 0 * share], axis=1)
    return picture.reshape(rows, cols, 3)


def _from_above(
    labels: UInt8[np.ndarray, "X Y Z"], mask: np.ndarray, side_px: int
) -> UInt8[np.ndarray, "side side 3"]:
    import cv2

    shown = (labels != FREE_LABEL) & mask
    top = shown.shape[2] - 1 - shown[:, :, ::-1].argmax(axis=2)
    label = np.take_along_axis(labels, top[..., None], axis=2)[..., 0]
    colors = np.array([*OCC3D_COLORS, _BACKGROUND], np.uint8)
    picture = colors[np.where(shown.any(axis=2), label, FREE_LABEL)]
    picture = np.ascontiguousarray(picture[::-1, ::-1])  # ego x is up, ego y is left
    return cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_NEAREST)


def draw_extremes(
    nusc: NuScenes,
    frames: dict[str, list[str]],
    pipeline: Pipeline,
    content: Figures,
    folder: Path,
) -> None:
    """Draw the frames of least and greatest depth error (AbsRel), at most three of each.

    Args:
        nusc: the data set.
        frames: sample tokens by scene name.
        pipeline: what was judged.
        content: the figures of :func:`evaluate.evaluate`.
        folder: where to; files are named by rank, AbsRel, scene and keyframe.

    Raises:
        DatasetError: a picture cannot be written.
    """
    order = sorted(
        (error, name, token)
        for name, tokens in frames.items()
        for token, error in zip(tokens, content["scenes"][name]["abs_rel_by_frame"], strict=True)
    )
    count = min(_EXTREMES, (len(order) + 1) // 2)
    chosen = [("best", one) for one in order[:count]]
    chosen += [("worst", one) for one in order[count:][::-1][:_EXTREMES]]
    for kind, (error, name, token) in chosen:
        frame = load_frame(nusc, token, pipeline.image_size, pipeline.depth_size)
        picture = draw_frame(frame, answer(pipeline, frame.rig))
        path = folder / f"{kind}_{error:.3f}_{name}_{frames[name].index(token):02d}.png"
        write_picture(path, picture, DatasetError)


@torch.no_grad()
def draw_glance(model: DistillNeRF, sample: TrainSample) -> UInt8[np.ndarray, "height width 3"]:
    """One column per camera; rows: image, rendered colour, depth, and what it should have been.

    Depth: near red, far blue; black where there is sky, or nothing is known.
    """
    import cv2

    rig = sample.rig.present()
    rendered = model.render(model.encode(rig), rig)
    height, width = rig.image_size
    truth = sample.depth_m[sample.rig.valid]
    columns = []
    for camera in range(min(_TRAINED_CAMERAS, len(rig.names))):
        colors = (rig.images[camera], rendered.rgb[camera])
        rows = [(c.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy() for c in colors]
        for depth in (rendered.depth_m[camera], truth[camera]):
            picture = depth_picture(depth.cpu().numpy())
            rows.append(cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST))
        columns.append(np.concatenate(rows))
    return np.concatenate(columns, axis=1)
