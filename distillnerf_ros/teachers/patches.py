"""Images as teachers cut them: into whole patches."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.errors import ImageError


def whole_patches(
    images: Float[Tensor, "N 3 H W"], patch: tuple[int, int]
) -> tuple[Float[Tensor, "N 3 rows_px cols_px"], int, int]:
    """Images resampled to whole patches, where they are not, and rows and columns of patches.

    Raises:
        ImageError: an image is smaller than a patch.
    """
    rows, cols = (round(s / p) for s, p in zip(images.shape[2:], patch, strict=True))
    if min(rows, cols) < 1:
        raise ImageError(
            f"images of {tuple(images.shape[2:])} pixels are smaller than a patch {patch}"
        )
    size = (rows * patch[0], cols * patch[1])
    if size != tuple(images.shape[2:]):
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    return images, rows, cols
