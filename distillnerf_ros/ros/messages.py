"""From results to messages. Byte fields are filled without a copy per element.

Stamps and frames come with a ready header: camera outputs carry their camera's, the rest the
vehicle frame at the glance's reference stamp.
"""

import array
import colorsys
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from distillnerf_msgs.msg import Cluster as ClusterMsg
from geometry_msgs.msg import Point, Vector3
from jaxtyping import Float, Float32, UInt8
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from distillnerf_ros.cameras.pixels import k_to_opencv
from distillnerf_ros.query.hits import Hits
from distillnerf_ros.query.occupancy import Occupancy
from distillnerf_ros.taxonomy import OCC3D_CLASSES, OCC3D_COLORS

GROUND_CLASSES = ("driveable surface", "other flat", "sidewalk", "terrain")
"""Classes one drives or walks on: never an obstacle in the grid."""

_POINT_TYPES = {"<f4": PointField.FLOAT32, "<u4": PointField.UINT32}
_NO_CLASS_COLOR = (160, 160, 160)


def header_at(stamp_ns: int, frame_id: str) -> Header:
    """A header from a stamp in nanoseconds."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def stamp_ns(header: Header) -> int:
    """A header's stamp in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def byte_field(values: np.ndarray, typecode: str = "B") -> array.array:
    """The memory of an array as a message field; 1000 times faster than assigning the array."""
    field = array.array(typecode)
    field.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return field


# Pictures -----------------------------------------------------------------------------------


def depth_image(depth_m: Float32[np.ndarray, "h w"], header: Header) -> Image:
    """32FC1: metres along the optical axis, NaN where nothing is hit (REP-118)."""
    return _image(depth_m.astype("<f4", copy=False), "32FC1", header)


def rgb_image(rgb: UInt8[np.ndarray, "h w 3"], header: Header) -> Image:
    """An rgb8 image."""
    return _image(rgb, "rgb8", header)


def _image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = pixels[0].nbytes
    message.data = byte_field(pixels)
    return message


def colour_picture(rgb: Float[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Rendered colours 0..1 as bytes."""
    return _to_bytes(rgb.transpose(1, 2, 0))


def feature_picture(
    features: Float[np.ndarray, "C h w"], span: Float[np.ndarray, " 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The first three principal components as red, green and blue.

    Args:
        features: (C, h, w) in the teacher's PCA space.
        span: (3,) component that is drawn at full brightness; minus that is black. Fixed for
            given weights, so that colours mean the same in every frame and camera.
    """
    return _to_bytes(features[:3].transpose(1, 2, 0) / (2.0 * span) + 0.5)


def heat_picture(relevancy: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Relevancy 0..1 in the turbo colours, black where nothing is hit."""
    values = _to_bytes(relevancy)
    heat = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    heat[np.isnan(relevancy)] = 0
    return heat


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return (np.nan_to_num(values).clip(0.0, 1.0) * 255.0).round().astype(np.uint8)


def camera_info(
    k: Float[np.ndarray, "3 3"], image_size: tuple[int, int], header: Header
) -> CameraInfo:
    """CameraInfo of a rectified image (height, width): no distortion, R = I, P = [K | 0].

    ``k`` is in this package's pixels, the message counts pixel centres from 0.
    """
    k = k_to_opencv(k)
    message = CameraInfo(header=header, height=image_size[0], width=image_size[1])
    message.distortion_model = "plumb_bob"
    message.d = [0.0] * 5
    message.k = k.astype(np.float64).ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([k, np.zeros((3, 1))]).astype(np.float64).ravel()
    return message


# Points and grids ---------------------------------------------------------------------------


def point_cloud(columns: Mapping[str, np.ndarray], header: Header) -> PointCloud2:
    """An unorganised cloud; one 4-byte float or unsigned field per column, in order."""
    kinds = {
        name: "<u4" if column.dtype.kind == "u" else "<f4" for name, column in columns.items()
    }
    points = np.empty(len(next(iter(columns.values()))), np.dtype(list(kinds.items())))
    for name, column in columns.items():
        points[name] = column
    fields = [
        PointField(name=name, offset=4 * index, datatype=_POINT_TYPES[kind], count=1)
        for index, (name, kind) in enumerate(kinds.items())
    ]
    message = PointCloud2(header=header, height=1, width=len(points), fields=fields)
    message.point_step = points.dtype.itemsize
    message.row_step = points.nbytes
    message.is_dense = True
    message.data = byte_field(points)
    return message


def _xyz(points_m: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip("xyz", points_m.T, strict=True))


def _packed_rgb(colors: np.ndarray) -> np.ndarray:
    """0x00RRGGBB in the bits of a float32, as PCL and RViz read the field ``rgb``."""
    red, green, blue = colors.astype(np.uint32).T
    return (red << 16 | green << 8 | blue).view(np.float32)


def occupancy_cloud(occupancy: Occupancy, header: Header) -> PointCloud2:
    """Centres of the occupied voxels: x, y, z, rgb, probability and, where known, label."""
    occupied = occupancy.occupied.cpu().numpy()
    # NumPy, not occupancy.points_m(): torch would wake all its threads for a few kilobytes.
    centers_m = (np.argwhere(occupied) + 0.5) * occupancy.voxel_m + occupancy.origin_m
    columns = _xyz(centers_m)
    probability = occupancy.probability.cpu().numpy()[occupied]
    if occupancy.labels is None:
        colors = np.tile(np.array(_NO_CLASS_COLOR), (len(probability), 1))
        return point_cloud(
            {**columns, "rgb": _packed_rgb(colors), "probability": probability}, header
        )
    labels = occupancy.labels.cpu().numpy()[occupied]
    colors = np.array([*OCC3D_COLORS, _NO_CLASS_COLOR])[labels]
    columns |= {"rgb": _packed_rgb(colors), "probability": probability}
    return point_cloud({**columns, "label": labels.astype(np.uint32)}, header)


def occupancy_grid(
    occupancy: Occupancy, z_min_m: float, z_max_m: float, header: Header
) -> OccupancyGrid:
    """What stands in a height band: -1 unseen, else 0..100, the likeliest obstacle in the column.

    Ground classes are no obstacles. Cell (0, 0) lies behind on the right: x forward, y left.
    """
    columns = occupancy.probability.shape
    centers_m = (np.arange(columns[2]) + 0.5) * occupancy.voxel_m + occupancy.origin_m[2]
    band = (centers_m >= z_min_m) & (centers_m <= z_max_m)
    probability = occupancy.probability.cpu().numpy()[:, :, band]
    if occupancy.labels is not None:
        ground = [OCC3D_CLASSES.index(name) for name in GROUND_CLASSES]
        labels = occupancy.labels.cpu().numpy()[:, :, band]
        probability = np.where(np.isin(labels, ground), 0.0, probability)
    seen = occupancy.observed.cpu().numpy()[:, :, band].any(axis=2)
    percent = (probability.max(axis=2, initial=0.0) * 100.0).round()
    message = OccupancyGrid(header=header)
    message.info.map_load_time = header.stamp
    message.info.resolution = float(occupancy.voxel_m)
    message.info.width, message.info.height = columns[0], columns[1]
    message.info.origin.position = Point(
        x=float(occupancy.origin_m[0]), y=float(occupancy.origin_m[1]), z=float(z_min_m)
    )
    message.info.origin.orientation.w = 1.0
    message.data = byte_field(np.where(seen, percent, -1).astype(np.int8).T, "b")
    return message


# Answers ------------------------------------------------------------------------------------


def hits_cloud(hits: Hits, header: Header) -> PointCloud2:
    """Voxels hit: x, y, z, score and prompt (index of the prompt that scores best there)."""
    scores = hits.scores.cpu().numpy()
    best = scores.argmax(axis=1) if len(scores) else np.zeros(0, int)
    columns = _xyz(hits.points_m.cpu().numpy())
    columns["score"] = scores.max(axis=1) if len(scores) else np.zeros(0, np.float32)
    return point_cloud({**columns, "prompt": best.astype(np.uint32)}, header)


def cluster_messages(hits: Hits) -> list[ClusterMsg]:
    """The clusters of an answer, best first."""
    return [
        ClusterMsg(
            prompt=hits.prompts[cluster.prompt],
            center=_point(cluster.center_m),
            size=_vector(cluster.size_m),
            score=float(cluster.score),
            count=int(cluster.count),
        )
        for cluster in hits.clusters
    ]


def hit_markers(hits: Hits, header: Header) -> MarkerArray:
    """A box and a caption per cluster; the first marker deletes those of the last frame."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for index, cluster in enumerate(hits.clusters):
        color = prompt_color(cluster.prompt, len(hits.prompts))
        box = Marker(header=header, ns="boxes", id=index, type=Marker.CUBE, action=Marker.ADD)
        box.pose.position = _point(cluster.center_m)
        box.pose.orientation.w = 1.0
        box.scale = _vector(cluster.size_m)
        box.color = ColorRGBA(r=color[0], g=color[1], b=color[2], a=0.4)
        x, y, z = cluster.center_m
        text = Marker(
            header=header, ns="captions", id=index, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD
        )
        text.pose.position = _point((x, y, z + cluster.size_m[2] / 2 + 0.5))
        text.pose.orientation.w = 1.0
        text.scale.z = 0.8
        text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
        text.text = f"{hits.prompts[cluster.prompt]} {cluster.score:.2f}"
        markers += [box, text]
    return MarkerArray(markers=markers)


def prompt_color(prompt: int, prompts: int) -> tuple[float, float, float]:
    """A colour per prompt, evenly spread over the hues."""
    return colorsys.hsv_to_rgb(prompt / max(prompts, 1), 0.9, 1.0)


def _point(values: Sequence[float]) -> Point:
    x, y, z = map(float, values)
    return Point(x=x, y=y, z=z)


def _vector(values: Sequence[float]) -> Vector3:
    x, y, z = map(float, values)
    return Vector3(x=x, y=y, z=z)


def enlarged(picture: UInt8[np.ndarray, "h w 3"], size_wh: tuple[int, int]) -> np.ndarray:
    """A picture resampled to a width and height."""
    return cv2.resize(picture, size_wh, interpolation=cv2.INTER_LINEAR)


def repeated(depth_m: Float32[np.ndarray, "h w"], size_wh: tuple[int, int]) -> np.ndarray:
    """A depth image resampled by its nearest values: depths must not mix across edges."""
    return cv2.resize(depth_m, size_wh, interpolation=cv2.INTER_NEAREST)
