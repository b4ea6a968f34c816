"""Dense depth and virtual views that a per-scene field wrote (``distillnerf scene --export``)."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.scene.export import FORMAT, VirtualView, read_targets
from distillnerf_ros.training.dense_depth import Dense
from distillnerf_ros.training.samples import View


@dataclasses.dataclass(frozen=True)
class SceneExports:
    """A folder of exported targets, as a teacher of dense depth.

    Attributes:
        folder: of all scenes' targets.
        virtual: whether to add virtual views.
    """

    folder: Path
    virtual: bool = True

    def check(self, nusc: NuScenes, tokens: Sequence[str], image_size: tuple[int, int]) -> None:
        """Make sure, before any work, that all keyframes have targets of the right size.

        Raises:
            DatasetError: some have none, or the targets are of another size.
        """
        names = {token: scene_name(nusc, token) for token in tokens}
        missing = [t for t in tokens if not (self.folder / names[t] / f"{t}.npz").is_file()]
        if missing:
            scenes = sorted({names[token] for token in missing})
            more = ", ..." if len(scenes) > 5 else ""
            raise DatasetError(
                f"{self.folder} lacks the targets of {len(missing)} of {len(tokens)} keyframes "
                f"(scenes {', '.join(scenes[:5])}{more}); write them by 'distillnerf scene "
                f"--scene NAME --size {_size(image_size)} --export {self.folder}', or choose a "
                "--split whose scenes are there"
            )
        for name in sorted(set(names.values())):
            _check_size(self.folder / name, _header(self.folder / name)[0], image_size)

    def __call__(self, nusc: NuScenes, token: str, rig: CameraRig) -> Dense:
        """Depth of a keyframe's cameras, and of all of them moved up, left and right.

        Raises:
            DatasetError: the targets are missing, damaged or of another size.
        """
        name = scene_name(nusc, token)
        found = read_targets(self.folder, name, token)
        rows, cols = found.depth_m.shape[1:]
        _check_size(self.folder / name, (rows, cols), rig.image_size)
        depth = torch.full((len(rig.names), rows, cols), torch.nan)
        for index, camera in enumerate(rig.names):
            if camera in found.names and rig.valid[index]:
                depth[index] = found.depth_m[found.names.index(camera)]
        views = tuple(map(_moved, found.virtual)) if self.virtual else ()
        return Dense(depth, f"{name}-{_header(self.folder / name)[1]}", views)


def scene_name(nusc: NuScenes, token: str) -> str:
    """Name of the scene of a sample."""
    return nusc.get("scene", nusc.get("sample", token)["scene_token"])["name"]


@functools.cache
def _header(folder: Path) -> tuple[tuple[int, int], str]:
    """Height and width of a scene's targets, and what tells them from any others.

    Raises:
        DatasetError: the scene's header is missing, damaged or of another format.
    """
    file = folder / "scene.json"
    try:
        text = file.read_text()
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT!r}")
        rows, cols = content["size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{file} does not say what its targets are ({error!r}); remove {folder} and run "
            f"'distillnerf scene --export {folder.parent}' again"
        ) from error
    return (int(rows), int(cols)), hashlib.sha1(text.encode()).hexdigest()[:12]


def _check_size(folder: Path, found: tuple[int, int], wanted: tuple[int, int]) -> None:
    if found != wanted:
        raise DatasetError(
            f"the targets in {folder} are of {_size(found)} pixels, the model takes "
            f"{_size(wanted)}; fit and export again with 'distillnerf scene --size "
            f"{_size(wanted)}' (they are not resized: depth at edges would be made up)"
        )


def _size(size: tuple[int, int]) -> str:
    """Width first, as the command line has it."""
    return f"{size[1]}x{size[0]}"


def _moved(found: VirtualView) -> View:
    """Blind where the field is not sure, or where no camera of the glance looked."""
    names = tuple(f"virtual {name}" for name in found.rig.names)
    rig = dataclasses.replace(found.rig, names=names)
    return View(rig, found.depth_m.masked_fill(~found.valid, torch.nan))
