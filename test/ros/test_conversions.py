"""Camera messages become a rig; every kind of bad input is refused by name."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from distillnerf_ros.errors import CalibrationError, ImageError
from distillnerf_ros.ros.conversions import (
    Calibration,
    CameraInput,
    calibration_from_info,
    decode_image,
    prepare_camera,
    prepare_glance,
    raw_image,
    rectification_maps,
)

K = [1266.0, 0.0, 816.0, 0.0, 1266.0, 491.0, 0.0, 0.0, 1.0]
SMALL = (128, 224)


def info(k=K, size=(900, 1600), d=(), model="plumb_bob", p=(0.0,) * 12, roi=(0, 0, 0, 0)):
    x, y, width, height = roi
    return SimpleNamespace(
        k=np.array(k),
        p=np.array(p),
        d=list(d),
        height=size[0],
        width=size[1],
        distortion_model=model,
        roi=SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height),
    )


def picture(height=90, width=160):
    """A colour gradient: red grows to the right, green grows downwards, blue is 40."""
    red = np.broadcast_to(np.linspace(0, 255, width)[None, :], (height, width))
    green = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return np.stack([red, green, np.full_like(red, 40.0)], -1).round().astype(np.uint8)


def raw(pixels, encoding, padding=0, big=False):
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    return SimpleNamespace(
        encoding=encoding,
        height=height,
        width=width,
        step=rows.shape[1],
        is_bigendian=big,
        data=rows.tobytes(),
    )


def jpeg(pixels, quality=95):
    data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return SimpleNamespace(format="jpeg", data=data.tobytes())


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [
        ("rgb8", [0, 1, 2]),
        ("bgr8", [2, 1, 0]),
        ("8UC3", [2, 1, 0]),
        ("rgba8", [0, 1, 2, 0]),
        ("bgra8", [2, 1, 0, 0]),
        ("8UC4", [2, 1, 0, 0]),
    ],
)
def test_colour_encodings_give_the_same_rgb(encoding, order, padding):
    pixels = picture()
    np.testing.assert_array_equal(
        raw_image(raw(pixels[..., order], encoding, padding), "CAM"), pixels
    )


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_becomes_three_equal_channels(encoding):
    grey = picture()[..., :1]
    np.testing.assert_array_equal(raw_image(raw(grey, encoding), "CAM"), grey.repeat(3, axis=2))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_sixteen_bits_keep_their_high_byte(encoding, big):
    grey = picture()[..., :1].astype(np.uint16) * 256 + 77
    stored = grey.astype(">u2" if big else "<u2")
    expected = picture()[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(raw_image(raw(stored, encoding, big=big), "CAM"), expected)


def test_bayer_is_left_to_cv_bridge():
    pytest.importorskip("cv_bridge")
    image_msgs = pytest.importorskip("sensor_msgs.msg")
    grey = np.full((8, 8), 100, np.uint8)
    message = image_msgs.Image(height=8, width=8, encoding="bayer_rggb8", step=8)
    message.data.frombytes(grey.tobytes())
    np.testing.assert_array_equal(raw_image(message, "CAM"), np.full((8, 8, 3), 100))


def test_without_cv_bridge_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(ImageError, match=r"CAM_BACK.*'yuv422'.*cv_bridge"):
        raw_image(raw(picture(), "yuv422"), "CAM_BACK")


def test_an_encoding_nobody_knows_is_refused_by_name():
    pytest.importorskip("cv_bridge")
    with pytest.raises(ImageError, match=r"CAM_BACK.*'banana8'"):
        raw_image(raw(picture(), "banana8"), "CAM_BACK")


@pytest.mark.parametrize("change", [{"height": 91}, {"step": 470}, {"width": 161}, {"height": 0}])
def test_a_buffer_that_contradicts_its_size_is_refused(change):
    message = raw(picture(), "rgb8")
    message.__dict__.update(change)
    with pytest.raises(ImageError, match=r"CAM_BACK.*expected step"):
        raw_image(message, "CAM_BACK")


def test_jpeg_is_decoded_at_the_wanted_size():
    image, full_size = decode_image(jpeg(picture(900, 1600)), SMALL, "CAM")
    assert full_size == (900, 1600)
    expected = cv2.resize(picture(900, 1600), SMALL[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 1.5


def test_png_is_decoded_too():
    data = cv2.imencode(".png", picture()[..., ::-1])[1].tobytes()
    image, full_size = decode_image(SimpleNamespace(format="png", data=data), (90, 160), "CAM")
    assert full_size == (90, 160)
    np.testing.assert_array_equal(image, picture())


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.9])
def test_a_truncated_jpeg_is_refused(keep):
    message = jpeg(picture(300, 400))
    message.data = message.data[: int(keep * len(message.data))]
    with pytest.raises(ImageError, match="CAM_LEFT"):
        decode_image(message, SMALL, "CAM_LEFT")


def test_noise_is_no_image():
    message = SimpleNamespace(format="jpeg", data=bytes(range(256)) * 10)
    with pytest.raises(ImageError, match=r"CAM_LEFT.*cannot be decoded"):
        decode_image(message, SMALL, "CAM_LEFT")


@pytest.mark.parametrize("bad", [[0.0] * 9, [float("nan")] * 9, [-1.0, *K[1:]]])
def test_k_without_focal_length_is_refused(bad):
    with pytest.raises(CalibrationError, match=r"CAM_BACK.*camera_info has k"):
        calibration_from_info(info(k=bad), True, "CAM_BACK")


@pytest.mark.parametrize("entry", [3, 6, 7, 8])
def test_k_of_another_form_is_this_camera_s_error(entry):
    """CameraRig would refuse it, too, but with it the five good cameras."""
    k = list(K)
    k[entry] += 1.0
    with pytest.raises(CalibrationError, match=r"CAM: camera_info has k = .*fy, cy, 0, 0, 1\]"):
        calibration_from_info(info(k=k), True, "CAM")


def test_k_is_scaled_with_the_image():
    """The corner of the first four pixels, (0.5, 0.5) in ROS, becomes the first one's centre."""
    calibration = calibration_from_info(info(), True, "CAM")
    k = calibration.k((450, 800), (900, 1600))
    np.testing.assert_allclose(k[0, 0], K[0] / 2)
    np.testing.assert_allclose(k[1, 1], K[4] / 2)
    np.testing.assert_allclose(k[2], [0, 0, 1])
    corner = np.linalg.solve(np.array(K).reshape(3, 3), [0.5, 0.5, 1.0])
    np.testing.assert_allclose(k @ corner, [0.5, 0.5, 1.0])


def test_k_without_a_size_belongs_to_the_image():
    calibration = calibration_from_info(info(size=(0, 0)), True, "CAM")
    np.testing.assert_allclose(calibration.k((450, 800), (900, 1600))[0, 0], K[0] / 2)


def test_a_region_of_interest_moves_the_principal_point():
    calibration = calibration_from_info(info(roi=(100, 50, 800, 450)), True, "CAM")
    assert calibration.size == (450, 800)
    k = calibration.k((450, 800), (450, 800))
    assert (k[0, 2], k[1, 2]) == (K[2] - 100 + 0.5, K[5] - 50 + 0.5)


def test_a_rectified_image_uses_the_projection_matrix():
    p = [1000.0, 0, 800, 0, 0, 1000, 450, 0, 0, 0, 1, 0]
    message = info(p=p, d=[0.1, 0, 0, 0, 0])
    rectified = calibration_from_info(message, False, "CAM")
    assert rectified.matrix[0] == 1000.0
    assert rectified.distortion == ()
    raw_one = calibration_from_info(message, True, "CAM")
    assert raw_one.matrix[0] == K[0]
    assert raw_one.distortion == (0.1, 0, 0, 0, 0)


def test_zero_coefficients_mean_rectified():
    assert calibration_from_info(info(d=[0.0] * 5, model=""), True, "CAM").distortion == ()


@pytest.mark.parametrize(
    ("model", "d"), [("banana", [0.1] * 5), ("plumb_bob", [0.1] * 3), ("plumb_bob", [np.nan] * 5)]
)
def test_distortion_nobody_knows_is_refused(model, d):
    with pytest.raises(CalibrationError, match=r"CAM_BACK.*distortion model"):
        calibration_from_info(info(model=model, d=d), True, "CAM_BACK")


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [("plumb_bob", (-0.3, 0.1, 0.001, -0.002, 0.0)), ("equidistant", (-0.02, 0.01, 0.0, 0.0))],
)
def test_rectification_puts_points_where_a_pinhole_sees_them(model, coefficients):
    """A dot drawn where the distorting lens images a 3D point moves to K times the point."""
    k = np.array([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]])
    point = np.array([0.4, -0.25, 1.0])
    if model == "equidistant":
        distort = cv2.fisheye.distortPoints
        seen = distort((point[:2] / point[2])[None, None], k, np.array(coefficients))
    else:
        seen = cv2.projectPoints(point[None], np.zeros(3), np.zeros(3), k, np.array(coefficients))[
            0
        ]
    u, v = seen.ravel()
    image = np.zeros((480, 640, 3), np.float32)
    grid_v, grid_u = np.mgrid[:480, :640]
    image[:] = 255 * np.exp(-((grid_u - u) ** 2 + (grid_v - v) ** 2) / 18)[..., None]
    calibration = Calibration(tuple(k.ravel()), (480, 640), coefficients, model)
    message = raw(image.round().astype(np.uint8), "rgb8")
    flat = prepare_camera(CameraInput("CAM", message, calibration, np.eye(4)), (480, 640))
    weight = flat.image[..., 0].astype(float)
    centre = [(grid_u + 0.5) * weight, (grid_v + 0.5) * weight]
    expected = (flat.k @ point)[:2]
    np.testing.assert_allclose([c.sum() / weight.sum() for c in centre], expected, atol=0.1)


def test_rectification_maps_are_made_once():
    calibration = Calibration(tuple(K), (900, 1600), (0.1, 0.0, 0.0, 0.0, 0.0), "plumb_bob")
    first = rectification_maps(calibration, SMALL, (900, 1600))
    again = Calibration(tuple(K), (900, 1600), (0.1, 0.0, 0.0, 0.0, 0.0), "plumb_bob")
    assert rectification_maps(again, SMALL, (900, 1600)) is first


def test_an_image_of_another_shape_than_its_calibration_is_refused():
    calibration = calibration_from_info(info(), True, "CAM_BACK")
    camera = CameraInput("CAM_BACK", raw(picture(640, 640), "rgb8"), calibration, np.eye(4))
    with pytest.raises(ImageError, match=r"CAM_BACK.*640x640.*1600x900"):
        prepare_camera(camera, SMALL)


def test_rig_of_good_bad_and_missing_cameras():
    calibration = calibration_from_info(info(), True, "CAM")
    pose = np.eye(4)
    pose[:3, 3] = [1.0, 2.0, 3.0]
    broken = jpeg(picture(900, 1600))
    broken.data = broken.data[:5000]
    inputs = [
        CameraInput("A", jpeg(picture(900, 1600)), calibration, pose),
        None,
        CameraInput("C", broken, calibration, np.eye(4)),
    ]
    with ThreadPoolExecutor(2) as pool:
        prepared = prepare_glance(("A", "B", "C"), inputs, SMALL, pool)
    rig, errors = prepared.rig, prepared.errors
    assert prepared.full_sizes == {"A": (900, 1600)}
    assert rig.valid.tolist() == [True, False, False]
    assert list(errors) == ["C"]
    assert isinstance(errors["C"], ImageError)
    assert rig.images.shape == (3, 3, *SMALL)
    assert rig.images.dtype == torch.float32
    assert rig.images[0, 0, 64, 112].item() == pytest.approx(0.5, abs=0.02)
    assert rig.images[1:].abs().sum() == 0
    assert rig.intrinsics[0, 0, 0].item() == pytest.approx(K[0] * 224 / 1600)
    assert rig.ego_from_camera[0, :3, 3].tolist() == [1.0, 2.0, 3.0]
