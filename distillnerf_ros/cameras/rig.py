"""The camera rig: everything one glance gives the model."""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.cameras.transforms import check_rigid
from distillnerf_ros.errors import CalibrationError, ImageError

CAMERA_NAMES: tuple[str, ...] = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
)
"""The surround cameras of nuScenes, clockwise from the front."""


@dataclasses.dataclass(frozen=True)
class CameraRig:
    """N posed cameras of one glance; all images share one size.

    Frames: ego = base_link at the glance's reference stamp (x forward, y left, z up);
    optical = z forward, x right, y down (REP-103).

    Attributes:
        names: camera names, one per camera.
        images: (N, 3, H, W) RGB in 0..1.
        intrinsics: (N, 3, 3) pinhole matrices in pixels of these images; pixel centres lie at
            integer + 0.5.
        ego_from_camera: (N, 4, 4) pose of each optical frame at the camera's own stamp.
        valid: (N,) False where a camera is missing; its image and pose are then ignored.
    """

    names: tuple[str, ...]
    images: Float[Tensor, "N 3 H W"]
    intrinsics: Float[Tensor, "N 3 3"]
    ego_from_camera: Float[Tensor, "N 4 4"]
    valid: Bool[Tensor, " N"]

    def __post_init__(self) -> None:
        """Check shapes and calibration of the cameras that are there.

        Raises:
            ImageError: the images have a wrong shape or type.
            CalibrationError: an intrinsic matrix or a pose cannot be used.
        """
        count = len(self.names)
        if self.images.ndim != 4 or self.images.shape[:2] != (count, 3):
            raise ImageError(
                f"images have shape {tuple(self.images.shape)}, expected ({count}, 3, H, W) "
                "with one RGB image per camera name"
            )
        for field, shape in (("intrinsics", (3, 3)), ("ego_from_camera", (4, 4)), ("valid", ())):
            got = tuple(getattr(self, field).shape)
            if got != (count, *shape):
                raise CalibrationError(f"{field} has shape {got}, expected {(count, *shape)}")
        kinds = {self.images.dtype, self.intrinsics.dtype, self.ego_from_camera.dtype}
        if len(kinds) > 1 or not self.images.is_floating_point():
            raise ImageError(
                f"images are {self.images.dtype}, intrinsics {self.intrinsics.dtype}, "
                f"ego_from_camera {self.ego_from_camera.dtype}; expected torch.float32 all three, "
                "images from 0 to 1"
            )
        if self.images.device.type == "cpu":
            self._check_calibration()

    def _check_calibration(self) -> None:
        for index in self.valid.nonzero()[:, 0].tolist():
            k = self.intrinsics[index]
            pinhole = torch.isfinite(k).all() and k[0, 0] > 0 and k[1, 1] > 0
            if not pinhole or k[1, 0] != 0 or k[2].tolist() != [0, 0, 1]:
                raise CalibrationError(
                    f"intrinsics of {self.names[index]} are {k.tolist()}; expected "
                    "[[fx, s, cx], [0, fy, cy], [0, 0, 1]], finite, with positive focal lengths: "
                    "is its camera_info calibrated?"
                )
        check_rigid(self.ego_from_camera[self.valid], f"ego_from_camera of {self.names}")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def to(self, device: torch.device | str) -> "CameraRig":
        """Move every tensor to a device."""
        return dataclasses.replace(
            self,
            images=self.images.to(device),
            intrinsics=self.intrinsics.to(device),
            ego_from_camera=self.ego_from_camera.to(device),
            valid=self.valid.to(device),
        )

    def resized(self, height: int, width: int) -> "CameraRig":
        """Resample the images (area average when shrinking) and scale the intrinsics with them."""
        if self.image_size == (height, width):
            return self
        old_height, old_width = self.image_size
        shrinking = height <= old_height and width <= old_width
        if shrinking:
            images = F.interpolate(self.images, (height, width), mode="area")
        else:
            images = F.interpolate(self.images, (height, width), mode="bilinear")
        intrinsics = scale_intrinsics(self.intrinsics, height / old_height, width / old_width)
        return dataclasses.replace(self, images=images, intrinsics=intrinsics)

    def present(self) -> "CameraRig":
        """Only the cameras that are there.

        Raises:
            ImageError: no camera is.
        """
        if self.valid.all():
            return self
        index = self.valid.nonzero()[:, 0]
        if not len(index):
            raise ImageError(f"none of the cameras {self.names} has an image; expected at least 1")
        return self.select(index)

    def select(self, index: Int[Tensor, " M"]) -> "CameraRig":
        """Some of the cameras, in this order."""
        return CameraRig(
            tuple(self.names[i] for i in index.tolist()),
            self.images[index],
            self.intrinsics[index],
            self.ego_from_camera[index],
            self.valid[index],
        )

    def without(self, *names: str) -> "CameraRig":
        """Mark cameras as missing (their pixels are blanked, so that nothing can leak)."""
        keep = torch.tensor([name not in names for name in self.names], device=self.valid.device)
        valid = self.valid & keep
        images = torch.where(valid[:, None, None, None], self.images, 0.0)
        return dataclasses.replace(self, images=images, valid=valid)


def scale_intrinsics(
    intrinsics: Float[Tensor, "*batch 3 3"], y_scale: float, x_scale: float
) -> Float[Tensor, "*batch 3 3"]:
    """Intrinsics after an image was resized by the given factors (pixel centres at +0.5)."""
    first, second, third = intrinsics.unbind(-2)
    return torch.stack([first * x_scale, second * y_scale, third], dim=-2)
