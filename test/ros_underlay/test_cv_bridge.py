"""Pictures there and back; holds for the stand-in and for the real package."""

import struct

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

BRIDGE = CvBridge()
ORANGE_BGR = (0, 128, 255)


def orange(channels: int = 3) -> np.ndarray:
    """(4, 6, channels) of one colour."""
    return np.full((4, 6, channels), (*ORANGE_BGR, 255)[:channels], np.uint8)


def message(encoding: str, data: bytes, width: int, height: int, step: int, big: int = 0) -> Image:
    return Image(
        encoding=encoding, data=data, width=width, height=height, step=step, is_bigendian=big
    )


@pytest.mark.parametrize(
    ("dtype", "shape", "encoding"),
    [
        (np.uint8, (3, 5), "mono8"),
        (np.uint16, (3, 5), "mono16"),
        (np.uint16, (3, 5), "16UC1"),
        (np.float32, (3, 5), "32FC1"),
        (np.float32, (3, 5, 2), "32FC2"),
        (np.uint8, (3, 5, 3), "bgr8"),
        (np.uint8, (3, 5, 4), "rgba8"),
    ],
)
def test_round_trip(dtype: type, shape: tuple[int, ...], encoding: str):
    picture = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    sent = BRIDGE.cv2_to_imgmsg(picture, encoding, header=Header(frame_id="camera"))
    assert (sent.header.frame_id, sent.encoding) == ("camera", encoding)
    assert (sent.height, sent.width) == (3, 5)
    assert sent.step == picture.strides[0]
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(sent), picture)


def test_passthrough_names_type_and_channels():
    assert BRIDGE.cv2_to_imgmsg(orange()).encoding == "8UC3"


def test_colours_are_reordered():
    sent = BRIDGE.cv2_to_imgmsg(orange(), "bgr8")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(sent, "rgb8")[0, 0], ORANGE_BGR[::-1])
    np.testing.assert_array_equal(
        BRIDGE.imgmsg_to_cv2(sent, "rgba8")[0, 0], (*ORANGE_BGR[::-1], 255)
    )


def test_grey_is_luminance():
    sent = BRIDGE.cv2_to_imgmsg(orange(), "bgr8")
    grey = BRIDGE.imgmsg_to_cv2(sent, "mono8")
    assert grey.shape == (4, 6)
    # ITU-R BT.601.
    assert grey[0, 0] == pytest.approx(0.299 * 255 + 0.587 * 128, abs=1)


def test_eight_bits_span_the_range_of_sixteen():
    sent = BRIDGE.cv2_to_imgmsg(np.array([[0, 255]], np.uint8), "mono8")
    assert BRIDGE.imgmsg_to_cv2(sent, "mono16").tolist() == [[0, 65535]]
    sent = BRIDGE.cv2_to_imgmsg(np.array([[0, 65535]], np.uint16), "mono16")
    assert BRIDGE.imgmsg_to_cv2(sent, "mono8").tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("pattern", "first"), [("rggb", "r"), ("bggr", "b"), ("grbg", "gr"), ("gbrg", "gb")]
)
def test_bayer_patterns_are_named_by_their_upper_left_corner(pattern: str, first: str):
    """A red scene leaves only the red cells of the mosaic lit, and must come back red."""
    assert pattern.startswith(first)
    mosaic = np.zeros((8, 8), np.uint8)
    index = pattern.index("r")
    mosaic[index // 2 :: 2, index % 2 :: 2] = 200
    sent = BRIDGE.cv2_to_imgmsg(mosaic, f"bayer_{pattern}8")
    inner = BRIDGE.imgmsg_to_cv2(sent, "bgr8")[2:-2, 2:-2].reshape(-1, 3)
    np.testing.assert_array_equal(inner, np.tile([0, 0, 200], (len(inner), 1)))


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_yuv_grey_comes_back_grey(encoding: str, order: str):
    values = {"u": 128, "v": 128, "y": 126}  # 16..235 -> 0..255
    data = bytes(values[letter] for letter in order) * 4
    picture = BRIDGE.imgmsg_to_cv2(message(encoding, data, 4, 2, 8), "bgr8")
    np.testing.assert_allclose(picture.astype(int), (126 - 16) * 255 / 219, atol=2)


def test_padded_rows_are_cut():
    data = bytes([1, 2, 3, 99, 4, 5, 6, 99])
    picture = BRIDGE.imgmsg_to_cv2(message("mono8", data, 3, 2, 4))
    assert picture.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_big_endian_is_turned():
    data = struct.pack(">2H", 1, 600)
    picture = BRIDGE.imgmsg_to_cv2(message("mono16", data, 2, 1, 4, big=1))
    assert picture.tolist() == [[1, 600]]


@pytest.mark.parametrize("picture", [orange(), orange()[:, :, 0].copy()])
def test_png_round_trip(picture: np.ndarray):
    sent = BRIDGE.cv2_to_compressed_imgmsg(picture, "png")
    assert "png" in sent.format
    np.testing.assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(sent), picture)


def test_compressed_to_rgb():
    sent = BRIDGE.cv2_to_compressed_imgmsg(orange(), "png")
    rgb = BRIDGE.compressed_imgmsg_to_cv2(sent, "rgb8")
    np.testing.assert_array_equal(rgb[0, 0], ORANGE_BGR[::-1])


def test_a_view_of_a_picture_is_sent_whole():
    wide = np.arange(24, dtype=np.uint8).reshape(4, 6)
    sent = BRIDGE.cv2_to_imgmsg(np.ascontiguousarray(wide[:, ::2]), "mono8")
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(sent), wide[:, ::2])


@pytest.mark.parametrize(
    ("encoding", "wanted"), [("32FC1", "bgr8"), ("nonsense", "passthrough"), ("8UC2", "32FC1")]
)
def test_what_makes_no_sense_is_refused(encoding: str, wanted: str):
    with pytest.raises(CvBridgeError):
        BRIDGE.imgmsg_to_cv2(message(encoding, bytes(64), 2, 2, 8), wanted)


def test_an_encoding_that_the_array_has_not_is_refused():
    with pytest.raises(CvBridgeError):
        BRIDGE.cv2_to_imgmsg(orange(), "mono8")


def test_too_little_data_is_refused():
    with pytest.raises((CvBridgeError, TypeError, ValueError)):
        BRIDGE.imgmsg_to_cv2(message("bgr8", bytes(10), 2, 2, 6))


def test_garbage_is_no_jpeg():
    garbage = CompressedImage(format="jpeg", data=b"not a picture")
    with pytest.raises((CvBridgeError, cv2.error)):
        BRIDGE.compressed_imgmsg_to_cv2(garbage)
