"""The node's recorded messages as snapshots; read back from the bag, without ROS."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distillnerf_ros.data.bag import read_bag
from distillnerf_ros.data.bag_messages import TopicLayout, typestore
from distillnerf_ros.data.jpeg import decode_jpeg
from distillnerf_ros.demo.colors import relevancy_of_heat
from distillnerf_ros.demo.snapshot import CameraView, Snapshot, Voxels
from distillnerf_ros.errors import DatasetError

NODE = "/distillnerf"
_VIEW_TOPICS = {
    "depth_m": "depth/image_rect",
    "rgb": "rgb/image_rect",
    "features": "features/image_rect",
    "heat": "query/image_rect",
}
_GLANCE_NS = 100_000_000
"""Stamps of one glance lie within this time before its reference stamp."""
_POINT_TYPES = {7: "<f4", 6: "<u4"}  # sensor_msgs/PointField: FLOAT32, UINT32


@dataclasses.dataclass(frozen=True)
class Recording:
    """What the node published.

    Attributes:
        snapshots: one per glance, in time order, without the cameras' pictures.
        stages_ms: mean milliseconds of each stage, from the last diagnostics.
        memory_mib: peak resident memory of the node, NaN if it was not told.
        counts: messages per topic.
    """

    snapshots: tuple[Snapshot, ...]
    stages_ms: dict[str, float]
    memory_mib: float
    counts: dict[str, int]


def stamp_ns(header: Any) -> int:
    """A header's stamp in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def image_array(message: Any) -> np.ndarray:
    """Pixels of an rgb8 or 32FC1 sensor_msgs/Image.

    Raises:
        DatasetError: another encoding, or the buffer contradicts the size.
    """
    kinds: dict[str, tuple[np.dtype[Any], int]] = {
        "rgb8": (np.dtype(np.uint8), 3),
        "32FC1": (np.dtype("<f4"), 1),
    }
    if message.encoding not in kinds:
        raise DatasetError(
            f"a recorded image has encoding {message.encoding!r}; expected rgb8 or 32FC1"
        )
    dtype, channels = kinds[message.encoding]
    data = np.asarray(message.data, np.uint8)
    row = message.width * channels * dtype.itemsize
    if message.step < row or data.size < message.step * message.height:
        raise DatasetError(
            f"a recorded {message.width}x{message.height} {message.encoding} image has "
            f"{data.size} bytes with step {message.step}; expected {row} bytes a row"
        )
    rows = data[: message.step * message.height].reshape(message.height, message.step)[:, :row]
    shape = (message.height, message.width, channels)[: 2 if channels == 1 else 3]
    return np.ascontiguousarray(rows).view(dtype).reshape(shape)


def cloud_columns(message: Any) -> dict[str, np.ndarray]:
    """Columns of a PointCloud2 of float32 and uint32 fields, by name."""
    dtype = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [_POINT_TYPES[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    points = np.frombuffer(bytes(message.data), dtype)
    return {name: points[name].copy() for name in dtype.names or ()}


def voxels_of(message: Any) -> Voxels:
    """The occupied voxels of an occupancy cloud."""
    columns = cloud_columns(message)
    labels = columns.get("label")
    return Voxels(
        np.stack([columns["x"], columns["y"], columns["z"]], axis=1),
        None if labels is None else labels.astype(np.uint8),
        columns["probability"],
    )


def grid_of(message: Any) -> np.ndarray:
    """An OccupancyGrid as [x, y]."""
    return np.asarray(message.data, np.int8).reshape(message.info.height, message.info.width).T


def read_recording(
    bag: str | os.PathLike[str], cameras: Sequence[str], node: str = NODE
) -> Recording:
    """Collect what the node published.

    Args:
        bag: rosbag2 of the outputs.
        cameras: camera names as in the node's topics.
        node: fully qualified name of the node.

    Raises:
        DatasetError: the bag cannot be read, or holds no occupancy.
    """
    views: dict[str, dict[int, dict[str, np.ndarray]]] = {camera: {} for camera in cameras}
    topics = {
        f"{node}/{camera}/{topic}": (camera, key)
        for camera in cameras
        for key, topic in _VIEW_TOPICS.items()
    }
    voxels: dict[int, Voxels] = {}
    grids: dict[int, np.ndarray] = {}
    counts: dict[str, int] = {}
    stages: tuple[dict[str, float], float] = ({}, float("nan"))
    for topic, message in _messages(bag):
        counts[topic] = counts.get(topic, 0) + 1
        if topic in topics:
            camera, key = topics[topic]
            view = views[camera].setdefault(stamp_ns(message.header), {})
            pixels = image_array(message)
            view[key] = relevancy_of_heat(pixels) if key == "heat" else pixels
        elif topic == f"{node}/occupancy":
            voxels[stamp_ns(message.header)] = voxels_of(message)
        elif topic == f"{node}/occupancy_grid":
            grids[stamp_ns(message.header)] = grid_of(message)
        elif topic == "/diagnostics":
            stages = _stages(message) or stages
    if not voxels:
        raise DatasetError(
            f"{bag} holds no message on {node}/occupancy: the node published nothing; "
            f"recorded are {', '.join(sorted(counts)) or 'no topics'}"
        )
    snapshots = tuple(
        Snapshot(stamp, _views_at(views, stamp), voxels[stamp], grids.get(stamp))
        for stamp in sorted(voxels)
    )
    return Recording(snapshots, *stages, counts)


def _messages(bag: str | os.PathLike[str]) -> Iterator[tuple[str, Any]]:
    store = typestore()
    for message in read_bag(bag):
        if message.msgtype in store.types:
            yield message.topic, store.deserialize_cdr(message.data, message.msgtype)


def _stages(message: Any) -> tuple[dict[str, float], float] | None:
    """Milliseconds per stage and memory in MiB, if this array tells of an active model."""
    for status in message.status:
        values = {pair.key: pair.value for pair in status.values}
        stages = {
            key.removesuffix("_ms"): float(value)
            for key, value in values.items()
            if key.endswith("_ms") and key != "frame_ms"
        }
        if stages:
            return stages, float(values.get("peak_memory_mib", "nan"))
    return None


def _views_at(
    views: Mapping[str, dict[int, dict[str, np.ndarray]]], reference_ns: int
) -> tuple[CameraView, ...]:
    """The views of one glance: of each camera the newest not after the reference stamp."""
    found = []
    for camera, by_stamp in views.items():
        stamps = [s for s in by_stamp if reference_ns - _GLANCE_NS < s <= reference_ns]
        if stamps:
            found.append(CameraView(camera, max(stamps), **by_stamp[max(stamps)]))
    return tuple(found)


def with_pictures(
    snapshot: Snapshot,
    bag: str | os.PathLike[str],
    image_size: tuple[int, int],
    layout: TopicLayout | None = None,
) -> Snapshot:
    """The snapshot with the pictures its cameras took, from the bag that was played.

    Args:
        snapshot: read from the outputs.
        bag: rosbag2 of the inputs.
        image_size: height and width in pixels of the pictures.
        layout: topics of that bag.
    """
    names = layout or TopicLayout()
    topics = {names.image.format(camera=view.name): view for view in snapshot.cameras}
    pictures: dict[str, np.ndarray] = {}
    store = typestore()
    for record in read_bag(bag, topics):
        message: Any = store.deserialize_cdr(record.data, record.msgtype)
        view = topics[record.topic]
        if stamp_ns(message.header) == view.stamp_ns:
            pictures[view.name] = decode_jpeg(bytes(message.data), image_size, view.name)
    cameras = tuple(
        dataclasses.replace(view, picture=pictures.get(view.name)) for view in snapshot.cameras
    )
    return dataclasses.replace(snapshot, cameras=cameras)
