"""Rendered views of the procedural world with the thing each pixel shows, kept in files."""

import json
from pathlib import Path

import numpy as np

from distillnerf_ros.errors import DatasetError
from distillnerf_ros.training.phrases import Thing
from distillnerf_ros.training.windows import Views
from distillnerf_ros.world.frames import glance
from distillnerf_ros.world.scene import Scene, make_scene

GLANCES_PER_SCENE = 3
_SCENE_S = 20.0


def _file(folder: Path, seed: int, number: int) -> Path:
    return folder / f"{seed + number // GLANCES_PER_SCENE}_{number % GLANCES_PER_SCENE}.npz"


def render_views(
    folder: Path, seed: int, glances: int, image_size: tuple[int, int] = (128, 224)
) -> None:
    """Render the glances whose files are not there yet, a few per scene.

    Args:
        folder: where the files lie.
        seed: world seed of the first scene.
        glances: number of glances of six views.
        image_size: height and width in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(glances) if not _file(folder, seed, n).exists()]
    scene: Scene | None = None
    for done, number in enumerate(missing):
        scene_seed = seed + number // GLANCES_PER_SCENE
        if scene is None or scene.seed != scene_seed:
            scene = make_scene(scene_seed, _SCENE_S)
        rng = np.random.default_rng([scene_seed, number % GLANCES_PER_SCENE, 17])
        images, things, table = _render(scene, float(rng.uniform(0.5, _SCENE_S - 0.5)), image_size)
        fresh = folder / f".{scene_seed}.npz"
        np.savez(fresh, images=images, things=things, table=json.dumps(table))
        fresh.replace(_file(folder, seed, number))
        print(f"rendered {done + 1} of {len(missing)} glances", flush=True)


def _render(
    scene: Scene, time_s: float, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str, str]]]:
    """Images, the thing of each pixel, and what the things are: label, kind, colour."""
    seen = glance(scene, time_s, image_size)
    pairs = np.stack([seen.labels.numpy().astype(np.int64), seen.instances.numpy()], axis=-1)
    unique, index = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    table = []
    for label, instance in unique.tolist():
        model = scene.things[instance - 1].model if instance else None
        table.append((label, model.kind if model else "", model.color if model else ""))
    images = (seen.rig.images.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    return images, index.reshape(seen.labels.shape).astype(np.int16), table


def load_views(folder: Path, seed: int, glances: int, samples: Path | None = None) -> Views:
    """Read rendered views and number their things across all of them.

    Args:
        folder: where the files lie.
        seed: world seed of the first scene.
        glances: number of glances of six views.
        samples: cache of ``WorldSamples``, whose glances are added; of their things only the class
            is known.

    Raises:
        DatasetError: a glance is not there.
    """
    images, things = [], []
    numbers: dict[Thing, int] = {}
    for number in range(glances):
        path = _file(folder, seed, number)
        if not path.exists():
            raise DatasetError(f"{path} is missing; render it first with 'distillnerf train-clip'")
        with np.load(path) as file:
            rows = [Thing(*row) for row in json.loads(str(file["table"]))]
            index = np.array([numbers.setdefault(row, len(numbers)) for row in rows], np.int16)
            images.append(file["images"])
            things.append(index[file["things"]])
    for path in sorted(samples.glob("glances/*.npz")) if samples else []:
        with np.load(path) as file:
            index = np.zeros(256, np.int16)
            for label in np.unique(file["labels"]).tolist():
                index[label] = numbers.setdefault(Thing(label), len(numbers))
            images.append(file["images"].transpose(0, 2, 3, 1))
            things.append(index[file["labels"]])
    return Views(np.concatenate(images), np.concatenate(things), tuple(numbers))
