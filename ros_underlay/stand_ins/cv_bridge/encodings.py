"""What the encodings of ``sensor_msgs/msg/Image`` mean (sensor_msgs/image_encodings.hpp)."""

import re
from dataclasses import dataclass

import cv2
import numpy as np

_DEPTHS = {"8U": "uint8", "8S": "int8", "16U": "uint16", "16S": "int16"} | {
    "32S": "int32",
    "32F": "float32",
    "64F": "float64",
}
_NAMES = {dtype: depth for depth, dtype in _DEPTHS.items()}
_COLOURS = {
    "mono8": ("8U", 1),
    "mono16": ("16U", 1),
    "rgb8": ("8U", 3),
    "bgr8": ("8U", 3),
    "rgba8": ("8U", 4),
    "bgra8": ("8U", 4),
    "rgb16": ("16U", 3),
    "bgr16": ("16U", 3),
    "rgba16": ("16U", 4),
    "bgra16": ("16U", 4),
    "yuv422": ("8U", 2),
    "uyvy": ("8U", 2),
    "yuv422_yuy2": ("8U", 2),
    "yuyv": ("8U", 2),
} | {
    f"bayer_{pattern}{bits}": (f"{bits}U", 1)
    for pattern in ("rggb", "bggr", "gbrg", "grbg")
    for bits in (8, 16)
}
# OpenCV names a Bayer pattern by the 2x2 block at row 1, column 1, ROS by that at row 0, column 0.
_TO_BGR = {
    "mono": cv2.COLOR_GRAY2BGR,
    "rgb": cv2.COLOR_RGB2BGR,
    "rgba": cv2.COLOR_RGBA2BGR,
    "bgra": cv2.COLOR_BGRA2BGR,
    "yuv422": cv2.COLOR_YUV2BGR_UYVY,
    "uyvy": cv2.COLOR_YUV2BGR_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2BGR_YUY2,
    "yuyv": cv2.COLOR_YUV2BGR_YUY2,
    "bayer_rggb": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg": cv2.COLOR_BayerGB2BGR,
}
_FROM_BGR = {
    "mono": cv2.COLOR_BGR2GRAY,
    "rgb": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_BGR2RGBA,
    "bgra": cv2.COLOR_BGR2BGRA,
}


@dataclass(frozen=True)
class Encoding:
    """One encoding.

    Attributes:
        name: As in Image.encoding.
        dtype: Type of one channel, native byte order.
        channels: Channels of one pixel.
        is_colour: Whether the channels are known to be a colour, so others can be made of it.
    """

    name: str
    dtype: np.dtype
    channels: int
    is_colour: bool

    @property
    def family(self) -> str:
        """The name without its bits: rgb8 and rgb16 are both rgb."""
        return (
            self.name if self.name.startswith(("yuv", "uyvy")) else self.name.rstrip("0123456789")
        )


def parse(name: str) -> Encoding:
    """The encoding of a name.

    Raises:
        ValueError: No encoding has this name.
    """
    if name in _COLOURS:
        depth, channels = _COLOURS[name]
        return Encoding(name, np.dtype(_DEPTHS[depth]), channels, True)
    match = re.fullmatch(r"(8U|8S|16U|16S|32S|32F|64F)C([1-9]\d*)?", name)
    if match is None:
        raise ValueError(f"Unrecognized image encoding [{name}]")
    return Encoding(name, np.dtype(_DEPTHS[match[1]]), int(match[2] or 1), False)


def name_of(image: np.ndarray) -> str:
    """The encoding without a colour of an array (H, W) or (H, W, C), as "8UC3".

    Raises:
        ValueError: No encoding has this type of channel.
    """
    if image.dtype.name not in _NAMES:
        raise ValueError(f"no encoding holds {image.dtype}; these do: {sorted(_NAMES)}")
    return f"{_NAMES[image.dtype.name]}C{1 if image.ndim == 2 else image.shape[2]}"


def convert(image: np.ndarray, source: Encoding, target: Encoding) -> np.ndarray:
    """A picture of one encoding in another.

    Raises:
        ValueError: The one can't be made of the other.
    """
    if source.name == target.name:
        return image
    same_shape = source.channels == target.channels
    if same_shape and source.dtype == target.dtype and not (source.is_colour and target.is_colour):
        return image
    if target.is_colour and not source.is_colour:
        raise ValueError(
            f"[{source.name}] is not a color format. but [{target.name}] is. "
            "The conversion does not make sense"
        )
    if not target.is_colour and not same_shape:
        raise ValueError(f"[{source.name}] and [{target.name}] differ in number of channels")
    if source.is_colour and target.is_colour:
        image = _recolour(image, source, target)
    return _rescale(image, source, target)


def _recolour(image: np.ndarray, source: Encoding, target: Encoding) -> np.ndarray:
    if source.family == target.family:
        return image
    if target.family != "bgr" and target.family not in _FROM_BGR:
        raise ValueError(f"can't make [{target.name}] of [{source.name}]")
    if source.family != "bgr":
        image = cv2.cvtColor(image, _TO_BGR[source.family])
    return image if target.family == "bgr" else cv2.cvtColor(image, _FROM_BGR[target.family])


def _rescale(image: np.ndarray, source: Encoding, target: Encoding) -> np.ndarray:
    """Between types; 8 and 16 bits of a colour each span their whole range."""
    if image.dtype == target.dtype:
        return image
    scale = 1.0
    if source.is_colour and {source.dtype.name, target.dtype.name} == {"uint8", "uint16"}:
        scale = 65535 / 255 if target.dtype == np.uint16 else 255 / 65535
    scaled = image * scale
    if np.issubdtype(target.dtype, np.integer):
        limits = np.iinfo(target.dtype)
        scaled = np.clip(np.rint(scaled), limits.min, limits.max)
    return scaled.astype(target.dtype)
