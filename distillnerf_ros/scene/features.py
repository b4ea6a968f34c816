"""Foundation features of the images of a log, from the folder that ``distillnerf teach`` filled.

The teacher sees keyframes only; the images between them have no features.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.scene.log import SceneLog

FORMAT = "distillnerf_ros/features/1"
DESCRIPTION_FILE = "features.json"


@dataclasses.dataclass(frozen=True)
class LogFeatures:
    """What a teacher sees in the images of a log.

    Attributes:
        values: (K, C, h, w) of the images that it looked at, in its components.
        row: (F,) place among them of each image of the log; -1 where it did not look.
        name: changes with the teacher, its components and the size that it saw.
    """

    values: Float16[Tensor, "K C h w"]
    row: Int[Tensor, " F"]
    name: str

    @property
    def width(self) -> int:
        """Components, C."""
        return self.values.shape[1]

    def at(
        self, frame: Int[Tensor, " R"], pixel: Int[Tensor, " R"], image_size: tuple[int, int]
    ) -> tuple[Float[Tensor, "R C"], Bool[Tensor, " R"]]:
        """Features of the cells that pixels lie in, and where there are any.

        Args:
            frame: image of the log.
            pixel: row * width + column in it.
            image_size: height and width in pixels.
        """
        (height, width), (rows, cols) = image_size, self.values.shape[2:]
        row, col = (pixel // width) * rows // height, (pixel % width) * cols // width
        place = self.row[frame]
        return self.values[place, :, row, col].float(), place >= 0


def read_features(
    folder: Path, nusc: NuScenes, scene: dict[str, Any], log: SceneLog
) -> LogFeatures:
    """The features of a scene's keyframes.

    Args:
        folder: of ``distillnerf teach --out``.
        nusc: the data set.
        scene: record of the scene.
        log: its images.

    Raises:
        DatasetError: the folder holds no features, or those of a keyframe are missing or damaged.
    """
    text, shape = _description(folder)
    number_of = {token: number for number, token in enumerate(log.tokens)}
    row = torch.full((len(log.tokens),), -1)
    values: list[Tensor] = []
    for sample in nuscenes.keyframes(nusc, scene):
        seen = _read(folder / log.name / f"{sample}.npy", shape)
        data = nusc.get("sample", sample)["data"]
        for name, features in zip(CAMERA_NAMES, seen, strict=True):
            number = number_of.get(data.get(name))
            if number is not None and np.isfinite(features).all():
                row[number] = len(values)
                values.append(torch.from_numpy(features))
    if not values:
        raise DatasetError(
            f"{folder} holds no features of any image of {log.name}; run the same "
            "'distillnerf teach' again"
        )
    return LogFeatures(torch.stack(values), row, hashlib.sha1(text.encode()).hexdigest()[:12])


def _description(folder: Path) -> tuple[str, tuple[int, ...]]:
    """What a folder holds, and the shape of its files."""
    file = folder / DESCRIPTION_FILE
    try:
        text = file.read_text()
        said = json.loads(text)
        if said["format"] != FORMAT:
            raise ValueError(f"format {said['format']!r}, expected {FORMAT!r}")
        rows, cols = said["grid"]
        return text, (len(CAMERA_NAMES), int(said["components"]), int(rows), int(cols))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{file} does not say what the features are ({error!r}); expected a folder filled by "
            f"'distillnerf teach --out {folder}'"
        ) from error


def _read(path: Path, shape: tuple[int, ...]) -> Float16[np.ndarray, "N C h w"]:
    try:
        features = np.load(path, allow_pickle=False)
        if features.shape != shape or features.dtype != np.float16:
            raise ValueError(f"{features.dtype} of {features.shape}, expected float16 of {shape}")
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            f"{path} holds no features ({error}); remove it if it is there, and run the same "
            "'distillnerf teach' again"
        ) from error
    return features
