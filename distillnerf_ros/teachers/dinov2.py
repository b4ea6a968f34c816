"""Dense features of DINOv2 and of other ViTs of timm that were trained without texts."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.patches import whole_patches
from distillnerf_ros.teachers.torchvision_shim import import_timm

HUB = "hub"
"""Stands for timm's own hub where a file of weights is asked for."""


class DenseDino(nn.Module):
    """The patch tokens of a ViT's last layer; class and register tokens are dropped.

    Attributes:
        patch: rows and columns of pixels per feature.
        width: E, the length of a feature.
        native: rows and columns of patches that the model was trained at.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(self, name: str, weights: str = HUB) -> None:
        """Load a model on the CPU.

        Args:
            name: model of timm, such as ``vit_small_patch14_dinov2``.
            weights: a .safetensors file in timm's names, or "hub" for timm's own hub.

        Raises:
            CheckpointError: timm has no such ViT, or the weights cannot be had.
        """
        super().__init__()
        self.model = _create(name)
        _load(self.model, name, weights)
        self.patch: tuple[int, int] = tuple(self.model.patch_embed.patch_size)
        self.width: int = self.model.num_features
        self.native: tuple[int, int] = tuple(self.model.patch_embed.grid_size)
        for key in ("mean", "std"):
            values = torch.tensor(self.model.pretrained_cfg[key]).reshape(3, 1, 1)
            self.register_buffer(f"_{key}", values, persistent=False)

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E h w"]:
        """Unit-length features, one per patch; h = round(H / patch), w = round(W / patch).

        Raises:
            ImageError: an image is smaller than a patch.
        """
        return F.normalize(self.unnormalised(images), dim=1)

    def unnormalised(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E h w"]:
        """Features before they are made unit length, of RGB images in 0..1."""
        images, rows, cols = whole_patches(images, self.patch)
        tokens = self.model.forward_features((images - self._mean) / self._std)
        tokens = tokens[:, self.model.num_prefix_tokens :]
        return tokens.transpose(1, 2).unflatten(2, (rows, cols))


def _create(name: str) -> Any:
    """A ViT of timm for images of any size, with random weights."""
    try:
        model = import_timm().create_model(
            name, pretrained=False, num_classes=0, dynamic_img_size=True
        )
    except (RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"teacher {name!r} cannot be made ({error}); expected a ViT of timm such as "
            "vit_small_patch14_dinov2: timm.list_models('*dinov2*') names them"
        ) from error
    if not hasattr(model, "num_prefix_tokens") or not hasattr(model, "patch_embed"):
        raise CheckpointError(
            f"teacher {name!r} is a {type(model).__name__}, which has no patch tokens; expected a "
            "ViT such as vit_small_patch14_dinov2"
        )
    cut = model.patch_embed
    sides = zip(cut.img_size, cut.grid_size, cut.patch_size, strict=True)
    if any(side // patch != count for side, count, patch in sides):  # convolutions come first
        raise CheckpointError(
            f"teacher {name!r} cuts no image of {cut.img_size} into {cut.grid_size} patches of "
            f"{cut.patch_size}; expected a ViT whose patches are pixels, such as "
            "vit_small_patch14_dinov2"
        )
    return model


def _load(model: Any, name: str, weights: str) -> None:
    """Take pretrained weights over; only the head that is not needed may be left over."""
    hub = model.pretrained_cfg.get("hf_hub_id") or "none for this model"
    remedy = (
        f"expected --weights hub, which fetches {hub} and needs a network; or --weights "
        "/path/to/model.safetensors with the file of that hub page copied onto this machine"
    )
    try:
        if weights == HUB:
            given = import_timm().create_model(name, pretrained=True, num_classes=0).state_dict()
        else:
            from safetensors.torch import load_file

            given = load_file(Path(weights))
    except Exception as error:  # the hub, files and networks each raise their own kinds
        raise CheckpointError(
            f"weights of {name!r} cannot be had from {weights!r} ({error}); {remedy}"
        ) from error
    own = model.state_dict()
    wrong = sorted(k for k in own if k not in given or given[k].shape != own[k].shape)
    if wrong:
        raise CheckpointError(
            f"{weights!r} does not hold the weights of {name!r}: {len(wrong)} of {len(own)} "
            f"tensors are missing or of another shape, such as {wrong[0]!r}; {remedy}"
        )
    model.load_state_dict({key: given[key] for key in own})
