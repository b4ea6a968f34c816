"""The verb ``teach``: foundation features of every keyframe of a driving log, kept in a folder."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor
from tqdm import tqdm

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.config import PRESETS, preset
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.jpeg import decode_jpeg
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import ConfigError, DatasetError, ImageError, TeacherError
from distillnerf_ros.progress import write_picture
from distillnerf_ros.scene.fit import parse_size
from distillnerf_ros.scene.fleet import add_fleet_arguments
from distillnerf_ros.scene.log import MAX_DAMAGED
from distillnerf_ros.teachers.dense import DINOV2, DenseFeatures, load_dense, settled
from distillnerf_ros.teachers.open_clip import EMBEDDED_CLIP
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.cache import is_there
from distillnerf_ros.training.components import (
    Components,
    fit_components,
    load_pca,
    pca_fingerprint,
    reuse,
)
from distillnerf_ros.training.feature_pictures import draw_features
from distillnerf_ros.training.feature_store import COMPONENTS_FILE, FeatureStore
from distillnerf_ros.training.targets import Teacher
from distillnerf_ros.training.teach_all import run_all

VERB_HELP = "make foundation features (CLIP, DINOv2) of every keyframe of a nuScenes data set"
EXAMPLE = (
    "distillnerf teach --dataroot /data/nuscenes --out features "
    "--clip ViT-B-16:laion2b_s34b_b88k --preset base --size 800x448"
)

FIT_IMAGES = 400
"""Images that the components are fitted on, at most."""
ENOUGH_IMAGES = 60
"""A part of a scene must have so many before it is judged by how many of them are damaged."""
Record = dict[str, Any]


@dataclasses.dataclass
class Log:
    """The images of a driving log; damaged ones are left out, named and counted.

    Attributes:
        nusc: the data set.
        image_size: height and width in pixels that they are read at.
        asked: paths of those that were wanted.
        damaged: paths of those that could not be read.
    """

    nusc: NuScenes
    image_size: tuple[int, int]
    asked: set[str] = dataclasses.field(default_factory=set)
    damaged: set[str] = dataclasses.field(default_factory=set)

    def read(self, sample: str, camera: str) -> Float[Tensor, "3 H W"] | None:
        """RGB in 0..1; None where the keyframe has no such camera, or a damaged image.

        Raises:
            DatasetError: a file is missing.
        """
        token = self.nusc.get("sample", sample)["data"].get(camera)
        if token is None:
            return None
        path = nuscenes.sensor_path(self.nusc, self.nusc.get("sample_data", token))
        self.asked.add(str(path))
        try:
            pixels = decode_jpeg(path.read_bytes(), self.image_size, str(path))
        except ImageError as error:
            if str(path) not in self.damaged:
                self.damaged.add(str(path))
                tqdm.write(f"left out: {error}", file=sys.stderr)
            return None
        return torch.from_numpy(pixels).permute(2, 0, 1) / 255.0

    def refuse_if_broken(self) -> None:
        """Stop where too many images are damaged.

        Raises:
            DatasetError: says how many.
        """
        # A few images may all be bad luck.
        if len(self.damaged) > 1 + MAX_DAMAGED * len(self.asked):
            raise DatasetError(
                f"{len(self.damaged)} of {len(self.asked)} images are damaged, expected at most "
                f"{MAX_DAMAGED:.0%}; the first: {min(self.damaged)}: copy the data set again"
            )


def sampled_images(log: Log, scenes: list[Record], most: int, seed: int) -> list[tuple[str, str]]:
    """Sample and camera of images drawn evenly from all keyframes of scenes, in their order."""
    places = [
        (sample, camera)
        for scene in scenes
        for sample in nuscenes.keyframes(log.nusc, scene)
        for camera in CAMERA_NAMES
    ]
    order = np.random.default_rng(seed).permutation(len(places))[:most]
    return [places[index] for index in sorted(order.tolist())]


def fit(
    dense: DenseFeatures, log: Log, places: list[tuple[str, str]], components: int, seed: int
) -> Pca:
    """Components of a sample of the features of images; damaged ones are left out.

    Args:
        dense: the teacher.
        log: reads the images.
        places: sample and camera of each.
        components: C.
        seed: which features of an image are taken.

    Raises:
        DatasetError: files are missing, or too many damaged.
        TrainingError: fewer features than components.
    """

    def images() -> Iterator[Float[Tensor, "3 H W"]]:
        for place in tqdm(places, desc="components", unit="image"):
            image = log.read(*place)
            if image is not None:
                yield image

    pca = fit_components(dense, images(), len(places), components, seed)
    log.refuse_if_broken()
    return pca


@torch.inference_mode()
def features_of(
    dense: DenseFeatures, components: Components, log: Log, sample: str, device: torch.device
) -> Float16[np.ndarray, "N C h w"]:
    """Features of a keyframe's cameras, in components; NaN for cameras without an image."""
    images = [log.read(sample, camera) for camera in CAMERA_NAMES]
    there = [index for index, image in enumerate(images) if image is not None]
    rows, cols = grid_of(dense, log.image_size)
    pca = components.pca.to(device)
    shape = (len(images), len(pca.basis), rows, cols)
    features = np.full(shape, np.nan, np.float16)
    if there:
        seen = torch.stack([image for image in images if image is not None]).to(device)
        coordinates = pca.project(dense(seen).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        features[there] = coordinates.half().cpu().numpy()
    return features


def grid_of(dense: DenseFeatures, image_size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of features of an image."""
    return round(image_size[0] / dense.patch[0]), round(image_size[1] / dense.patch[1])


def fill(
    store: FeatureStore, dense: DenseFeatures, log: Log, scene: Record, device: torch.device
) -> int:
    """Write the features of a scene's keyframes that are not there yet.

    They are held back until enough images are known: features of a log that turns out to be broken
    would stay when it is mended.

    Returns:
        How many were written.

    Raises:
        DatasetError: files are missing, or too many damaged.
        TeacherError: a file cannot be written.
    """
    samples = nuscenes.keyframes(log.nusc, scene)
    new = [s for s in samples if not is_there(store.path(scene["name"], s))]
    done = len(samples) - len(new)
    held: list[tuple[str, Float16[np.ndarray, "N C h w"]]] = []
    for sample in tqdm(new, desc=scene["name"], initial=done, total=len(samples), unit="keyframe"):
        held.append((sample, features_of(dense, store.components, log, sample, device)))
        enough = len(log.asked) >= ENOUGH_IMAGES
        if not enough and sample != new[-1]:
            continue
        if enough or not done:  # the rest of a scene may be the damaged images alone
            log.refuse_if_broken()
        while held:
            store.write(scene["name"], *held.pop(0))
    return len(new)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    nuscenes.add_dataset_arguments(parser, scene="all of them")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="O", help="folder of features; goes on there"
    )
    teacher = parser.add_argument_group("the teacher")
    teacher.add_argument("--teacher", choices=("clip", DINOV2), default="clip")
    teacher.add_argument(
        "--clip",
        default=EMBEDDED_CLIP,
        metavar="MODEL",
        help=f"OpenCLIP model: {EMBEDDED_CLIP}, NAME:TAG or NAME:/file.safetensors",
    )
    teacher.add_argument(
        "--model", default="vit_small_patch14_dinov2", metavar="NAME", help="ViT of timm"
    )
    teacher.add_argument(
        "--weights", default="hub", metavar="FILE", help="its weights: a .safetensors file, or hub"
    )
    what = parser.add_argument_group("what is made")
    what.add_argument(
        "--preset", choices=sorted(PRESETS), default="tiny", help="model the features are for"
    )
    what.add_argument(
        "--size", metavar="WxH", help="of images as the teacher sees them; default: twice preset's"
    )
    what.add_argument(
        "--components", type=int, metavar="C", help="principal components; default: the preset's"
    )
    what.add_argument("--pca", metavar="FILE", help="take these components, fit none")
    what.add_argument("--fit-only", action="store_true", help="make the components alone")
    parser.add_argument("--seed", type=int, default=0, help="of the sample of features")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--json", type=Path, metavar="F", help="write figures there")
    add_fleet_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fit the components if they are not there, then write the features that are not there.

    Raises:
        ConfigError: an option does not fit.
        DatasetError: the data set cannot be read, or ``--out`` holds features of something else.
        CheckpointError: the teacher's weights cannot be had, or components are another teacher's.
        TeacherError: something cannot be written.
    """
    if args.all is not None:
        return run_all(args)
    started = time.monotonic()
    teacher, device = teacher_name(args), resolve_device(args.device)
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    scenes = [nuscenes.find_scene(nusc, args.scene)] if args.scene else list(nusc.scene)
    log = Log(nusc, image_size(args))
    dense = load_dense(teacher).to(device)
    components = _components(args, teacher, dense, log, scenes)
    figures: dict[str, object] = {
        "teacher": teacher,
        "components": len(components.pca.basis),
        "explained": round(components.pca.explained, 4),
    }
    if not args.fit_only:
        store = FeatureStore(args.out, components, log.image_size, grid_of(dense, log.image_size))
        store.claim()
        written = sum(fill(store, dense, log, scene, device) for scene in scenes)
        _show(store, log, scenes[0])
        figures |= {"image_size": store.image_size, "grid": store.grid, "keyframes": written}
    figures |= {"images": len(log.asked), "damaged": sorted(log.damaged)}
    _report(figures | {"seconds": round(time.monotonic() - started, 1)}, args.json)
    return 0


def teacher_name(args: argparse.Namespace) -> str:
    """The teacher that the arguments choose, as ``load_dense`` takes it."""
    name = args.clip if args.teacher == "clip" else f"{DINOV2}:{args.model}:{args.weights}"
    return settled(name)


def image_size(args: argparse.Namespace) -> tuple[int, int]:
    """Height and width in pixels of the images that the teacher is to see."""
    if args.size:
        return parse_size(args.size)
    backbone, times = preset(args.preset).backbone, Teacher.enlarge
    return times * backbone.image_height_px, times * backbone.image_width_px


def _components(
    args: argparse.Namespace,
    teacher: str,
    dense: DenseFeatures,
    log: Log,
    scenes: list[Record],
) -> Components:
    """Those of the folder; made first, where it has none."""
    path = args.out / COMPONENTS_FILE
    if not is_there(path):
        if args.pca:
            made = reuse(args.pca, teacher, dense)
        else:
            count = _wished(args, dense)
            places = sampled_images(log, scenes, FIT_IMAGES, args.seed)
            made = Components.of(teacher, dense, fit(dense, log, places, count, args.seed))
        made.save(path)
    components = reuse(path, teacher, dense)
    _check_wish(args, components, path)
    return components


def _wished(args: argparse.Namespace, dense: DenseFeatures) -> int:
    """How many components to fit, checked before images are read for them."""
    count = args.components
    if count is None:
        count = preset(args.preset).features.channels
    if not 1 <= count <= dense.width:
        raise ConfigError(
            f"{count} components of a teacher whose features have {dense.width}; give "
            f"--components from 1 to {dense.width}"
        )
    return count


def _check_wish(args: argparse.Namespace, components: Components, path: Path) -> None:
    found = len(components.pca.basis)
    if args.components not in (None, found):
        raise ConfigError(
            f"--components {args.components}, but {path} holds {found}; leave the option out, or "
            "give another --out"
        )
    if args.pca and pca_fingerprint(load_pca(args.pca)) != components.fingerprint:
        raise DatasetError(
            f"{path} is there and is not {args.pca}; leave --pca out, or give another --out"
        )


def _show(store: FeatureStore, log: Log, scene: Record) -> None:
    path = store.folder / "pictures" / f"{scene['name']}.png"
    if path.is_file():
        return
    sample = nuscenes.keyframes(log.nusc, scene)[0]
    features = store.read(store.path(scene["name"], sample))
    images = [log.read(sample, camera) for camera in CAMERA_NAMES]
    picture = draw_features(images, features, store.components.semantics)
    write_picture(path, picture, TeacherError)
    print(f"picture: {path}")


def _report(figures: dict[str, object], file: Path | None) -> None:
    for key, value in figures.items():
        print(f"{key:12} {value}")
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures, indent=1))
    except OSError as error:
        raise TeacherError(f"{file} cannot be written: {error}") from error
