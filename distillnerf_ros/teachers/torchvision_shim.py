"""Makes a CUDA build of torchvision importable beside a CPU build of torch.

The torchvision wheel of the package index is a CUDA build. Beside a CPU torch its compiled part
cannot be loaded and ``import torchvision`` fails with ``operator torchvision::nms does not
exist`` (pytorch/vision#9085), and with it timm and open_clip. Declaring the schemas of the two
operators whose shape functions are registered at import is enough: everything in plain Python then
works, and the operators themselves raise when called.
"""

import importlib
import sys
from typing import Any

import torch

from distillnerf_ros.errors import CheckpointError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A schema lives as long as its Library object.
_libraries: list[torch.library.Library] = []


def ensure_torchvision() -> None:
    """Import torchvision; call this before importing timm or open_clip.

    A torchvision that imports by itself is left untouched.

    Raises:
        CheckpointError: torchvision is not installed, or fails for another reason.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        raise CheckpointError(
            "text and image features of OpenCLIP need torchvision, timm and open_clip_torch, got "
            f"{error}; install them with: pip install 'distillnerf_ros[clip]'"
        ) from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise CheckpointError(
                f"torchvision cannot be imported beside torch {torch.__version__}: {error}; "
                "install the torchvision release made for this torch"
            ) from error
        _import_without_operators()


def _import_without_operators() -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _libraries.append(library)
    importlib.import_module("torchvision")


def import_timm() -> Any:
    """The timm module.

    Raises:
        CheckpointError: it, or torchvision, is not installed.
    """
    ensure_torchvision()
    try:
        import timm
    except ImportError as error:
        raise CheckpointError(
            f"timm cannot be imported ({error}); it holds pretrained encoders and DINOv2: "
            "pip install 'distillnerf_ros[clip]'"
        ) from error
    return timm
