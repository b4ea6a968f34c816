"""LPIPS: how different two images look, by features of a classifier (Zhang et al., CVPR 2018)."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.errors import CheckpointError, ConfigError

_Convolution = tuple[int, int, int, int]
"""Channels, kernel, stride and padding."""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Convolutions of a classifier of torchvision, in the order in which it numbers its layers.

    Attributes:
        file: name of torchvision's file of weights.
        pool_px: side of its pooling windows.
        blocks: convolutions, each with a ReLU; features are read at the end of each block.
        pooled: whether each block is pooled before it begins.
    """

    file: str
    pool_px: int
    blocks: tuple[tuple[_Convolution, ...], ...]
    pooled: tuple[bool, ...]

    def layers(self) -> nn.Sequential:
        """The network without weights, up to the last features that are read."""
        layers: list[nn.Module] = []
        channels = 3
        with torch.device("meta"):
            for block, pooled in zip(self.blocks, self.pooled, strict=True):
                layers += [nn.MaxPool2d(self.pool_px, 2)] if pooled else []
                for out, kernel, stride, padding in block:
                    layers += [nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU()]
                    channels = out
        return nn.Sequential(*layers)

    @property
    def taps(self) -> tuple[int, ...]:
        """Layer at the end of each block."""
        ends, layer = [], -1
        for block, pooled in zip(self.blocks, self.pooled, strict=True):
            layer += pooled + 2 * len(block)
            ends.append(layer)
        return tuple(ends)


ALEXNET = Classifier(
    "alexnet-owt-7be5be79.pth",
    3,
    (
        ((64, 11, 4, 2),),
        ((192, 5, 1, 2),),
        ((384, 3, 1, 1),),
        ((256, 3, 1, 1),),
        ((256, 3, 1, 1),),
    ),
    (False, True, True, False, False),
)
VGG16 = Classifier(
    "vgg16-397923af.pth",
    2,
    tuple(
        ((width, 3, 1, 1),) * n for width, n in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    ),
    (False, True, True, True, True),
)

# Mean and spread of the classifiers' training images, of colours from -1 to 1 (LPIPS's own).
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    """The distance: 0 for equal images, about 0.7 for unrelated ones. Its weights are frozen."""

    shift: Tensor
    scale: Tensor

    def __init__(
        self, layers: nn.Sequential, taps: Sequence[int], linear: Sequence[Float[Tensor, " _"]]
    ) -> None:
        """Take over a classifier.

        Args:
            layers: with weights.
            taps: layers whose output counts.
            linear: weight of each channel of each of those outputs.
        """
        super().__init__()
        self.layers = layers.eval().requires_grad_(False)
        self.taps = tuple(taps)
        for place, weight in enumerate(linear):
            self.register_buffer(f"linear{place}", weight)
        for key, values in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(key, torch.tensor(values).reshape(3, 1, 1))

    def forward(
        self, rgb: Float[Tensor, "N 3 H W"], target: Float[Tensor, "N 3 H W"]
    ) -> Float[Tensor, " N"]:
        """Distance of each pair of images in 0..1 (paper eq. 1).

        sum over layers of the mean over pixels of sum_c w_c (f_c - g_c)^2, where f and g are the
        two images' features, scaled to unit length at each pixel.
        """
        x = (2 * torch.cat([rgb, target]) - 1 - self.shift) / self.scale
        total = rgb.new_zeros(len(rgb))
        for place, layer in enumerate(self.layers):
            x = layer(x)
            if place in self.taps:
                weight = self.get_buffer(f"linear{self.taps.index(place)}")
                # The norm's gradient at 0 is 0: of pixels at which no feature answers.
                unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)
                f, g = unit.chunk(2)
                total = total + ((f - g).square() * weight[:, None, None]).sum(1).mean((1, 2))
        return total

    @classmethod
    def load(cls, backbone: Path, linear: Path) -> "Lpips":
        """Read the classifier's and the linear layers' weights.

        Args:
            backbone: state_dict of torchvision's AlexNet or VGG16.
            linear: state_dict with ``lin0.model.1.weight`` and so on, made for that one.

        Raises:
            CheckpointError: a file cannot be read, or is of something else.
        """
        state = _read(backbone, _BACKBONE_SOURCE)
        for classifier in (ALEXNET, VGG16):
            layers = classifier.layers()
            shapes = {f"features.{key}": v.shape for key, v in layers.state_dict().items()}
            if all(key in state and state[key].shape == s for key, s in shapes.items()):
                given = {key.removeprefix("features."): state[key].float() for key in shapes}
                layers.load_state_dict(given, assign=True)
                return cls(layers, classifier.taps, _linear(classifier, linear))
        raise CheckpointError(
            f"{backbone} holds neither torchvision's AlexNet nor its VGG16; {_BACKBONE_SOURCE}"
        )


_BACKBONE_SOURCE = (
    f"expected torchvision's {ALEXNET.file} or {VGG16.file} "
    "(torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url names where it is), "
    "or the same as .safetensors"
)
_LINEAR_SOURCE = (
    "expected lpips/weights/v0.1/alex.pth or vgg.pth of the repository "
    "richzhang/PerceptualSimilarity (also in the package lpips), or the same as .safetensors"
)


def _read(path: Path, source: str) -> Mapping[str, Tensor]:
    """A state_dict; no pickle is run."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # files, zips, pickles and safetensors each raise their own kinds
        raise CheckpointError(f"{path} cannot be read ({error}); {source}") from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no table of tensors; {source}")
    return state


def _linear(classifier: Classifier, path: Path) -> list[Float[Tensor, " _"]]:
    state = _read(path, _LINEAR_SOURCE)
    weights = []
    for place, block in enumerate(classifier.blocks):
        key, channels = f"lin{place}.model.1.weight", block[-1][0]
        weight = state.get(key)
        if weight is None or tuple(weight.shape) != (1, channels, 1, 1):
            got = None if weight is None else tuple(weight.shape)
            raise CheckpointError(
                f"{path}: {key} is {got}, expected {(1, channels, 1, 1)} to go with "
                f"{classifier.file}; {_LINEAR_SOURCE}"
            )
        if (weight < 0).any():
            raise CheckpointError(f"{path}: {key} has weights below 0; {_LINEAR_SOURCE}")
        weights.append(weight.float().reshape(channels))
    return weights


def add_lpips_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verbs that can use the distance."""
    group = parser.add_argument_group("LPIPS, if its two files are at hand")
    group.add_argument(
        "--lpips-backbone", type=Path, metavar="FILE", help="torchvision's AlexNet or VGG16"
    )
    group.add_argument(
        "--lpips-linear", type=Path, metavar="FILE", help="LPIPS's linear layers for that one"
    )


def lpips_files(args: argparse.Namespace) -> tuple[Path, Path] | None:
    """Backbone and linear layers; None where none is given.

    Raises:
        ConfigError: one is given without the other.
    """
    backbone, linear = args.lpips_backbone, args.lpips_linear
    if backbone is None and linear is None:
        return None
    if backbone is None or linear is None:
        lacking = "--lpips-backbone" if backbone is None else "--lpips-linear"
        source = _BACKBONE_SOURCE if backbone is None else _LINEAR_SOURCE
        raise ConfigError(f"LPIPS needs two files, {lacking} is not given: {source}")
    return backbone, linear
