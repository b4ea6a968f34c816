"""Training targets from a fitted scene: dense depth, virtual views and sky, one file a keyframe.

Layout: ``DIR/SCENE/SAMPLE.npz`` per keyframe (sample token) and ``DIR/SCENE/scene.json``, which
says which field and size they come from. Files appear whole or not at all; those that are there
are kept. See :class:`SceneTargets` for what a file holds.
"""

import dataclasses
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import DatasetError, SceneError
from distillnerf_ros.files import AGAIN, whole_file
from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.fleet_task import write_whole
from distillnerf_ros.scene.judge import shot_of
from distillnerf_ros.scene.log import SceneLog
from distillnerf_ros.scene.views import Picture, Shot, take

FORMAT = "distillnerf_ros/scene-targets/1"
OFFSETS_M = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0))
"""How far the virtual cameras are moved along the vehicle's axes: up, left, right."""
DECISIVE = 0.1
"""Rays whose opacity is this near to 0 or 1 are known; others are not."""

_ADVICE = f"{AGAIN}: it goes on with this keyframe"
_UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What zipfile and NumPy raise of a file that is missing, cut or damaged, wherever it is."""


@dataclasses.dataclass(frozen=True)
class VirtualView:
    """What moved cameras would see.

    Attributes:
        rig: colour and poses, in the ego frame of the glance.
        depth_m: (N, H, W) metres along the optical axis, infinite for sky, NaN where not valid.
        valid: (N, H, W) where the field is sure, and some camera of the glance looks.
    """

    rig: CameraRig
    depth_m: Float[Tensor, "N H W"]
    valid: Bool[Tensor, "N H W"]


@dataclasses.dataclass(frozen=True)
class SceneTargets:
    """Targets of one keyframe.

    On disk, for N cameras and V virtual views: ``names`` (N,), ``depth_m`` (N, H, W) float16,
    ``sky`` (N, H, W) bool, ``virtual_rgb`` (V, N, 3, H, W) uint8, ``virtual_depth_m``
    (V, N, H, W) float16, ``virtual_valid`` (V, N, H, W) bool, ``virtual_pose`` (V, N, 4, 4)
    float32 (ego from camera), ``intrinsics`` (N, 3, 3) float32 in pixels of H x W.

    Attributes:
        names: cameras.
        depth_m: (N, H, W) metres along the optical axis, infinite for sky, NaN where unsure.
        sky: (N, H, W).
        virtual: one view per offset; none where no camera has targets.
    """

    names: tuple[str, ...]
    depth_m: Float[Tensor, "N H W"]
    sky: Bool[Tensor, "N H W"]
    virtual: tuple[VirtualView, ...]


def export_scene(
    field: SceneField, log: SceneLog, nusc: NuScenes, scene: dict[str, Any], out: Path
) -> int:
    """Write the targets of all keyframes; goes on where an earlier call stopped.

    Args:
        field: fitted.
        log: what it was fitted to.
        nusc: the data set.
        scene: record of the scene.
        out: folder of all scenes' targets.

    Returns:
        How many keyframes there are.

    Raises:
        SceneError: a file cannot be written.
        DatasetError: the folder holds targets of another field or size.
    """
    samples = nuscenes.keyframes(nusc, scene)
    header, *paths = target_files(out, log.name, samples)
    _claim(header, field, log)
    for path, sample in zip(tqdm(paths, unit="keyframe"), samples, strict=True):
        if not path.is_file():
            arrays = _arrays(field, log, nusc, sample)
            with whole_file(path, SceneError, _ADVICE) as part, part.open("wb") as file:
                np.savez_compressed(file, **arrays)
    return len(samples)


def target_files(out: Path, scene: str, samples: Sequence[str]) -> tuple[Path, ...]:
    """The header of a scene's targets, then the file of each keyframe.

    Args:
        out: folder of all scenes' targets.
        scene: name of the scene.
        samples: sample tokens of its keyframes.
    """
    folder = out / scene
    return (folder / "scene.json", *(folder / f"{sample}.npz" for sample in samples))


def check_targets(out: Path, field: SceneField, log: SceneLog, fitted: bool) -> None:
    """Make sure, before a field is fitted, that its targets may go to a folder.

    Args:
        out: folder of all scenes' targets.
        field: as it is now.
        log: what it is fitted to.
        fitted: whether it stays as it is.

    Raises:
        DatasetError: the folder holds targets of another field or size.
    """
    (file,) = target_files(out, log.name, [])
    if file.is_file():
        _check(file, _header(field, log) | ({} if fitted else {"field": "one yet to be fitted"}))


def _claim(file: Path, field: SceneField, log: SceneLog) -> None:
    """Mark the folder by its header, or make sure that it is of the same field and size."""
    wanted = _header(field, log)
    if file.is_file():
        _check(file, wanted)
    else:
        write_whole(file, json.dumps(wanted, indent=1).encode())


def _header(field: SceneField, log: SceneLog) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "scene": log.name,
        "size": list(log.image_size),
        "offsets_m": [list(offset) for offset in OFFSETS_M],
        "field": _fingerprint(field),
    }


def _check(file: Path, wanted: dict[str, Any]) -> None:
    try:
        found = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{file} is damaged; remove {file.parent} and export again") from error
    differing = [
        f"{key} {found.get(key)}, now {value}"
        for key, value in wanted.items()
        if found.get(key) != value
    ]
    if differing:
        raise DatasetError(
            f"{file.parent} holds targets of another field or size ({'; '.join(differing)}); "
            "give another --export, or remove it first"
        )


def _fingerprint(field: SceneField) -> str:
    """Changes when the field does."""
    sums = [float(value.detach().double().abs().sum()) for value in field.parameters()]
    return f"{sum(sums):.9e}"


def _arrays(
    field: SceneField, log: SceneLog, nusc: NuScenes, sample: str
) -> dict[str, np.ndarray]:
    data = nusc.get("sample", sample)["data"]
    names = [n for n in log.cameras if data.get(n) in log.tokens]
    if not names:
        tqdm.write(f"keyframe {sample} has no image that can be read: no targets", sys.stderr)
    shots = [shot_of(log, log.tokens.index(data[name])) for name in names]
    record = nuscenes.reference_record(nusc, sample)
    scene_from_ego = log.scene_from_map @ nuscenes.map_from_ego(nusc, record)
    turn = torch.from_numpy(scene_from_ego).float()
    seen = [take(field, shot) for shot in shots]
    size = log.image_size
    arrays = {
        "names": np.array(names, np.str_),
        "depth_m": _stacked([_known_depth(picture) for picture in seen], size, np.float16),
        "sky": _stacked([picture.opacity < DECISIVE for picture in seen], size, np.bool_),
        "intrinsics": _stacked([shot.intrinsics for shot in shots], (3, 3), np.float32),
    }
    views = [_virtual(field, shots, turn, torch.tensor(offset), size) for offset in OFFSETS_M]
    for key in views[0]:
        arrays[f"virtual_{key}"] = np.stack([view[key] for view in views])
    return arrays


def _virtual(
    field: SceneField,
    shots: list[Shot],
    scene_from_ego: Tensor,
    offset_m: Tensor,
    size: tuple[int, int],
) -> dict[str, np.ndarray]:
    """Colour, depth, validity and poses of cameras that are moved in the vehicle's axes."""
    moved = [shot.moved(scene_from_ego[:3, :3] @ offset_m) for shot in shots]
    seen = [take(field, shot) for shot in moved]
    depth = [_known_depth(picture) for picture in seen]
    valid = [d.isinf() | _looked_at(s, d, shots) for s, d in zip(moved, depth, strict=True)]
    known = [d.masked_fill(~v, torch.nan) for d, v in zip(depth, valid, strict=True)]
    ego_from_scene = torch.linalg.inv(scene_from_ego.double()).float()
    poses = [ego_from_scene @ shot.scene_from_camera for shot in moved]
    return {
        "rgb": _stacked([(p.rgb * 255).round() for p in seen], (3, *size), np.uint8),
        "depth_m": _stacked(known, size, np.float16),
        "valid": _stacked(valid, size, np.bool_),
        "pose": _stacked(poses, (4, 4), np.float32),
    }


def _stacked(of_cameras: list[Tensor], shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """(N, *shape) of what each camera has; of no camera, too."""
    return np.array([value.numpy() for value in of_cameras], dtype).reshape(-1, *shape)


def _known_depth(seen: Picture) -> Float[Tensor, "H W"]:
    """Depth; infinite for sky, NaN where the field is not sure."""
    depth = seen.depth_m.masked_fill(seen.opacity < DECISIVE, torch.inf)
    unsure = (seen.opacity >= DECISIVE) & (seen.opacity <= 1 - DECISIVE)
    return depth.masked_fill(unsure, torch.nan)


def _looked_at(shot: Shot, depth_m: Float[Tensor, "H W"], shots: list[Shot]) -> Tensor:
    """(H, W) whether each pixel's surface lies inside the image of some unmoved camera."""
    rays = shot.bundle(torch.device("cpu")).rays
    points = rays.at(depth_m.reshape(-1, 1))[:, 0]
    inside = torch.zeros(len(points), dtype=torch.bool)
    for other in shots:
        pose, (rows, cols) = other.scene_from_camera, other.size
        optical = (points - pose[:3, 3]) @ pose[:3, :3]
        pixel = optical @ other.intrinsics.T
        uv = pixel[:, :2] / pixel[:, 2:]
        within = (uv >= 0).all(1) & (uv[:, 0] < cols) & (uv[:, 1] < rows)
        inside |= within & (optical[:, 2] > 0.1)
    return inside.view(depth_m.shape)


def read_targets(out: Path, scene: str, sample: str) -> SceneTargets:
    """Targets of one keyframe.

    Args:
        out: folder of all scenes' targets.
        scene: name of the scene.
        sample: sample token.

    Raises:
        DatasetError: they are missing or damaged.
    """
    _, path = target_files(out, scene, [sample])
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        names = tuple(str(name) for name in arrays["names"])
        depth = torch.from_numpy(arrays["depth_m"].astype(np.float32))
        offsets = range(len(OFFSETS_M) if names else 0)
        views = [_read_view(arrays, names, number) for number in offsets]
        return SceneTargets(names, depth, torch.from_numpy(arrays["sky"]), tuple(views))
    except _UNREADABLE as error:
        raise DatasetError(
            f"{path} holds no targets ({error!r}); remove it if it is there, and run "
            f"'distillnerf scene --export {out}' again"
        ) from error


def _read_view(arrays: dict[str, np.ndarray], names: tuple[str, ...], number: int) -> VirtualView:
    rig = CameraRig(
        names,
        torch.from_numpy(arrays["virtual_rgb"][number]) / 255.0,
        torch.from_numpy(arrays["intrinsics"]),
        torch.from_numpy(arrays["virtual_pose"][number]),
        torch.ones(len(names), dtype=torch.bool),
    )
    depth = torch.from_numpy(arrays["virtual_depth_m"][number].astype(np.float32))
    return VirtualView(rig, depth, torch.from_numpy(arrays["virtual_valid"][number]))
