"""Rendered views of the procedural world with the thing each pixel shows, kept in files."""

import json
from pathlib import Path

import numpy as np

from distillnerf_ros.errors import DatasetError
from distillnerf_ros.training.cache import Arrays, is_there, read_arrays, write_arrays
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

    Raises:
        TeacherError: a file cannot be written.
    """
    missing = [n for n in range(glances) if not is_there(_file(folder, seed, n))]
    scene: Scene | None = None
    for done, number in enumerate(missing):
        scene_seed = seed + number // GLANCES_PER_SCENE
        if scene is None or scene.seed != scene_seed:
            scene = make_scene(scene_seed, _SCENE_S)
        rng = np.random.default_rng([scene_seed, number % GLANCES_PER_SCENE, 17])
        images, things, table = _render(scene, float(rng.uniform(0.5, _SCENE_S - 0.5)), image_size)
        arrays = {"images": images, "things": things, "table": np.array(json.dumps(table))}
        write_arrays(_file(folder, seed, number), arrays)
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
        DatasetError: a glance is missing or damaged.
    """
    images, things = [], []
    numbers: dict[Thing, int] = {}
    for number in range(glances):
        view = _read(_file(folder, seed, number))
        rows = [Thing(*row) for row in json.loads(str(view["table"]))]
        index = np.array([numbers.setdefault(row, len(numbers)) for row in rows], np.int16)
        images.append(view["images"])
        things.append(index[view["things"]])
    for path in sorted(samples.glob("glances/*.npz")) if samples else []:
        view = _read(path)
        index = np.zeros(256, np.int16)
        for label in np.unique(view["labels"]).tolist():
            index[label] = numbers.setdefault(Thing(label), len(numbers))
        images.append(view["images"].transpose(0, 2, 3, 1))
        things.append(index[view["labels"]])
    return Views(np.concatenate(images), np.concatenate(things), tuple(numbers))


def _read(path: Path) -> Arrays:
    arrays = read_arrays(path)
    if arrays is None:
        raise DatasetError(
            f"{path} is missing or damaged; remove it and run the same 'distillnerf train-clip' "
            "(or 'train', for --samples) again: it is rendered anew"
        )
    return arrays
