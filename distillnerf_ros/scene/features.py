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
    said = description_of(folder) or {}
    try:
        shape = (len(CAMERA_NAMES), said["components"], *said["grid"])
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"{folder / DESCRIPTION_FILE} does not say what the features are ({error!r}); "
            f"expected a folder filled by 'distillnerf teach --out {folder}'"
        ) from error
    number_of = {token: number for number, token in enumerate(log.tokens)}
    row = torch.full((len(log.tokens),), -1)
    values: list[Tensor] = []
    for sample in nuscenes.keyframes(nusc, scene):
        seen = map_features(folder / log.name / f"{sample}.npy", shape)
        data = nusc.get("sample", sample)["data"]
        for name, features in zip(CAMERA_NAMES, seen, strict=True):
            number = number_of.get(data.get(name))
            if number is not None and np.isfinite(features).all():
                row[number] = len(values)
                values.append(torch.from_numpy(features.copy()))
    if not values:
        raise DatasetError(
            f"{folder} holds no features of any image of {log.name}; run the same "
            "'distillnerf teach' again"
        )
    return LogFeatures(torch.stack(values), row, name_of(said))


def name_of(said: dict[str, Any]) -> str:
    """Changes with the teacher, its components and the size that it saw."""
    return hashlib.sha1(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def description_of(folder: Path) -> dict[str, Any] | None:
    """What a folder of ``distillnerf teach`` says that its features are; None where it says none.

    Raises:
        DatasetError: it cannot be read, or is of another format.
    """
    path = folder / DESCRIPTION_FILE
    try:
        said = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); remove {folder}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise DatasetError(f"{path} is no description of features ({FORMAT}); give another folder")
    return said


def map_features(path: Path, shape: tuple[int, ...]) -> Float16[np.ndarray, "N C h w"]:
    """Memory-mapped features of a keyframe.

    Args:
        path: its file.
        shape: cameras, components, rows and columns that it should have.

    Raises:
        DatasetError: they are missing or damaged.
    """
    try:
        features = np.lib.format.open_memmap(path, mode="r")  # .npy alone, unlike np.load
    except (OSError, ValueError) as error:
        remove = "remove it and " if path.exists() else ""
        raise DatasetError(
            f"{path} holds no features ({error}); {remove}run the same 'distillnerf teach' again"
        ) from error
    if features.shape != shape or features.dtype != np.float16:
        raise DatasetError(
            f"{path} holds {features.dtype} of {features.shape}, expected float16 of {shape}; "
            "remove it and run the same 'distillnerf teach' again"
        )
    return features
