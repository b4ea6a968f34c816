"""JPEG sizes, reduced decoding, and damaged files."""

import numpy as np
import pytest

from distillnerf_ros.data.jpeg import decode_jpeg, jpeg_size, reduction
from distillnerf_ros.errors import ImageError

cv2 = pytest.importorskip("cv2")


def encode(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def ramp(height: int, width: int) -> np.ndarray:
    rows, cols = np.mgrid[:height, :width]
    channels = [rows * 255 // height, cols * 255 // width, np.full_like(rows, 90)]
    return np.stack(channels, -1).astype(np.uint8)


def test_size_is_read_from_the_header():
    assert jpeg_size(encode(ramp(48, 80))) == (48, 80)


def test_colours_come_out_in_rgb_order():
    image = decode_jpeg(encode(np.full((16, 16, 3), (200, 100, 20), np.uint8)))
    np.testing.assert_allclose(image[8, 8], (200, 100, 20), atol=4)


@pytest.mark.parametrize(
    ("wanted", "scale"), [((900, 1600), 1), ((450, 800), 2), ((128, 224), 4), ((20, 20), 4)]
)
def test_reduction_covers_what_is_wanted(wanted, scale):
    # 900 rows are no multiple of 8, so an eighth would shift the pixels
    assert reduction((900, 1600), wanted) == scale


def test_reduced_decoding_equals_area_average():
    stored = ramp(128, 224)
    small = decode_jpeg(encode(stored), (16, 28))
    exact = stored.reshape(16, 8, 28, 8, 3).mean((1, 3))
    assert np.abs(small - exact).max() < 3


def test_enlarging_is_allowed():
    assert decode_jpeg(encode(ramp(16, 16)), (40, 24)).shape == (40, 24, 3)


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused_by_name(part):
    data = encode(ramp(64, 64))
    with pytest.raises(ImageError, match=r"front\.jpg is a truncated JPEG"):
        decode_jpeg(data[: int(len(data) * part)], name="front.jpg")


def test_header_without_pixels_is_refused():
    with pytest.raises(ImageError, match="truncated"):
        jpeg_size(encode(ramp(64, 64))[:100])


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"hello"])
def test_other_formats_are_refused(data):
    with pytest.raises(ImageError, match="not a JPEG"):
        decode_jpeg(data)


def test_rubbish_after_the_start_is_refused():
    with pytest.raises(ImageError, match="no marker at byte 2"):
        jpeg_size(b"\xff\xd8" + b"\x00" * 50)


def test_bytes_after_the_end_do_no_harm():
    assert decode_jpeg(encode(ramp(16, 16)) + b"\0" * 512).shape == (16, 16, 3)
