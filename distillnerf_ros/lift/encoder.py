"""A pretrained image encoder in place of the backbone's own stages (worth 6.7 dB in the paper).

Any model of timm that gives feature maps serves: convolutional ones, and ViTs such as DINOv2 or
the encoder of Depth Anything (which is a DINOv2 ViT).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.torchvision_shim import import_timm

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TimmEncoder(nn.Module):
    """Feature maps of a timm model, finest first.

    Attributes:
        channels: of each map.
        multiple: images are resampled so that their sides are multiples of this.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, image_size: tuple[int, int]) -> None:
        """Build the architecture, with random weights.

        Args:
            name: model of timm.
            image_size: height and width in pixels of the images it will see.

        Raises:
            CheckpointError: timm has no such model, or it gives no feature maps.
        """
        super().__init__()
        self.name = name
        self.multiple = 14 if "patch14" in name else 16 if "patch16" in name else 32
        size = self._size(image_size)
        options = {"img_size": size} if name.startswith(("vit_", "eva")) else {}
        try:
            self.model = import_timm().create_model(
                name, pretrained=False, features_only=True, **options
            )
        except (RuntimeError, AttributeError, TypeError) as error:
            raise CheckpointError(
                f"encoder {name!r} cannot be made ({error}); expected a model of timm with "
                "feature maps: timm.list_models() names them"
            ) from error
        self.channels = tuple(self.model.feature_info.channels())
        for key, values in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(key, torch.tensor(values).reshape(3, 1, 1), persistent=False)

    def _size(self, size: tuple[int, int]) -> tuple[int, int]:
        rows, cols = (max(1, round(s / self.multiple)) * self.multiple for s in size)
        return rows, cols

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> list[Tensor]:
        """Feature maps of images in 0..1."""
        size = self._size((images.shape[2], images.shape[3]))
        if size != tuple(images.shape[2:]):
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return self.model((images - self.mean) / self.std)

    def load(self, source: str) -> None:
        """Take pretrained weights over.

        Args:
            source: a .safetensors file in timm's names, or "hub" for timm's own hub.

        Raises:
            CheckpointError: the weights cannot be had, or are of another model.
        """
        try:
            if source == "hub":
                given = import_timm().create_model(self.name, pretrained=True).state_dict()
            else:
                from safetensors.torch import load_file

                given = load_file(Path(source))
        except Exception as error:  # the hub, files and networks each raise their own kinds
            raise CheckpointError(
                f"weights of the encoder {self.name!r} cannot be had from {source!r} ({error}); "
                "expected 'hub', which needs a network, or a .safetensors file on this machine"
            ) from error
        self._adopt(given, source)

    def _adopt(self, given: dict[str, Tensor], source: str) -> None:
        """Match names with and without timm's wrapper; heads that are not needed may stay out."""
        own = self.model.state_dict()
        fitting = {}
        for key, value in own.items():
            plain = key.removeprefix("model.")
            found = given.get(key, given.get(plain))
            if found is not None and found.shape == value.shape:
                fitting[key] = found
        missing = sorted(set(own) - set(fitting))
        if missing:
            raise CheckpointError(
                f"{source!r} does not hold the weights of {self.name!r}: {len(missing)} of "
                f"{len(own)} tensors are missing or of another shape, such as {missing[0]!r}"
            )
        self.model.load_state_dict(fitting)
