"""Windows that slide over images larger than those a model was trained on."""

import math
from typing import Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.errors import ConfigError

OVERLAP = 0.5
"""Share of a window that its neighbour covers too, at least."""


@runtime_checkable
class Looks(Protocol):
    """A model of dense features.

    Attributes:
        patch: rows and columns of pixels per feature.
        width: E, the length of a feature.
        native: rows and columns of patches that the model was trained at.
    """

    patch: tuple[int, int]
    width: int
    native: tuple[int, int]

    def unnormalised(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E h w"]:
        """Features of RGB images in 0..1, of any length."""


class Sliding(nn.Module):
    """Looks through windows of the model's native size; where they overlap, their mean counts.

    A window starts at a border between patches, so that the features of all windows lie on one
    grid. An image that fits into one window is looked at as a whole, with position embeddings
    interpolated to its size; so is the shorter side of a wide image.

    Attributes:
        patch: rows and columns of pixels per feature.
        width: E, the length of a feature.
    """

    def __init__(self, dense: Looks, overlap: float = OVERLAP) -> None:
        """Wrap a model.

        Args:
            dense: the model; a module, so that it moves with this one.
            overlap: share of a window that its neighbour covers too, from 0 to below 1.

        Raises:
            ConfigError: the overlap is out of range.
        """
        super().__init__()
        if not 0 <= overlap < 1:
            raise ConfigError(f"overlap {overlap} of windows; expected from 0 to below 1")
        self.dense = dense
        self.patch, self.width = dense.patch, dense.width
        self._overlap = overlap

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E h w"]:
        """Unit-length features, one per patch; h = round(H / patch), w = round(W / patch).

        Raises:
            ImageError: an image is smaller than a patch.
        """
        return F.normalize(self.unnormalised(images), dim=1)

    def unnormalised(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N E h w"]:
        """Features before they are made unit length: the mean over all windows there."""
        rows, cols = (round(s / p) for s, p in zip(images.shape[2:], self.patch, strict=True))
        if rows <= self.dense.native[0] and cols <= self.dense.native[1]:
            return self.dense.unnormalised(images)
        height, width = self.patch
        size = (rows * height, cols * width)
        if size != tuple(images.shape[2:]):
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        high, wide = min(rows, self.dense.native[0]), min(cols, self.dense.native[1])
        total = images.new_zeros(len(images), self.width, rows, cols)
        count = images.new_zeros(rows, cols)
        for top in starts(rows, high, self._overlap):
            for left in starts(cols, wide, self._overlap):
                window = images[..., top * height : (top + high) * height, :]
                window = window[..., left * width : (left + wide) * width]
                down, across = slice(top, top + high), slice(left, left + wide)
                total[:, :, down, across] += self.dense.unnormalised(window)
                count[down, across] += 1
        return total / count


def starts(length: int, window: int, overlap: float) -> list[int]:
    """First patches of the fewest, evenly spaced windows that cover a side.

    Args:
        length: patches along the side.
        window: patches along a window, at most ``length``.
        overlap: share of a window that its neighbour covers too, at least.
    """
    stride = max(1, math.floor(window * (1 - overlap)))
    last = length - window
    steps = math.ceil(last / stride)
    return [round(last * step / max(steps, 1)) for step in range(steps + 1)]
