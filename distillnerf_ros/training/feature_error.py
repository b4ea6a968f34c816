"""PSNR of rendered features against the teacher's features of the same images."""

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.query.semantics import Semantics

Maps = Callable[[Float[Tensor, "N 3 H W"]], Float[Tensor, "N C h w"]]
"""A teacher: images to features in PCA space."""


def load_teacher(semantics: Semantics, device: torch.device) -> Maps | None:
    """The teacher that weights were distilled from; None, with a warning, where it is not there.

    Args:
        semantics: of the weights.
        device: where it shall run.
    """
    from distillnerf_ros.teachers.dense import load_dense
    from distillnerf_ros.training.targets import Teacher

    try:
        dense = load_dense(semantics.clip).to(device)
    except CheckpointError as error:
        warnings.warn(f"features are not judged: {error}", stacklevel=2)
        return None
    return Teacher(dense, semantics.pca)


@dataclasses.dataclass(frozen=True)
class FeatureErrors:
    """Errors of one frame's feature maps, by component.

    Attributes:
        squared: (C,) mean squared error of the rendered features over all cameras.
        mean_squared: (C,) the same of the components' mean, which is zero, everywhere.
        low: (C,) least value in the teacher's maps.
        high: (C,) greatest.
    """

    squared: Float[np.ndarray, " C"]
    mean_squared: Float[np.ndarray, " C"]
    low: Float[np.ndarray, " C"]
    high: Float[np.ndarray, " C"]

    @classmethod
    def of(
        cls, rendered: Float[Tensor, "N C h w"], taught: Float[Tensor, "N C rows cols"]
    ) -> "FeatureErrors":
        """Compare at the rendered size, to which the teacher's maps are resized bilinearly."""
        wanted = F.interpolate(
            taught.double(), rendered.shape[2:], mode="bilinear", align_corners=False
        )
        error = (rendered.double() - wanted) ** 2
        every = (0, 2, 3)
        columns = (error.mean(every), (wanted**2).mean(every), wanted.amin(every))
        return cls(*(one.cpu().numpy() for one in (*columns, wanted.amax(every))))

    @classmethod
    def none(cls) -> "FeatureErrors":
        """Of a frame that was not judged: there is no component."""
        return cls(*[np.zeros(0)] * 4)


def feature_psnr(
    squared: Float[np.ndarray, "F C"],
    low: Float[np.ndarray, "F C"],
    high: Float[np.ndarray, "F C"],
) -> float:
    """Mean over frames of the PSNR in dB, each component scaled to 0..1 by its range.

    The range of a component is that of the teacher's maps over all frames given (min-max, as
    EmerNeRF and DistillNeRF scale the 64 components they render).

    Args:
        squared: mean squared error by frame and component.
        low: least value.
        high: greatest.

    Returns:
        -10 log10 of the scaled mean squared error of each frame, averaged; NaN without any.
    """
    if not squared.size:
        return float("nan")
    spread = high.max(axis=0) - low.min(axis=0)
    scaled = (squared / np.maximum(spread, 1e-12) ** 2).mean(axis=1)
    return float((-10 * np.log10(np.maximum(scaled, 1e-12))).mean())
