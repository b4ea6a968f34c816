"""Any teacher of dense features by its name."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.dinov2 import DenseDino
from distillnerf_ros.teachers.open_clip import EMBEDDED_CLIP, DenseClip
from distillnerf_ros.teachers.sliding import Sliding

DINOV2 = "dinov2"
"""Prefix of teachers that are ViTs of timm: ``dinov2:NAME:hub`` or ``dinov2:NAME:/file``."""

DenseFeatures = DenseClip | Sliding
"""Maps (N, 3, H, W) images to unit-length (N, E, h, w) features; knows ``patch``, ``width``."""


def knows_texts(teacher: str) -> bool:
    """Whether a teacher has a text tower."""
    return not teacher.startswith(f"{DINOV2}:")


def load_dense(teacher: str) -> DenseFeatures:
    """A teacher on the CPU, frozen and evaluating.

    The shipped CLIP and others of its architecture look at a picture as a whole: they are trained
    with position embeddings stretched over views of many sizes. All others look through windows
    of their native size.

    Args:
        teacher: an OpenCLIP model (see ``teachers.open_clip``), or ``dinov2:NAME:WEIGHTS``.

    Raises:
        CheckpointError: there is no such teacher, or its weights cannot be had.
    """
    dense: DenseFeatures
    if not knows_texts(teacher):
        _, name, weights = _three(teacher)
        dense = Sliding(DenseDino(name, weights))
    elif teacher.partition(":")[0] == EMBEDDED_CLIP:  # with its own weights or with others
        dense = DenseClip(teacher)
    else:
        dense = Sliding(DenseClip(teacher))
    return dense.eval().requires_grad_(False)


def _three(teacher: str) -> list[str]:
    parts = teacher.split(":", 2)
    if len(parts) != 3 or not all(parts):
        raise CheckpointError(
            f"teacher {teacher!r} names no weights; expected {DINOV2}:NAME:hub or "
            f"{DINOV2}:NAME:/path/to/file.safetensors"
        )
    return parts


def settled(teacher: str) -> str:
    """The same name with a path made absolute: it is read again from other folders."""
    name, colon, source = teacher.rpartition(":")
    is_path = bool(colon) and (Path(source).is_file() or name == "local-dir")
    return f"{name}:{Path(source).resolve()}" if is_path else teacher


def fingerprint(model: nn.Module) -> str:
    """Changes when a weight of the model does, or its activation, and says nothing else."""
    digest = hashlib.sha1()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    # NAME:/file and NAME-quickgelu:/file have the same weights, and features of their own. Only
    # this activation is said: what was made with the other one keeps its fingerprint.
    if any(type(part).__name__ == "QuickGELU" for part in model.modules()):
        digest.update(b"QuickGELU")
    return digest.hexdigest()[:12]
