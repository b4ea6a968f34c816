"""ROS messages of one nuScenes scene, serialised without ROS."""

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from distillnerf_ros.cameras.pixels import k_to_opencv

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore
else:
    Typestore = object

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

_FLOAT32, _UINT16 = 7, 4  # sensor_msgs/PointField constants
_POINT_FIELDS = (  # name, type in NumPy and in PointField, offset in bytes
    ("x", "<f4", _FLOAT32, 0),
    ("y", "<f4", _FLOAT32, 4),
    ("z", "<f4", _FLOAT32, 8),
    ("intensity", "<f4", _FLOAT32, 12),
    ("ring", "<u2", _UINT16, 16),
)
_POINT_BYTES = 18


@dataclasses.dataclass(frozen=True)
class TopicLayout:
    """Names of topics and frames in a bag of a nuScenes scene.

    ``{camera}`` is replaced by the nuScenes channel (``CAM_FRONT``), which is also the frame of
    that camera: nuScenes' camera axes are optical (REP-103).

    Attributes:
        image: CompressedImage of each camera.
        camera_info: CameraInfo of each camera.
        lidar: PointCloud2.
        map_frame: world-fixed frame.
        ego_frame: the vehicle.
    """

    image: str = "/{camera}/image_rect_compressed"
    camera_info: str = "/{camera}/camera_info"
    lidar: str = "/LIDAR_TOP"
    map_frame: str = "map"
    ego_frame: str = "base_link"


@cache
def typestore() -> Typestore:
    """Message definitions of ROS 2 Kilted; those used here are the same from Humble on."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_KILTED)


def _new(name: str, *values: Any) -> Any:
    return typestore().types[name](*values)


def _serialize(message: Any, name: str) -> bytes:
    return bytes(typestore().serialize_cdr(message, name))


def _header(stamp_ns: int, frame: str) -> Any:
    time = _new("builtin_interfaces/msg/Time", *divmod(stamp_ns, 1_000_000_000))
    return _new("std_msgs/msg/Header", time, frame)


def compressed_image(stamp_ns: int, frame: str, jpeg: bytes) -> bytes:
    """CompressedImage that carries a JPEG file unchanged."""
    data = np.frombuffer(jpeg, np.uint8)
    return _serialize(
        _new(COMPRESSED_IMAGE, _header(stamp_ns, frame), "jpeg", data), COMPRESSED_IMAGE
    )


def camera_info(
    stamp_ns: int, frame: str, image_size: tuple[int, int], k: Float[np.ndarray, "3 3"]
) -> bytes:
    """CameraInfo of a rectified image (height, width): no distortion, R = I, P = [K | 0].

    ``k`` is in this package's pixels, the message counts pixel centres from 0.
    """
    height, width = image_size
    k = k_to_opencv(k)
    projection = np.concatenate([k, np.zeros((3, 1))], axis=1)
    whole_image = _new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    message = _new(
        CAMERA_INFO,
        _header(stamp_ns, frame),
        height,
        width,
        "plumb_bob",
        np.zeros(5),
        k.reshape(9).astype(np.float64),
        np.eye(3).reshape(9),
        projection.reshape(12).astype(np.float64),
        0,  # binning: none
        0,
        whole_image,
    )
    return _serialize(message, CAMERA_INFO)


def point_cloud(stamp_ns: int, frame: str, points: Float[np.ndarray, "P 5"]) -> bytes:
    """PointCloud2 of x, y, z (m), intensity and ring."""
    packed = np.empty(
        len(points),
        np.dtype([(name, numpy_type) for name, numpy_type, _, _ in _POINT_FIELDS]),
    )
    for column, (name, *_) in enumerate(_POINT_FIELDS):
        packed[name] = points[:, column]
    fields = [
        _new("sensor_msgs/msg/PointField", name, offset, ros_type, 1)
        for name, _, ros_type, offset in _POINT_FIELDS
    ]
    message = _new(
        POINT_CLOUD,
        _header(stamp_ns, frame),
        1,
        len(points),
        fields,
        False,  # little endian
        _POINT_BYTES,
        packed.nbytes,
        packed.view(np.uint8).reshape(-1),
        bool(np.isfinite(points[:, :3]).all()),
    )
    return _serialize(message, POINT_CLOUD)


def transforms(poses: list[tuple[int, str, str, Float[np.ndarray, "4 4"]]]) -> bytes:
    """TFMessage of (stamp in ns, parent, child, parent_from_child) each."""
    from scipy.spatial.transform import Rotation

    stamped = []
    for stamp_ns, parent, child, parent_from_child in poses:
        quaternion_xyzw = Rotation.from_matrix(parent_from_child[:3, :3]).as_quat()
        transform = _new(
            "geometry_msgs/msg/Transform",
            _new("geometry_msgs/msg/Vector3", *parent_from_child[:3, 3].tolist()),
            _new("geometry_msgs/msg/Quaternion", *quaternion_xyzw.tolist()),
        )
        header = _header(stamp_ns, parent)
        stamped.append(_new("geometry_msgs/msg/TransformStamped", header, child, transform))
    return _serialize(_new(TRANSFORMS, stamped), TRANSFORMS)
