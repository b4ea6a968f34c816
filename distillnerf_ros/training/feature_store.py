"""A folder of foundation features: made by ``distillnerf teach``, read by ``distillnerf train``.

Layout, for N cameras in the usual order, C components and h x w patches::

    O/pca.safetensors       components, their statistics, their teacher, its class vectors
    O/features.json         format, teacher, fingerprints, sizes: what every file here is of
    O/SCENE/SAMPLE.npy      (N, C, h, w) float16, one per keyframe (sample token); NaN for cameras
                            without an image

Files appear whole or not at all; those that are there are kept, so several processes may fill one
folder and any of them may be killed.
"""

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.scene.features import (
    DESCRIPTION_FILE,
    FORMAT,
    description_of,
    map_features,
)
from distillnerf_ros.training.cache import is_there, publish
from distillnerf_ros.training.components import Components
from distillnerf_ros.training.samples import TrainSample

COMPONENTS_FILE = "pca.safetensors"


def feature_file(folder: Path, scene: str, sample: str) -> Path:
    """Where the features of a keyframe lie below a folder of features."""
    return folder / scene / f"{sample}.npy"


@dataclasses.dataclass(frozen=True)
class FeatureStore:
    """Features of keyframes in a folder, in the components that lie there too.

    Attributes:
        folder: O.
        components: in which the features are.
        image_size: height and width in pixels of the images that the teacher saw.
        grid: rows and columns of features per image.
    """

    folder: Path
    components: Components
    image_size: tuple[int, int]
    grid: tuple[int, int]

    @classmethod
    def open(cls, folder: Path) -> "FeatureStore":
        """Read what a folder holds.

        Raises:
            DatasetError: it holds no features, or they do not belong to the components there.
            CheckpointError: the components cannot be read.
        """
        said = description_of(folder)
        if said is None:
            raise DatasetError(
                f"{folder} holds no {DESCRIPTION_FILE}; expected a folder filled by "
                f"'distillnerf teach --out {folder}'"
            )
        components = Components.load(folder / COMPONENTS_FILE)
        try:
            (height, width), (rows, cols) = said["image_size"], said["grid"]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{folder / DESCRIPTION_FILE} is damaged ({error!r})") from error
        store = cls(folder, components, (height, width), (rows, cols))
        store._check(said)
        return store

    def claim(self) -> None:
        """Mark the folder as of these features, or make sure that it is.

        Raises:
            DatasetError: it is of another teacher, size or components.
            TeacherError: it cannot be written.
        """
        path = self.folder / DESCRIPTION_FILE
        text = json.dumps(self.description(), indent=1)
        if not is_there(path):
            publish(path, lambda part: part.write_text(text))
        self._check(description_of(self.folder))

    def description(self) -> dict[str, Any]:
        """What every file of the folder is of."""
        return {
            "format": FORMAT,
            "teacher": self.components.teacher,
            "weights": self.components.weights,
            "pca": self.components.fingerprint,
            "components": len(self.components.pca.basis),
            "image_size": list(self.image_size),
            "grid": list(self.grid),
            "cameras": list(CAMERA_NAMES),
        }

    def _check(self, said: dict[str, Any] | None) -> None:
        wanted = self.description()
        # The same weights may lie in another place.
        differing = [
            f"{key} {(said or {}).get(key)!r}, now {value!r}"
            for key, value in wanted.items()
            if key != "teacher" and (said or {}).get(key) != value
        ]
        if differing:
            raise DatasetError(
                f"{self.folder} holds features of {(said or {}).get('teacher')!r}, not these: "
                + "; ".join(differing)
                + ". Give another --out, or remove that folder first"
            )

    def path(self, scene: str, sample: str) -> Path:
        """File of a keyframe."""
        return feature_file(self.folder, scene, sample)

    def write(self, scene: str, sample: str, features: Float16[np.ndarray, "N C h w"]) -> None:
        """Keep a keyframe's features.

        Raises:
            TeacherError: they cannot be written; what is there stays.
        """

        def save(part: Path) -> None:
            with part.open("wb") as file:
                np.save(file, features, allow_pickle=False)

        publish(self.path(scene, sample), save)

    def read(self, path: Path) -> Float16[np.ndarray, "N C h w"]:
        """Memory-mapped features of a keyframe.

        Raises:
            DatasetError: they are missing or damaged.
        """
        shape = (len(CAMERA_NAMES), len(self.components.pca.basis), *self.grid)
        return map_features(path, shape)

    @functools.cached_property
    def paths(self) -> dict[str, Path]:
        """Files by sample token, as they are when this is asked first."""
        return {path.stem: path for path in sorted(self.folder.glob("*/*.npy"))}

    def require(self, samples: Sequence[str]) -> None:
        """Make sure that these keyframes have features.

        Raises:
            DatasetError: some have none.
        """
        missing = [sample for sample in samples if sample not in self.paths]
        if missing:
            raise DatasetError(
                f"{self.folder} lacks the features of {len(missing)} of {len(samples)} keyframes, "
                f"such as {missing[0]}; run 'distillnerf teach --out {self.folder}' for them"
            )

    def teach(self, sample: TrainSample, cache: Path | None, key: str) -> TrainSample:
        """The sample with its features; a camera without is taken as missing.

        Args:
            sample: a keyframe, named by its sample token, with all cameras in their usual order.
            cache: not needed.
            key: not needed.

        Raises:
            DatasetError: its features are missing or damaged.
        """
        path = self.paths.get(sample.name)
        if path is None:
            raise DatasetError(
                f"{self.folder} has no features of keyframe {sample.name}; run 'distillnerf teach'"
            )
        features = torch.from_numpy(self.read(path).astype(np.float32))
        known = features.isfinite().flatten(1).all(dim=1)
        rig = dataclasses.replace(sample.rig, valid=sample.rig.valid & known)
        return dataclasses.replace(sample, rig=rig, features=features)
