"""Pictures between messages and OpenCV's arrays."""

import array
import sys

import cv2
import numpy as np
from cv_bridge import encodings
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header


class CvBridgeError(TypeError):
    """A picture that can't be converted as asked."""


class CvBridge:
    """Converts; holds nothing."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = "passthrough") -> np.ndarray:
        """Array (H, W) or (H, W, C) of a picture.

        Args:
            img_msg: The message; rows may be padded, bytes of either order.
            desired_encoding: Encoding wanted; "passthrough" = the message's own.

        Raises:
            CvBridgeError: Unknown encoding, too little data, or no way between the encodings.
        """
        try:
            source = encodings.parse(img_msg.encoding)
            image = _pixels(img_msg, source)
            if desired_encoding == "passthrough":
                return image
            return encodings.convert(image, source, encodings.parse(desired_encoding))
        except (ValueError, cv2.error) as error:
            raise CvBridgeError(str(error)) from error

    def cv2_to_imgmsg(
        self, cvim: np.ndarray, encoding: str = "passthrough", header: Header | None = None
    ) -> Image:
        """Message of an array (H, W) or (H, W, C).

        Args:
            cvim: The picture.
            encoding: What its channels are; "passthrough" = only their type and number, as "8UC3".
            header: Stamp and frame.

        Raises:
            CvBridgeError: The array doesn't hold such an encoding.
        """
        try:
            actual = encodings.name_of(cvim)
            target = encodings.parse(actual if encoding == "passthrough" else encoding)
        except ValueError as error:
            raise CvBridgeError(str(error)) from error
        channels = 1 if cvim.ndim == 2 else cvim.shape[2]
        if (target.dtype, target.channels) != (cvim.dtype.newbyteorder("="), channels):
            raise CvBridgeError(f"encoding specified as {encoding}, but image has type {actual}")
        data = array.array("B")
        data.frombytes(memoryview(np.ascontiguousarray(cvim)).cast("B"))
        big = cvim.dtype.byteorder == ">" or (cvim.dtype.byteorder == "=" and _BIG)
        return Image(
            header=Header() if header is None else header,
            height=cvim.shape[0],
            width=cvim.shape[1],
            encoding=target.name,
            is_bigendian=int(big),
            step=cvim.shape[1] * channels * cvim.dtype.itemsize,
            data=data,
        )

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = "passthrough"
    ) -> np.ndarray:
        """Array of a JPEG or PNG, in OpenCV's order of channels (bgr) unless asked otherwise.

        Raises:
            CvBridgeError: The data is no picture, or can't be brought into the encoding.
        """
        data = np.frombuffer(cmprs_img_msg.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR) if data.size else None
        if image is None:
            raise CvBridgeError(
                f"{data.size} bytes said to be {cmprs_img_msg.format!r} are no picture"
            )
        if desired_encoding == "passthrough":
            return image
        source = encodings.parse("mono8" if image.ndim == 2 else "bgr8")
        try:
            return encodings.convert(image, source, encodings.parse(desired_encoding))
        except ValueError as error:
            raise CvBridgeError(str(error)) from error

    def cv2_to_compressed_imgmsg(
        self, cvim: np.ndarray, dst_format: str = "jpg"
    ) -> CompressedImage:
        """JPEG, PNG, ... of an array (H, W) or (H, W, 3) in OpenCV's order of channels (bgr).

        Raises:
            CvBridgeError: OpenCV can't write this array in this format.
        """
        try:
            written, data = cv2.imencode(f".{dst_format}", cvim)
        except cv2.error as error:
            raise CvBridgeError(str(error)) from error
        if not written:
            raise CvBridgeError(f"can't write {cvim.dtype} of shape {cvim.shape} as {dst_format}")
        return CompressedImage(format=dst_format, data=array.array("B", data.tobytes()))


_BIG = sys.byteorder == "big"


def _pixels(message: Image, encoding: encodings.Encoding) -> np.ndarray:
    """Array (H, W) or (H, W, C) in native byte order, a view of the message where possible."""
    dtype = encoding.dtype.newbyteorder(">" if message.is_bigendian else "<")
    row_bytes = message.width * encoding.channels * dtype.itemsize
    step = message.step or row_bytes
    if step < row_bytes or len(message.data) < step * message.height:
        raise ValueError(
            f"{message.encoding} of {message.width}x{message.height} with step {message.step} and "
            f"{len(message.data)} bytes; expected a step of at least {row_bytes}"
        )
    rows = np.frombuffer(message.data, np.uint8, count=step * message.height)
    rows = rows.reshape(message.height, step)[:, :row_bytes]
    pixels = np.ascontiguousarray(rows).view(dtype).reshape(message.height, message.width, -1)
    pixels = pixels.astype(encoding.dtype, copy=False)
    return pixels[:, :, 0] if encoding.channels == 1 else pixels
