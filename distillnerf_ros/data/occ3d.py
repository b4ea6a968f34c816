"""Occ3D-nuScenes ground truth: ``gts/<scene name>/<sample token>/labels.npz``."""

import dataclasses
import os
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from distillnerf_ros.errors import DatasetError
from distillnerf_ros.taxonomy import FREE_LABEL

GRID_SHAPE: tuple[int, int, int] = (200, 200, 16)
VOXEL_M = 0.4
ORIGIN_M: tuple[float, float, float] = (-40.0, -40.0, -1.0)
"""Corner of voxel (0, 0, 0) in the ego frame of the keyframe's LIDAR_TOP stamp."""


@dataclasses.dataclass(frozen=True)
class OccupancyTruth:
    """What fills each voxel around the ego vehicle, and who could see it.

    Indexed [x, y, z] with x forward, y left, z up (Occ3D challenge README).

    Attributes:
        semantics: (200, 200, 16) Occ3D class, ``FREE_LABEL`` where empty.
        mask_camera: (200, 200, 16) some camera observed the voxel.
        mask_lidar: (200, 200, 16) the lidar observed the voxel.
    """

    semantics: UInt8[np.ndarray, "200 200 16"]
    mask_camera: Bool[np.ndarray, "200 200 16"]
    mask_lidar: Bool[np.ndarray, "200 200 16"]

    @property
    def occupied(self) -> Bool[np.ndarray, "200 200 16"]:
        """Voxels that are not free."""
        return self.semantics != FREE_LABEL


def voxel_centers_m() -> np.ndarray:
    """Centre of every voxel, (200, 200, 16, 3) float32 metres in the ego frame."""
    axes = [
        origin + VOXEL_M * (np.arange(count, dtype=np.float32) + 0.5)
        for origin, count in zip(ORIGIN_M, GRID_SHAPE, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


def read_labels(path: str | os.PathLike[str]) -> OccupancyTruth:
    """Read one ``labels.npz``.

    Raises:
        DatasetError: the file is missing, damaged, or not Occ3D labels.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("semantics", "mask_camera", "mask_lidar")}
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} is missing; expected Occ3D labels at "
            "gts/<scene name>/<sample token>/labels.npz below the data root"
        ) from error
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} is damaged or not an Occ3D labels.npz: {error}") from error
    for name, array in arrays.items():
        if array.shape != GRID_SHAPE:
            raise DatasetError(f"{path}: {name} has shape {array.shape}, expected {GRID_SHAPE}")
    semantics = arrays["semantics"]
    if semantics.min() < 0 or semantics.max() > FREE_LABEL:
        raise DatasetError(
            f"{path}: semantics hold {int(semantics.min())}..{int(semantics.max())}, "
            f"expected classes 0..{FREE_LABEL - 1} and {FREE_LABEL} = free"
        )
    return OccupancyTruth(
        semantics.astype(np.uint8),
        arrays["mask_camera"].astype(bool),
        arrays["mask_lidar"].astype(bool),
    )


def write_labels(path: str | os.PathLike[str], truth: OccupancyTruth) -> None:
    """Write one ``labels.npz`` with Occ3D's names and types (uint8), the same bytes every time."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        semantics=truth.semantics,
        mask_lidar=truth.mask_lidar.astype(np.uint8),
        mask_camera=truth.mask_camera.astype(np.uint8),
    )
