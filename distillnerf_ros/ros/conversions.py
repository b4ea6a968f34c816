"""From camera messages to a CameraRig; messages are read by attribute: nothing here needs ROS.

Images become RGB uint8 at the size the model wants, calibrations pinhole matrices of that size.
"""

import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float64, UInt8

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.cameras.pixels import k_from_opencv, k_to_opencv
from distillnerf_ros.data.jpeg import decode_jpeg, jpeg_size
from distillnerf_ros.errors import CalibrationError, DistillNerfError, ImageError

ASPECT_TOLERANCE = 0.02
"""Largest relative difference of the x and y scales between an image and its calibration."""

DISTORTION_MODELS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
    "fisheye": (4,),
}
"""Distortion models (sensor_msgs/distortion_models.hpp) and their numbers of coefficients."""

_CHANNELS = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4}
_CHANNELS |= {"8UC4": 4, "mono16": 1, "16UC1": 1, "rgb16": 3, "bgr16": 3}
_TO_RGB = {
    "mono8": cv2.COLOR_GRAY2RGB,
    "8UC1": cv2.COLOR_GRAY2RGB,
    "mono16": cv2.COLOR_GRAY2RGB,
    "16UC1": cv2.COLOR_GRAY2RGB,
    "bgr8": cv2.COLOR_BGR2RGB,
    "8UC3": cv2.COLOR_BGR2RGB,
    "bgr16": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "8UC4": cv2.COLOR_BGRA2RGB,
}


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A checked pinhole calibration, hashable so that rectification maps can be cached.

    Attributes:
        matrix: the nine entries of K, row by row, in pixels of an image of ``size``; pixel centres
            count from 0, as in every CameraInfo.
        size: height and width in pixels that ``matrix`` belongs to; (0, 0): those of the image.
        distortion: coefficients in OpenCV's order, empty for a rectified image.
        model: distortion model as in sensor_msgs/CameraInfo.
    """

    matrix: tuple[float, ...]
    size: tuple[int, int]
    distortion: tuple[float, ...]
    model: str

    def k(self, size: tuple[int, int], full_size: tuple[int, int]) -> Float64[np.ndarray, "3 3"]:
        """K of an image resized to ``size`` from ``full_size`` (heights and widths).

        In pixels of this package, whose first centre is (0.5, 0.5).
        """
        own = self.size if all(self.size) else full_size
        scale = np.array([size[1] / own[1], size[0] / own[0], 1.0])
        return k_from_opencv(np.array(self.matrix).reshape(3, 3)) * scale[:, None]

    def check_image(self, full_size: tuple[int, int], camera: str) -> None:
        """Refuse an image whose shape contradicts the calibration.

        Raises:
            ImageError: names both sizes.
        """
        if not all(self.size):
            return
        y_scale, x_scale = full_size[0] / self.size[0], full_size[1] / self.size[1]
        if abs(y_scale / x_scale - 1.0) > ASPECT_TOLERANCE:
            raise ImageError(
                f"{camera}: the image is {full_size[1]}x{full_size[0]}, its camera_info says "
                f"{self.size[1]}x{self.size[0]}, another shape; publish the camera_info of this "
                "image stream"
            )


def calibration_from_info(info: Any, rectify: bool, camera: str) -> Calibration:
    """Check a CameraInfo message and keep what is needed of it.

    Args:
        info: sensor_msgs/CameraInfo (read by attribute).
        rectify: True where the images are as the lens made them: K and D count. False where they
            are rectified already: then P counts where it is filled in, and D does not.
        camera: name for the messages.

    Raises:
        CalibrationError: K is zero, NaN or impossible, or the distortion is of an unknown model.
    """
    projection = np.array(info.p, dtype=np.float64).reshape(3, 4)[:, :3]
    use_projection = not rectify and np.isfinite(projection).all() and projection[0, 0] > 0
    matrix = projection if use_projection else np.array(info.k, dtype=np.float64).reshape(3, 3)
    pinhole = matrix[[1, 2, 2, 2], [0, 0, 1, 2]].tolist() == [0, 0, 0, 1]
    if not (np.isfinite(matrix).all() and pinhole and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise CalibrationError(
            f"{camera}: camera_info has {'p' if use_projection else 'k'} = "
            f"{matrix.ravel().tolist()}; expected [fx, s, cx, 0, fy, cy, 0, 0, 1], finite with "
            "positive focal lengths: calibrate the camera, or fix what publishes camera_info"
        )
    matrix = matrix.copy()
    size = (int(info.height), int(info.width))
    if info.roi.width and info.roi.height:
        matrix[:2, 2] -= (info.roi.x_offset, info.roi.y_offset)
        size = (int(info.roi.height), int(info.roi.width))
    distortion = _distortion(info, camera) if rectify else ()
    return Calibration(tuple(matrix.ravel().tolist()), size, distortion, info.distortion_model)


def _distortion(info: Any, camera: str) -> tuple[float, ...]:
    values = tuple(float(value) for value in info.d)
    if not any(values):
        return ()
    lengths = DISTORTION_MODELS.get(info.distortion_model)
    if lengths is None or len(values) not in lengths or not all(map(math.isfinite, values)):
        raise CalibrationError(
            f"{camera}: distortion model {info.distortion_model!r} with d = {list(values)}; "
            f"expected finite coefficients of one of {', '.join(DISTORTION_MODELS)}, or none for "
            "a rectified image"
        )
    return values


@lru_cache(maxsize=64)
def rectification_maps(
    calibration: Calibration, size: tuple[int, int], full_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV maps that undistort an image of ``size`` and keep its K."""
    k_cv = k_to_opencv(calibration.k(size, full_size))
    coefficients = np.array(calibration.distortion)
    shape = (size[1], size[0])
    if calibration.model in ("equidistant", "fisheye"):
        return cv2.fisheye.initUndistortRectifyMap(
            k_cv, coefficients, np.eye(3), k_cv, shape, cv2.CV_16SC2
        )
    return cv2.initUndistortRectifyMap(k_cv, coefficients, np.eye(3), k_cv, shape, cv2.CV_16SC2)


def decode_image(
    message: Any, image_size: tuple[int, int], camera: str
) -> tuple[UInt8[np.ndarray, "H W 3"], tuple[int, int]]:
    """RGB image of a sensor_msgs/Image or CompressedImage at the wanted size.

    Args:
        message: the image message (read by attribute).
        image_size: height and width in pixels wanted.
        camera: name for the messages.

    Returns:
        The image, and its height and width before resizing.

    Raises:
        ImageError: empty, truncated, of contradicting size or of an unknown encoding.
    """
    if hasattr(message, "encoding"):
        image = raw_image(message, camera)
    else:
        data = bytes(message.data)
        if data[:2] == b"\xff\xd8":
            return decode_jpeg(data, image_size, camera), jpeg_size(data, camera)
        image = _decode_other(data, message.format, camera)
    full_size = (image.shape[0], image.shape[1])
    return _resized(image, image_size), full_size


def _decode_other(data: bytes, image_format: str, camera: str) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise ImageError(
            f"{camera}: {len(data)} bytes of format {image_format!r} cannot be decoded; expected "
            "a whole JPEG or PNG image"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def raw_image(message: Any, camera: str) -> UInt8[np.ndarray, "H W 3"]:
    """RGB view or copy of a sensor_msgs/Image at its own size.

    Raises:
        ImageError: the buffer contradicts the size, or the encoding is unknown.
    """
    encoding = message.encoding
    if encoding not in _CHANNELS:
        return _ask_cv_bridge(message, camera)
    channels, depth = _CHANNELS[encoding], 2 if encoding.endswith("16") or "16U" in encoding else 1
    height, width, step = message.height, message.width, message.step
    row = width * channels * depth
    data = np.frombuffer(message.data, np.uint8)
    if not height or not width or step < row or data.size < step * height:
        raise ImageError(
            f"{camera}: {data.size} bytes with step {step} for a {width}x{height} {encoding} "
            f"image; expected step >= {row} and step * height bytes"
        )
    pixels = data[: step * height].reshape(height, step)[:, :row]
    if depth == 2:
        order = ">u2" if message.is_bigendian else "<u2"
        pixels = (np.ascontiguousarray(pixels).view(order) >> 8).astype(np.uint8)
    pixels = pixels.reshape(height, width, channels)
    return pixels if encoding not in _TO_RGB else cv2.cvtColor(pixels, _TO_RGB[encoding])


def _ask_cv_bridge(message: Any, camera: str) -> np.ndarray:
    known = f"{camera}: encoding {message.encoding!r} is none of {', '.join(_CHANNELS)}"
    try:
        from cv_bridge import CvBridge
    except ImportError as error:
        raise ImageError(
            f"{known}, and cv_bridge, which knows more, cannot be imported ({error}); install "
            "ros-$ROS_DISTRO-cv-bridge, or publish rgb8 or bgr8"
        ) from error
    try:
        return CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    except Exception as error:  # cv_bridge raises what its C++ core happens to raise
        raise ImageError(f"{known}, and cv_bridge failed on it: {error}") from error


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    shrinking = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=method)


@dataclasses.dataclass(frozen=True)
class CameraInput:
    """What one camera contributes to a glance.

    Attributes:
        name: camera name.
        image: its image message.
        calibration: of that image.
        ego_from_camera: (4, 4) pose at the camera's own stamp, vehicle frame at the reference's.
    """

    name: str
    image: Any
    calibration: Calibration
    ego_from_camera: Float64[np.ndarray, "4 4"]


@dataclasses.dataclass(frozen=True)
class PreparedCamera:
    """One camera, ready for the model.

    Attributes:
        image: RGB at the wanted size, rectified.
        k: pinhole matrix in pixels of ``image``.
        full_size: height and width of the image as it was sent.
    """

    image: UInt8[np.ndarray, "H W 3"]
    k: Float64[np.ndarray, "3 3"]
    full_size: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class PreparedGlance:
    """A rig, and what became of each camera that was there.

    Attributes:
        rig: all cameras; those that could not be used are missing in it.
        full_sizes: height and width of the image as it was sent, per usable camera.
        errors: why a camera could not be used.
    """

    rig: CameraRig
    full_sizes: dict[str, tuple[int, int]]
    errors: dict[str, DistillNerfError]


def prepare_camera(camera: CameraInput, image_size: tuple[int, int]) -> PreparedCamera:
    """Decode, resize and rectify the image of one camera.

    Raises:
        ImageError: the image is damaged, or its shape contradicts the calibration.
    """
    image, full_size = decode_image(camera.image, image_size, camera.name)
    camera.calibration.check_image(full_size, camera.name)
    if camera.calibration.distortion:
        maps = rectification_maps(camera.calibration, image_size, full_size)
        image = cv2.remap(image, *maps, cv2.INTER_LINEAR)
    return PreparedCamera(image, camera.calibration.k(image_size, full_size), full_size)


def prepare_glance(
    names: Sequence[str],
    inputs: Sequence[CameraInput | None],
    image_size: tuple[int, int],
    pool: Executor,
) -> PreparedGlance:
    """The rig of a glance; a camera that cannot be used is missing in it, and told why.

    Args:
        names: all N camera names.
        inputs: one entry per name, None where the camera is missing.
        image_size: height and width in pixels of the rig's images.
        pool: where images are decoded (OpenCV releases the interpreter lock).
    """
    jobs = [pool.submit(prepare_camera, one, image_size) if one else None for one in inputs]
    cameras: dict[int, PreparedCamera] = {}
    errors: dict[str, DistillNerfError] = {}
    for index, job in enumerate(jobs):
        try:
            if job is not None:
                cameras[index] = job.result()
        except DistillNerfError as error:
            errors[names[index]] = error
    poses = {i: one.ego_from_camera for i, one in enumerate(inputs) if one and i in cameras}
    rig = _assemble(names, cameras, poses, image_size)
    sizes = {names[index]: camera.full_size for index, camera in cameras.items()}
    return PreparedGlance(rig, sizes, errors)


def _assemble(
    names: Sequence[str],
    cameras: dict[int, PreparedCamera],
    poses: dict[int, np.ndarray],
    image_size: tuple[int, int],
) -> CameraRig:
    count = len(names)
    images = np.zeros((count, *image_size, 3), np.uint8)
    # The entries of a missing camera are never looked at; they only have to be invertible.
    intrinsics, transforms = np.tile(np.eye(3), (count, 1, 1)), np.tile(np.eye(4), (count, 1, 1))
    for index, camera in cameras.items():
        images[index], intrinsics[index] = camera.image, camera.k
        transforms[index] = poses[index]
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255.0)
    return CameraRig(
        tuple(names),
        pixels.contiguous(),
        torch.from_numpy(intrinsics).float(),
        torch.from_numpy(transforms).float(),
        torch.tensor([index in cameras for index in range(count)]),
    )
