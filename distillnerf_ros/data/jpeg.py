"""JPEG decoding that refuses damaged files and never decodes more pixels than are wanted."""

import numpy as np
from jaxtyping import UInt8

from distillnerf_ros.errors import ImageError

_REDUCTIONS = (8, 4, 2)  # the scales libjpeg decodes to directly
_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Start-of-frame markers are C0..CF without DHT (C4), JPG (C8) and DAC (CC) (ITU-T T.81, B.1.1.3).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def jpeg_size(data: bytes, name: str = "image") -> tuple[int, int]:
    """Height and width in pixels, read from the header without decoding.

    Args:
        data: the whole compressed image.
        name: what the image is called in error messages.

    Raises:
        ImageError: not a JPEG, or it ends before its last line.
    """
    if data[:2] != b"\xff\xd8":
        raise ImageError(f"{name} is not a JPEG: it starts with {data[:4].hex() or 'nothing'}")
    size, at = None, 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            raise ImageError(f"{name} is a damaged JPEG: no marker at byte {at} of {len(data)}")
        marker = data[at + 1]
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD7:  # fill byte, or marker without body
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME:
            size = (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
        if marker == _START_OF_SCAN:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    # Inside the coded scan FF is always followed by 00 or a restart marker, so that FF D9 there
    # can only be the real end. OpenCV paints the rest of a cut image grey and reports success.
    if size is None or data.rfind(_END_OF_IMAGE) <= at:
        raise ImageError(
            f"{name} is a truncated JPEG: {len(data)} bytes without an end-of-image marker; "
            "copy or record it again"
        )
    return size


def reduction(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Largest scale (1, 2, 4 or 8) that divides ``size`` and still covers ``wanted``."""
    for scale in _REDUCTIONS:
        divides = all(pixels % scale == 0 for pixels in size)
        if divides and all(p // scale >= w for p, w in zip(size, wanted, strict=True)):
            return scale
    return 1


def decode_jpeg(
    data: bytes, image_size: tuple[int, int] | None = None, name: str = "image"
) -> UInt8[np.ndarray, "H W 3"]:
    """Decode to RGB at the wanted size.

    Args:
        data: the whole compressed image.
        image_size: height and width in pixels wanted; None = as stored. Much smaller sizes are
            decoded at a half, a quarter or an eighth and then area-averaged.
        name: what the image is called in error messages.

    Returns:
        (H, W, 3) RGB, 0..255.

    Raises:
        ImageError: not a JPEG, truncated or otherwise undecodable.
    """
    import cv2

    stored = jpeg_size(data, name)
    wanted = image_size or stored
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[reduction(stored, wanted)]
    # Calibrations belong to the pixels as stored, whatever Exif says is up.
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ImageError(f"{name} is a damaged JPEG of {len(data)} bytes: it cannot be decoded")
    if image.shape[:2] != wanted:
        shrinking = wanted[0] <= image.shape[0] and wanted[1] <= image.shape[1]
        method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        image = cv2.resize(image, (wanted[1], wanted[0]), interpolation=method)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
