"""Where the sky is in the images of a log: what an OpenCLIP model says, as masks in a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from tqdm import tqdm

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.jpeg import decode_jpeg
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.device import multiplies_bfloat16
from distillnerf_ros.errors import DatasetError, ImageError, SceneError
from distillnerf_ros.query.text import DEFAULT_NEGATIVES, embed_prompts, relevancy
from distillnerf_ros.scene.fleet_task import write_whole
from distillnerf_ros.teachers.dense import fingerprint, load_dense
from distillnerf_ros.teachers.open_clip import TextTower

OTHER, UNKNOWN, SKY = 0, 128, 255
"""What a mask's pixel says; any value but the first two is sky, too."""
SURE, DENIED = 0.7, 0.3
"""Relevancy of "sky" from which on a pixel shows it, and below which it does not. With the shipped
CLIP, on 36 images of streets: 95 % of the sky is called so and 0.4 % something else; 0.5 % of the
surfaces within 80 m are called sky."""
ENLARGE = 2
"""The model sees images larger than the fit does, so that its patches blur roofs less."""

Finder = Callable[[Float[Tensor, "1 3 H W"]], Float[Tensor, "h w"]]


def sky_finder(clip: str, device: torch.device) -> tuple[str, Finder]:
    """A name that changes with the weights, and relevancy of "sky" of one image, by patches.

    Args:
        clip: an OpenCLIP model, see :mod:`distillnerf_ros.teachers.open_clip`.
        device: where the image tower runs.

    Raises:
        CheckpointError: there is no such model, or its weights cannot be had.
    """
    tower = TextTower(clip)
    positive = embed_prompts(tower, ["sky"]).to(device)
    negatives = embed_prompts(tower, DEFAULT_NEGATIVES, ("{}",)).to(device)
    dense = load_dense(clip).to(device)

    @torch.no_grad()
    def find(images: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "h w"]:
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(device)):
            features = dense(images.to(device))[0].float().permute(1, 2, 0)
        return relevancy(features, positive, negatives)[..., 0].cpu()

    return fingerprint(dense), find


def mask_of(
    relevancy_of_sky: Float[Tensor, "h w"], image_size: tuple[int, int]
) -> UInt8[np.ndarray, "H W"]:
    """A mask of :data:`OTHER`, :data:`UNKNOWN` and :data:`SKY` from the relevancy of patches."""
    pixels = F.interpolate(relevancy_of_sky[None, None], image_size, mode="bilinear")[0, 0]
    mask = np.full(image_size, UNKNOWN, np.uint8)
    mask[(pixels >= SURE).numpy()] = SKY
    mask[(pixels < DENIED).numpy()] = OTHER
    return mask


def write_sky_masks(
    nusc: NuScenes, scene: dict[str, Any], image_size: tuple[int, int], find: Finder, folder: Path
) -> None:
    """Write the mask ``TOKEN.png`` of each image of a scene; those that are there stay.

    Damaged images get none: :func:`distillnerf_ros.scene.log.read_log` leaves them out.

    Raises:
        SceneError: a mask cannot be written.
    """
    import cv2

    large = ENLARGE * image_size[0], ENLARGE * image_size[1]
    records = nuscenes.sensor_records(nusc, scene)
    shots = [record for record in records if record["channel"] in CAMERA_NAMES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SceneError(f"{folder} cannot be made: {error}") from error
    missing = [r for r in shots if not (folder / f"{r['token']}.png").is_file()]
    for record in tqdm(missing, desc="sky", unit="image", disable=not missing):
        path = nuscenes.sensor_path(nusc, record)
        try:
            pixels = decode_jpeg(path.read_bytes(), large, str(path))
        except ImageError:
            continue
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        encoded = cv2.imencode(".png", mask_of(find(image), image_size))[1]
        write_whole(folder / f"{record['token']}.png", encoded.tobytes())


def read_sky_masks(
    folder: Path, tokens: Sequence[str], image_size: tuple[int, int]
) -> Int[Tensor, "F H W"]:
    """Masks of images: 1 where the sky is, 0 where something else is, -1 where nobody knows.

    Args:
        folder: of ``TOKEN.png``.
        tokens: sample_data tokens of the images.
        image_size: height and width in pixels.

    Raises:
        DatasetError: one is missing or no picture.
    """
    import cv2

    masks = []
    for token in tokens:
        path = folder / f"{token}.png"
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise DatasetError(f"{path} is missing or no picture; expected one mask per image")
        mask = cv2.resize(mask, image_size[::-1], interpolation=cv2.INTER_NEAREST)
        masks.append(np.where(mask == UNKNOWN, -1, mask != OTHER).astype(np.int8))
    return torch.from_numpy(np.stack(masks))
