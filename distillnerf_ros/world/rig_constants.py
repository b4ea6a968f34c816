"""The sensor rig of the nuScenes vehicle (facts of its published calibration, rounded)."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.cameras.transforms import matrix_from_quaternion

IMAGE_SIZE_PX: tuple[int, int] = (900, 1600)
"""Height and width the intrinsics below belong to."""


@dataclasses.dataclass(frozen=True)
class CameraConstants:
    """One mounted camera.

    Attributes:
        translation_m: position of the optical centre in the ego frame.
        rotation_wxyz: ego_from_camera quaternion (nuScenes order).
        focal_px: focal length, equal in both axes.
        center_px: principal point (u, v).
        stamp_offset_s: firing time minus the stamp of the lidar sweep it belongs to.
    """

    translation_m: tuple[float, float, float]
    rotation_wxyz: tuple[float, float, float, float]
    focal_px: float
    center_px: tuple[float, float]
    stamp_offset_s: float

    @property
    def ego_from_camera(self) -> np.ndarray:
        """4x4 pose of the optical frame in the ego frame."""
        return matrix_from_quaternion(self.rotation_wxyz, self.translation_m)

    @property
    def intrinsics(self) -> np.ndarray:
        """3x3 pinhole matrix in pixels of a 1600x900 image."""
        u, v = self.center_px
        return np.array([[self.focal_px, 0, u], [0, self.focal_px, v], [0, 0, 1.0]])


CAMERAS: dict[str, CameraConstants] = {
    "CAM_FRONT": CameraConstants(
        (1.7008, 0.0159, 1.5110), (0.499802, -0.503032, 0.499780, -0.497371),
        1266.417, (816.267, 491.507), -0.036236,
    ),
    "CAM_FRONT_RIGHT": CameraConstants(
        (1.5508, -0.4934, 1.4957), (0.206035, -0.202694, 0.682451, -0.671361),
        1260.847, (807.968, 495.334), -0.028357,
    ),
    "CAM_BACK_RIGHT": CameraConstants(
        (1.0149, -0.4806, 1.5624), (0.122810, -0.132401, -0.700431, 0.690496),
        1259.514, (807.253, 501.196), -0.020803,
    ),
    "CAM_BACK": CameraConstants(
        (0.0283, 0.0035, 1.5791), (0.503787, -0.497402, -0.494185, 0.504550),
        809.221, (829.220, 481.778), -0.011171,
    ),
    "CAM_BACK_LEFT": CameraConstants(
        (1.0357, 0.4848, 1.5910), (0.692419, -0.703162, -0.116483, 0.112033),
        1256.741, (792.113, 492.776), -0.001273,
    ),
    "CAM_FRONT_LEFT": CameraConstants(
        (1.5239, 0.4946, 1.5093), (0.675727, -0.673627, 0.212140, -0.211228),
        1272.598, (826.615, 479.752), -0.043822,
    ),
}  # fmt: skip
"""Every camera by its nuScenes channel name."""

LIDAR_TRANSLATION_M: tuple[float, float, float] = (0.9437, 0.0, 1.8402)
LIDAR_ROTATION_WXYZ: tuple[float, float, float, float] = (
    0.707796, -0.006492, 0.010646, -0.706307,
)  # fmt: skip
"""LIDAR_TOP in the ego frame: its y axis points ahead."""

LIDAR_RINGS = 32
LIDAR_ELEVATIONS_DEG: tuple[float, ...] = tuple(
    float(angle) for angle in np.linspace(-30.67, 10.67, LIDAR_RINGS)
)
"""Beam elevations of the HDL-32E, ring 0 lowest (Velodyne HDL-32E manual: 1.33 degrees apart)."""

LIDAR_AZIMUTHS = 1080
LIDAR_RANGE_M = 100.0
LIDAR_RATE_HZ = 20.0
CAMERA_RATE_HZ = 12.0
KEYFRAME_RATE_HZ = 2.0


def ego_from_lidar() -> np.ndarray:
    """4x4 pose of LIDAR_TOP in the ego frame."""
    return matrix_from_quaternion(LIDAR_ROTATION_WXYZ, LIDAR_TRANSLATION_M)


_BEAM_BLOCK = (4, 30)
"""Rings and azimuth steps that are kept together in a list of beams."""


def lidar_beams() -> tuple[Float[Tensor, "P 3 S"], Int[Tensor, "P S"]]:
    """Unit directions of one sweep in the LIDAR_TOP frame, and ring numbers, in blocks."""
    elevation = torch.deg2rad(torch.tensor(LIDAR_ELEVATIONS_DEG))
    azimuth = torch.arange(LIDAR_AZIMUTHS) * (2 * np.pi / LIDAR_AZIMUTHS)
    flat = torch.cos(elevation)[:, None]
    ring = torch.arange(LIDAR_RINGS)[:, None].expand(-1, LIDAR_AZIMUTHS)
    grid = torch.stack(
        [
            flat * torch.sin(azimuth),
            flat * torch.cos(azimuth),
            torch.sin(elevation)[:, None].expand(-1, LIDAR_AZIMUTHS),
            ring.to(flat),
        ]
    )
    rings, steps = _BEAM_BLOCK
    blocks = grid.view(4, LIDAR_RINGS // rings, rings, LIDAR_AZIMUTHS // steps, steps)
    blocks = blocks.permute(3, 1, 0, 2, 4).reshape(-1, 4, rings * steps)
    return blocks[:, :3].contiguous(), blocks[:, 3].long()
