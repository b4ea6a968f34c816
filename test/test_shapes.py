"""The shapes written in signatures are checked while the tests run."""

import jaxtyping
import pytest
import torch

from distillnerf_ros.cameras.rays import Rays, camera_rays


def test_wrong_shape_raises():
    eye = torch.eye(4)[None]
    with pytest.raises(jaxtyping.TypeCheckError, match="intrinsics"):
        camera_rays(eye, eye, (4, 4), (2, 2))


def test_axes_of_one_name_must_agree():
    two, three = torch.eye(3).expand(2, 3, 3), torch.eye(4).expand(3, 4, 4)
    with pytest.raises(jaxtyping.TypeCheckError):
        camera_rays(two, three, (4, 4), (2, 2))


def test_dataclass_fields_are_checked():
    with pytest.raises(jaxtyping.TypeCheckError, match="directions"):
        Rays(torch.zeros(5, 3), torch.zeros(4, 3))


def test_right_shape_passes():
    rays = camera_rays(torch.eye(3)[None], torch.eye(4)[None], (4, 4), (2, 3))
    assert rays.origins.shape == (6, 3)
