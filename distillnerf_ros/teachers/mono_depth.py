"""Metric depth of single images, by a network from a local file.

For networks in the manner of Depth-Anything-V2-Metric and Metric3D: one input (1, 3, h, w), an RGB
image normalised by ImageNet's mean and deviation; an output (1, h, w) or (1, 1, h, w) of metres.
``.onnx`` files are run by onnxruntime (imported when a network is opened), ``.pt``, ``.pth`` and
``.ts`` files are TorchScript. TorchScript is a program: open files of people you trust.

Networks that say depth up to a scale, or disparity, are refused as far as can be told: by the
names of their outputs, by values that are not positive, by a median that no street has, and (where
a log is at hand, see ``distillnerf_ros.training.mono``) by feet that are farther than the horizon.
One that says plausible metres of its own invention cannot be told from a metric one without lidar.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.teachers.depth_networks import OnnxNetwork, ScriptNetwork

FURTHEST_M = 70.0
"""Farther depth is not sure: outdoor networks end at about 80 m, where they put the sky."""
FREE_SIZE = (392, 700)
"""Height and width for networks that take any; multiples of 14, about the shape of nuScenes'."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PLAUSIBLE_M = (0.5, 500.0)
"""The median depth of images of streets lies in between; disparities often do not."""


@runtime_checkable
class MetricDepth(Protocol):
    """Says depth in metres."""

    @property
    def name(self) -> str:
        """Tells its depth from that of any other network or setting, in a cache."""

    def fitted(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Height and width at which an image of some stored size is best given."""

    def __call__(
        self, images: Float[Tensor, "N 3 H W"], intrinsics: Float[Tensor, "N 3 3"]
    ) -> Float[Tensor, "N H W"]:
        """Metres along the optical axis, NaN where unsure.

        Args:
            images: RGB in 0..1.
            intrinsics: pinhole matrices in pixels of these images.
        """


@dataclasses.dataclass(frozen=True)
class MonoDepth:
    """A network and how it wants its images; a :class:`MetricDepth`.

    Attributes:
        network: (1, 3, h, w) normalised image -> whatever the file's output is.
        size: height and width that it takes; images are fitted into it and padded with the mean
            colour, so that their proportions stay.
        name: of file and settings.
        canonical_focal_px: depth is multiplied by the fitted image's focal length over this one
            (Metric3D: Yin et al. 2023, eq. 3, there 1000); None for networks that say metres.
    """

    network: Callable[[Tensor], Tensor]
    size: tuple[int, int]
    name: str
    canonical_focal_px: float | None = None

    @classmethod
    def load(
        cls,
        path: Path,
        canonical_focal_px: float | None = None,
        size: tuple[int, int] | None = None,
    ) -> "MonoDepth":
        """Open a file.

        Args:
            path: ``.onnx``, or TorchScript.
            canonical_focal_px: see the class.
            size: height and width, for a network that takes any; None = :data:`FREE_SIZE`.

        Raises:
            CheckpointError: the file is missing, damaged, or no network from an image to depth;
                or what opens it is not installed.
        """
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; expected an ONNX or TorchScript file")
        if canonical_focal_px is not None and not canonical_focal_px > 0:
            raise CheckpointError(
                f"canonical focal length {canonical_focal_px} px; expected more than 0"
            )
        network = OnnxNetwork(path) if path.suffix == ".onnx" else ScriptNetwork(path)
        fixed = network.fixed_size
        if fixed and size and fixed != size:
            raise CheckpointError(
                f"{path} takes images of {fixed[1]}x{fixed[0]} pixels, asked for "
                f"{size[1]}x{size[0]}; leave the size out"
            )
        with path.open("rb") as file:
            digest = hashlib.sha1()
            while block := file.read(1 << 20):
                digest.update(block)
        chosen = fixed or size or FREE_SIZE
        name = f"{digest.hexdigest()[:16]}-{chosen}-{canonical_focal_px}"
        return cls(network, chosen, name, canonical_focal_px)

    def fitted(self, stored: tuple[int, int]) -> tuple[int, int]:
        """Height and width inside ``size`` that keep the proportions of an image as stored."""
        scale = min(self.size[0] / stored[0], self.size[1] / stored[1])
        rows, cols = (round(pixels * scale) for pixels in stored)
        return max(rows, 1), max(cols, 1)

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "N 3 H W"], intrinsics: Float[Tensor, "N 3 3"]
    ) -> Float[Tensor, "N H W"]:
        """Metres along the optical axis, NaN farther than :data:`FURTHEST_M`.

        Raises:
            CheckpointError: the network fails on the image, or says what cannot be metres.
        """
        rows, cols = self.fitted((images.shape[2], images.shape[3]))
        small = F.interpolate(
            images, (rows, cols), mode="bilinear", align_corners=False, antialias=True
        )
        mean, deviation = small.new_tensor(_MEAN), small.new_tensor(_DEVIATION)
        small = (small - mean[:, None, None]) / deviation[:, None, None]
        top, left = (self.size[0] - rows) // 2, (self.size[1] - cols) // 2
        padding = (left, self.size[1] - cols - left, top, self.size[0] - rows - top)
        padded = F.pad(small, padding)
        said = torch.stack([self._asked(image[None]) for image in padded])
        depth = said[:, top : top + rows, left : left + cols]
        if self.canonical_focal_px is not None:
            focal_px = intrinsics[:, 0, 0] * (cols / images.shape[3])
            depth = depth * (focal_px / self.canonical_focal_px)[:, None, None]
        depth = F.interpolate(
            depth[:, None], images.shape[2:], mode="bilinear", align_corners=False
        )[:, 0]
        _check_metres(depth)
        return depth.masked_fill(depth > FURTHEST_M, torch.nan)

    def _asked(self, image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "h w"]:
        """The network's depth at the size it was given."""
        said = self.network(image)
        shape = tuple(said.shape)
        if said.ndim == 4 and shape[1] == 1:
            said = said[:, 0]
        if said.ndim != 3 or said.shape[0] != 1:
            raise CheckpointError(
                f"the depth network says shape {shape} for an image of {tuple(image.shape)}; "
                "expected (1, h, w) or (1, 1, h, w)"
            )
        size = (image.shape[2], image.shape[3])
        whole = F.interpolate(said[None].float(), size, mode="bilinear", align_corners=False)
        return whole[0, 0]


def _check_metres(depth_m: Float[Tensor, "N H W"]) -> None:
    """Refuse what cannot be metres."""
    wrong = ~(depth_m.isfinite() & (depth_m > 0))
    if wrong.any():
        share = float(wrong.float().mean())
        raise CheckpointError(
            f"the depth network says depth that is not positive and finite in {share:.1%} of the "
            "pixels; expected metres. Networks of disparity or relative depth cannot be used"
        )
    median = float(depth_m.median())
    if not _PLAUSIBLE_M[0] < median < _PLAUSIBLE_M[1]:
        raise CheckpointError(
            f"the depth network says a median of {median:.3g}; no street has that in metres. "
            "Networks of disparity or relative depth cannot be used; one of a canonical camera "
            "(Metric3D) needs its focal length"
        )


def inverted(depth_m: Float[Tensor, "N H W"]) -> bool:
    """Whether what cameras see at their feet is mostly farther than what they see ahead.

    That is how disparity taken for depth looks, in cameras that are level and stand on a road.

    Args:
        depth_m: of images of a surround rig, NaN where unsure.
    """
    rows = depth_m.shape[1]
    feet = depth_m[:, -(rows // 8) :].flatten(1).nanmedian(dim=1).values
    ahead = depth_m[:, rows * 3 // 8 : rows * 5 // 8].flatten(1).nanmedian(dim=1).values
    known = feet.isfinite() & ahead.isfinite()
    return bool(known.any() and (feet > ahead)[known].float().mean() > 0.5)
