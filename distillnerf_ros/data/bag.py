"""One nuScenes scene as a rosbag2 (mcap) that ``ros2 bag play`` and ``nuscenes_replay`` play."""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data import bag_messages, nuscenes
from distillnerf_ros.data.bag_messages import TopicLayout
from distillnerf_ros.data.bag_reader import BagInfo, BagMessage, OfferedQos, bag_info, read_bag
from distillnerf_ros.data.jpeg import jpeg_size
from distillnerf_ros.data.nuscenes import LIDAR_NAME, NuScenes
from distillnerf_ros.errors import DatasetError

__all__ = ["BagInfo", "BagMessage", "OfferedQos", "bag_info", "read_bag", "write_bag"]

VERB_HELP = "write one nuScenes scene as a rosbag2 (mcap)"
EXAMPLE = "distillnerf bag --dataroot /data/nuscenes --scene scene-0061 --out scene-0061_bag"

DEFAULT_LAYOUT = TopicLayout()

_SENSOR_QOS = OfferedQos(reliable=True, transient_local=False, depth=10)
_TF_QOS = OfferedQos(
    reliable=True, transient_local=False, depth=100
)  # tf2's DynamicBroadcasterQoS
_TF_STATIC_QOS = OfferedQos(reliable=True, transient_local=True, depth=1)


def write_bag(
    nusc: NuScenes,
    scene: dict[str, Any],
    out: Path,
    layout: TopicLayout = DEFAULT_LAYOUT,
    force: bool = False,
    progress: bool = False,
) -> Path:
    """Write keyframes and sweeps of the six cameras and LIDAR_TOP with all transforms.

    Message and receive stamps are the sensors' own. The folder appears under its name only when
    it is complete.

    Args:
        nusc: the data set.
        scene: scene record.
        out: bag folder to make.
        layout: names of topics and frames.
        force: replace a bag that is already there.
        progress: show a bar.

    Raises:
        DatasetError: ``out`` is in the way, or a sensor file is missing.
        ImageError: an image is truncated or no JPEG.
    """
    out = Path(out)
    _check_target(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _write(staging / out.name, scene_messages(nusc, scene, layout, progress))
        if out.exists():
            out.rename(staging / "replaced")
        (staging / out.name).rename(out)
    finally:
        shutil.rmtree(staging)
    return out


def _check_target(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise DatasetError(f"{out} exists already; give --force to replace it, or another --out")
    if not (out / "metadata.yaml").is_file():
        raise DatasetError(
            f"{out} is no rosbag2 folder, so it is not replaced; remove it yourself"
        )


def scene_messages(
    nusc: NuScenes, scene: dict[str, Any], layout: TopicLayout, progress: bool = False
) -> Iterator[BagMessage]:
    """All messages of a scene in time order: the static transforms first, then at every sensor
    stamp the vehicle's pose before the data, so that a listener has it when the data come.
    """
    records = [
        record
        for record in nuscenes.sensor_records(nusc, scene)
        if record["channel"] in (*CAMERA_NAMES, LIDAR_NAME)
    ]
    if not records:
        raise DatasetError(f"{scene['name']} has neither camera images nor {LIDAR_NAME}")
    yield _static_transforms(nusc, records, layout)
    last_pose_ns = None
    bar = tqdm(records, desc=scene["name"], unit="msg", disable=None if progress else True)
    for record in bar:
        stamp_ns = nuscenes.stamp_ns(record)
        if stamp_ns != last_pose_ns:
            pose = nuscenes.map_from_ego(nusc, record)
            data = bag_messages.transforms([(stamp_ns, layout.map_frame, layout.ego_frame, pose)])
            yield BagMessage(stamp_ns, "/tf", bag_messages.TRANSFORMS, data, _TF_QOS)
            last_pose_ns = stamp_ns
        yield from _sensor_messages(nusc, record, layout)


def _static_transforms(
    nusc: NuScenes, records: list[dict[str, Any]], layout: TopicLayout
) -> BagMessage:
    start_ns = nuscenes.stamp_ns(records[0])
    mounted = {}
    for record in records:
        if record["channel"] not in mounted:
            mounted[record["channel"]] = nuscenes.ego_from_sensor(nusc, record)
    data = bag_messages.transforms(
        [(start_ns, layout.ego_frame, name, pose) for name, pose in sorted(mounted.items())]
    )
    return BagMessage(start_ns, "/tf_static", bag_messages.TRANSFORMS, data, _TF_STATIC_QOS)


def _sensor_messages(
    nusc: NuScenes, record: dict[str, Any], layout: TopicLayout
) -> Iterator[BagMessage]:
    stamp_ns, frame = nuscenes.stamp_ns(record), record["channel"]
    if frame == LIDAR_NAME:
        data = bag_messages.point_cloud(stamp_ns, frame, nuscenes.read_lidar(nusc, record))
        yield BagMessage(stamp_ns, layout.lidar, bag_messages.POINT_CLOUD, data, _SENSOR_QOS)
        return
    path = nuscenes.sensor_path(nusc, record)
    jpeg = path.read_bytes()
    size = jpeg_size(jpeg, str(path))
    if size != (record["height"], record["width"]):
        raise DatasetError(
            f"{path} is {size[1]}x{size[0]} px, but the tables say "
            f"{record['width']}x{record['height']}: the intrinsics would not fit"
        )
    info = bag_messages.camera_info(stamp_ns, frame, size, nuscenes.intrinsics(nusc, record))
    topic = layout.camera_info.format(camera=frame)
    yield BagMessage(stamp_ns, topic, bag_messages.CAMERA_INFO, info, _SENSOR_QOS)
    image = bag_messages.compressed_image(stamp_ns, frame, jpeg)
    topic = layout.image.format(camera=frame)
    yield BagMessage(stamp_ns, topic, bag_messages.COMPRESSED_IMAGE, image, _SENSOR_QOS)


def _write(folder: Path, messages: Iterator[BagMessage]) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    connections: dict[str, Any] = {}
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for message in messages:
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(
                    message.topic,
                    message.msgtype,
                    typestore=bag_messages.typestore(),
                    offered_qos_profiles=[rosbags_qos(message.qos)],
                )
            writer.write(connections[message.topic], message.stamp_ns, message.data)


def rosbags_qos(qos: OfferedQos) -> Any:
    """The same QoS as rosbags writes it."""
    from rosbags import interfaces as ros

    forever = ros.QosTime(9223372036, 854775807)  # rmw's infinite duration
    return ros.Qos(
        history=ros.QosHistory.KEEP_LAST,
        depth=qos.depth,
        reliability=(
            ros.QosReliability.RELIABLE if qos.reliable else ros.QosReliability.BEST_EFFORT
        ),
        durability=(
            ros.QosDurability.TRANSIENT_LOCAL
            if qos.transient_local
            else ros.QosDurability.VOLATILE
        ),
        deadline=forever,
        lifespan=forever,
        liveliness=ros.QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf bag``."""
    nuscenes.add_dataset_arguments(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="bag folder to make; default: <scene>_bag"
    )
    parser.add_argument("--force", action="store_true", help="replace a bag that is there")


def run(args: argparse.Namespace) -> int:
    """Write the bag and say how to play it.

    Raises:
        DatasetError: see ``write_bag``.
        ImageError: see ``write_bag``.
    """
    nusc = nuscenes.open_dataset(args.dataroot, args.version)
    scene = nuscenes.find_scene(nusc, args.scene)
    out = write_bag(
        nusc, scene, args.out or Path(f"{scene['name']}_bag"), force=args.force, progress=True
    )
    info = bag_info(out)
    seconds = (info.end_ns - info.start_ns) / 1e9
    print(f"{out}: {info.count} messages on {len(info.topics)} topics, {seconds:.2f} s")
    print(f"play it: ros2 bag play {out} --clock   (or: nuscenes_replay {out})")
    return 0
