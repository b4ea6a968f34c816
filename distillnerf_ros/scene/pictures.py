"""Pictures of a fit: single stamps, and a strip over time that shows what moves apart."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.data.check import depth_picture
from distillnerf_ros.progress import Picture8
from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.judge import shot_of
from distillnerf_ros.scene.log import SceneLog
from distillnerf_ros.scene.views import take

_COLUMNS = 6


def draw_stamp(field: SceneField, log: SceneLog, time_s: float) -> Picture8:
    """One column per camera at the images nearest to a time.

    Rows: truth, rendered colour, depth (near red, far blue, black where nothing is hit), what
    moves.
    """
    columns = []
    for camera in range(len(log.cameras)):
        frames = (log.camera == camera).nonzero()[:, 0]
        frame = int(frames[(log.times_s[frames] - time_s).abs().argmin()])
        seen = take(field, shot_of(log, frame))
        truth = log.images[frame] / 255.0
        rows = [
            _pixels(truth),
            _pixels(seen.rgb),
            depth_picture(seen.depth_m.numpy()),
            _pixels(seen.moving_rgb),
        ]
        columns.append(np.concatenate(rows))
    return np.concatenate(columns, axis=1)


def draw_over_time(field: SceneField, log: SceneLog) -> Picture8:
    """One column per stamp, of the camera that sees most motion.

    Rows: truth, rendered colour, what stands alone, what moves alone.
    """
    camera = _liveliest(field, log)
    frames = (log.camera == camera).nonzero()[:, 0]
    even = torch.linspace(0, len(frames) - 1, min(_COLUMNS, len(frames))).round().long()
    columns = []
    for frame in frames[even].tolist():
        seen = take(field, shot_of(log, frame))
        standing = take(field, shot_of(log, frame), standing_only=True)
        truth = log.images[frame] / 255.0
        rows = [truth, seen.rgb, standing.rgb, seen.moving_rgb]
        columns.append(np.concatenate([_pixels(row) for row in rows]))
    return np.concatenate(columns, axis=1)


def _liveliest(field: SceneField, log: SceneLog) -> int:
    """The camera whose images at three stamps show most of what moves."""
    shares = []
    for camera in range(len(log.cameras)):
        frames = (log.camera == camera).nonzero()[:, 0]
        some = frames[torch.linspace(0, len(frames) - 1, 5).long()[1:4]].tolist()
        shares.append(sum(float(take(field, shot_of(log, f)).moving.mean()) for f in some))
    return int(np.argmax(shares))


def _pixels(rgb: Float[Tensor, "3 H W"]) -> Picture8:
    return (rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
