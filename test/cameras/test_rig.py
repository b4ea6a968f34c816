"""The rig: what it refuses, and resizing, dropping and selecting cameras."""

import dataclasses

import pytest
import torch

from distillnerf_ros.cameras import camera_rays
from distillnerf_ros.cameras.rig import scale_intrinsics
from distillnerf_ros.errors import CalibrationError, ImageError


def with_matrix(rig, field: str, camera: int, row: int, col: int, value: float):
    matrices = getattr(rig, field).clone()
    matrices[camera, row, col] = value
    return dataclasses.replace(rig, **{field: matrices})


@pytest.mark.parametrize(
    ("row", "col", "value"),
    [(0, 0, 0.0), (1, 1, -5.0), (0, 2, float("nan")), (2, 2, 0.0), (1, 0, 3.0)],
)
def test_intrinsics_that_are_no_pinhole_are_refused_by_camera(make_rig, row, col, value):
    with pytest.raises(CalibrationError, match="CAM_BACK_RIGHT"):
        with_matrix(make_rig(), "intrinsics", 2, row, col, value)


def test_pose_that_is_not_rigid_is_refused(make_rig):
    with pytest.raises(CalibrationError, match="not rigid"):
        with_matrix(make_rig(), "ego_from_camera", 1, 0, 0, 3.0)


def test_what_a_missing_camera_holds_is_not_looked_at(make_rig):
    rig = make_rig().without("CAM_BACK")
    rig = dataclasses.replace(rig, intrinsics=rig.intrinsics * rig.valid[:, None, None])
    assert rig.valid.tolist() == [True, True, True, False, True, True]


def test_images_and_names_must_agree(make_rig):
    with pytest.raises(ImageError, match=r"expected \(5, 3, H, W\)"):
        dataclasses.replace(make_rig(), names=make_rig().names[:5])


def test_numpy_s_float64_is_refused_with_what_to_do(make_rig):
    rig = make_rig()
    with pytest.raises(ImageError, match=r"intrinsics torch.float64.*expected torch.float32"):
        dataclasses.replace(rig, intrinsics=rig.intrinsics.double())


def test_fields_must_agree_in_number(make_rig):
    rig = make_rig()
    with pytest.raises((CalibrationError, TypeError)):
        dataclasses.replace(rig, intrinsics=rig.intrinsics[:5])


def test_resizing_keeps_the_rays(make_rig):
    rig = make_rig((48, 80))
    small = rig.resized(12, 20)
    assert small.image_size == (12, 20)
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (6, 10))
    again = camera_rays(small.intrinsics, small.ego_from_camera, small.image_size, (6, 10))
    torch.testing.assert_close(again.directions, rays.directions)


def test_shrinking_averages_areas(make_rig):
    rig = make_rig((48, 80))
    expected = rig.images.reshape(6, 3, 12, 4, 20, 4).mean(dim=(3, 5))
    torch.testing.assert_close(rig.resized(12, 20).images, expected)


def test_growing_keeps_a_constant_image(make_rig):
    rig = make_rig((8, 16))
    grey = dataclasses.replace(rig, images=torch.full_like(rig.images, 0.25))
    assert (grey.resized(16, 48).images == 0.25).all()


def test_resizing_to_the_same_size_copies_nothing(make_rig):
    rig = make_rig()
    assert rig.resized(*rig.image_size) is rig


def test_scale_intrinsics_moves_focal_lengths_and_centre_alike():
    k = torch.tensor([[100.0, 1.0, 40.0], [0.0, 90.0, 30.0], [0.0, 0.0, 1.0]])
    scaled = scale_intrinsics(k, y_scale=0.5, x_scale=0.25)
    assert scaled.tolist() == [[25.0, 0.25, 10.0], [0.0, 45.0, 15.0], [0.0, 0.0, 1.0]]


def test_without_blanks_even_broken_pixels(make_rig):
    rig = make_rig()
    rig.images[3] = torch.nan
    dropped = rig.without("CAM_BACK", "CAM_FRONT")
    assert (dropped.images[[0, 3]] == 0).all()
    assert dropped.valid.tolist() == [False, True, True, False, True, True]
    assert (dropped.images[1] == rig.images[1]).all()


def test_present_selects_in_order(make_rig):
    rig = make_rig().without("CAM_FRONT_RIGHT", "CAM_BACK")
    present = rig.present()
    assert present.names == ("CAM_FRONT", "CAM_BACK_RIGHT", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
    assert (present.ego_from_camera == rig.ego_from_camera[[0, 2, 4, 5]]).all()
    assert present.present() is present


def test_a_rig_without_any_camera_exists_but_cannot_be_used(make_rig):
    """Checking the poses of no camera at all once raised an error about an empty maximum."""
    rig = make_rig()
    with pytest.raises(ImageError, match="none of the cameras"):
        rig.without(*rig.names).present()
