"""Cameras of one glance: the rig, its rays and rigid transforms."""

from distillnerf_ros.cameras.rays import Rays, camera_rays
from distillnerf_ros.cameras.rig import CAMERA_NAMES, CameraRig

__all__ = ["CAMERA_NAMES", "CameraRig", "Rays", "camera_rays"]
