"""Reading rosbag2 recordings, whole or cut short, without ROS."""

import dataclasses
import io
import os
import re
import sqlite3
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from distillnerf_ros.errors import DatasetError

_MCAP_MAGIC = b"\x89MCAP0\r\n"
_CHUNK_OPCODE = b"\x06"
# A chunk: opcode 1 byte, length 8, start 8, end 8, size 8, CRC 4, compression 4 + n, length 8,
# then its records (MCAP specification).
_COMPRESSION_AT = 37
_CHUNK_RECORDS_AT = _COMPRESSION_AT + 4 + 8


@dataclasses.dataclass(frozen=True)
class OfferedQos:
    """The part of a recorded publisher's QoS that a player has to repeat.

    Attributes:
        reliable: False = best effort.
        transient_local: late subscribers get the last messages (``/tf_static``, maps).
        depth: history depth.
    """

    reliable: bool = True
    transient_local: bool = False
    depth: int = 10


@dataclasses.dataclass(frozen=True)
class BagMessage:
    """One recorded message, still serialised.

    Attributes:
        stamp_ns: receive time in the bag.
        topic: topic name.
        msgtype: ROS type, such as ``sensor_msgs/msg/CompressedImage``.
        data: CDR bytes, as a ROS 2 publisher takes them.
        qos: QoS to publish with.
    """

    stamp_ns: int
    topic: str
    msgtype: str
    data: bytes
    qos: OfferedQos


@dataclasses.dataclass(frozen=True)
class BagTopic:
    """One topic of a bag: its name, ROS type, QoS and number of messages."""

    name: str
    msgtype: str
    qos: OfferedQos
    count: int


@dataclasses.dataclass(frozen=True)
class BagInfo:
    """What a bag holds.

    Attributes:
        topics: by name.
        start_ns: first stamp; 0 in an empty bag.
        end_ns: last stamp; 0 in an empty bag.
        complete: False where the recording is cut; the rest counts what can still be read.
    """

    topics: dict[str, BagTopic]
    start_ns: int
    end_ns: int
    complete: bool

    @property
    def count(self) -> int:
        """Number of messages."""
        return sum(topic.count for topic in self.topics.values())


def read_bag(
    path: str | os.PathLike[str], topics: Collection[str] | None = None
) -> Iterator[BagMessage]:
    """Messages of a rosbag2 folder, or of a single ``.mcap`` or ``.db3`` file, in time order.

    Of a recording that was cut, everything readable is yielded before the error is raised.

    Args:
        path: bag folder or storage file.
        topics: only these; None = all.

    Raises:
        DatasetError: not a bag, or damaged: the message says how far it could be read.
    """
    from rosbags.rosbag2.errors import ReaderError

    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path} does not exist; expected a rosbag2 folder or a .mcap file")
    count, first_ns, last_ns = 0, 0, 0
    try:
        for message in _messages(path, topics):
            first_ns = first_ns or message.stamp_ns
            count, last_ns = count + 1, message.stamp_ns
            yield message
    except (ReaderError, sqlite3.Error, _CutError, OSError, ValueError, struct.error) as error:
        raise DatasetError(
            f"{path} cannot be read to its end: {error} It could be read for {count} messages, "
            f"{(last_ns - first_ns) / 1e9:.3f} s (last stamp {last_ns} ns); "
            "copy or record the bag again"
        ) from error


def bag_info(path: str | os.PathLike[str]) -> BagInfo:
    """Topics and time range of a bag, of a cut one by scanning what is left of it.

    Raises:
        DatasetError: not a bag, or nothing in it can be read.
    """
    path = Path(path)
    if path.exists() and not _cut_files(path) and not _lacks_metadata(path):
        return _indexed_info(path)
    counts: dict[str, int] = {}
    seen: dict[str, BagMessage] = {}
    stamps: list[int] = []
    complete = True
    try:
        for message in read_bag(path):
            counts[message.topic] = counts.get(message.topic, 0) + 1
            seen.setdefault(message.topic, message)
            stamps = [min([*stamps, message.stamp_ns]), max([*stamps, message.stamp_ns])]
    except DatasetError:
        if not stamps:
            raise
        complete = False
    topics = {
        name: BagTopic(name, message.msgtype, message.qos, counts[name])
        for name, message in seen.items()
    }
    return BagInfo(topics, stamps[0] if stamps else 0, stamps[1] if stamps else 0, complete)


class _CutError(Exception):
    """A storage file ends in the middle."""


def _mcap_files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else list(path.glob("*.mcap"))
    # rosbag2 numbers split files name_0, name_1, ..., name_10
    return sorted(
        (file for file in files if file.suffix == ".mcap"),
        key=lambda file: [int(part) for part in re.findall(r"\d+", file.stem)],
    )


def _is_cut(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell() < 2 * len(_MCAP_MAGIC):
            return True
        stream.seek(-len(_MCAP_MAGIC), os.SEEK_END)
        return stream.read() != _MCAP_MAGIC


def _cut_files(path: Path) -> list[Path]:
    return [file for file in _mcap_files(path) if _is_cut(file)]


def _lacks_metadata(path: Path) -> bool:
    return path.is_dir() and not (path / "metadata.yaml").is_file()


def _messages(path: Path, topics: Collection[str] | None) -> Iterator[BagMessage]:
    cut = _cut_files(path)
    if not cut and not _lacks_metadata(path):
        yield from _read_indexed(path, topics)
        return
    files = _mcap_files(path)
    if not files:
        raise _CutError("it has neither a metadata.yaml nor a .mcap file.")
    for file in files:
        yield from _scan_cut(file, topics) if file in cut else _read_indexed(file, topics)


def _read_indexed(path: Path, topics: Collection[str] | None) -> Iterator[BagMessage]:
    from rosbags.rosbag2 import Reader

    with Reader(path) as reader:
        wanted = [c for c in reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        qos = {connection.id: _offered(connection) for connection in wanted}
        for connection, stamp_ns, data in reader.messages(wanted):
            yield BagMessage(
                stamp_ns, connection.topic, connection.msgtype, bytes(data), qos[connection.id]
            )


def _indexed_info(path: Path) -> BagInfo:
    from rosbags.rosbag2 import Reader
    from rosbags.rosbag2.errors import ReaderError

    try:
        with Reader(path) as reader:
            topics = {
                c.topic: BagTopic(c.topic, c.msgtype, _offered(c), c.msgcount)
                for c in reader.connections
            }
            if not reader.message_count:
                return BagInfo(topics, 0, 0, complete=True)
            # rosbags' end is exclusive
            return BagInfo(topics, reader.start_time, reader.end_time - 1, complete=True)
    except (ReaderError, sqlite3.Error, OSError, ValueError) as error:
        raise DatasetError(f"{path} is no readable rosbag2: {error}") from error


def _offered(connection: Any) -> OfferedQos:
    from rosbags.interfaces import QosDurability, QosReliability

    profiles = connection.ext.offered_qos_profiles
    return _merge(
        [
            (
                profile.reliability == QosReliability.BEST_EFFORT,
                profile.durability == QosDurability.TRANSIENT_LOCAL,
                profile.depth,
            )
            for profile in profiles
        ]
    )


def _merge(profiles: list[tuple[bool, bool, int]]) -> OfferedQos:
    """One QoS for several recorded publishers (best effort, transient local, depth each)."""
    if not profiles:
        return OfferedQos()
    return OfferedQos(
        reliable=not any(best_effort for best_effort, _, _ in profiles),
        transient_local=all(latched for _, latched, _ in profiles),
        depth=max(max(depth for _, _, depth in profiles), 1),
    )


def _scan_cut(file: Path, topics: Collection[str] | None) -> Iterator[BagMessage]:
    """Read records in file order until the file ends."""
    from mcap.exceptions import McapError
    from mcap.records import Channel, Message, Schema

    schemas: dict[int, str] = {}
    channels: dict[int, tuple[str, str, OfferedQos]] = {}
    with file.open("rb") as stream:
        try:
            for record in _records_before_cut(stream):
                if isinstance(record, Schema):
                    schemas[record.id] = record.name
                elif isinstance(record, Channel):
                    qos = _parse_offered(record.metadata.get("offered_qos_profiles", ""))
                    channels[record.id] = (record.topic, schemas[record.schema_id], qos)
                elif isinstance(record, Message):
                    topic, msgtype, qos = channels[record.channel_id]
                    if topics is None or topic in topics:
                        yield BagMessage(record.log_time, topic, msgtype, record.data, qos)
        except (McapError, EOFError, KeyError, struct.error) as error:
            reason = f" ({error})" if str(error) else ""
            raise _CutError(f"{file.name} is cut after {_size(file)}{reason}.") from error
    raise _CutError(f"{file.name} is cut after {_size(file)}.")


def _records_before_cut(stream: BinaryIO) -> Iterator[Any]:
    """MCAP records up to the cut, also those inside a cut chunk if it is not compressed."""
    from mcap.exceptions import EndOfFile
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader, breakup_chunk

    whole_bytes = 0
    try:
        for record in StreamReader(stream, emit_chunks=True).records:
            whole_bytes = stream.tell()
            yield from breakup_chunk(record) if isinstance(record, Chunk) else [record]
    except (EndOfFile, struct.error):
        stream.seek(whole_bytes)
        rest = stream.read()
        if rest[:1] == _CHUNK_OPCODE and rest[_COMPRESSION_AT : _COMPRESSION_AT + 4] == bytes(4):
            inner = io.BytesIO(rest[_CHUNK_RECORDS_AT:])
            yield from StreamReader(inner, skip_magic=True).records
        raise


def _size(file: Path) -> str:
    return f"{file.stat().st_size} bytes"


def _parse_offered(text: str) -> OfferedQos:
    """QoS as rosbag2 stores it: a YAML list; names since Iron, DDS enum numbers before."""
    import yaml

    profiles = yaml.safe_load(text) or []
    return _merge(
        [
            (
                profile.get("reliability") in ("best_effort", 2),
                profile.get("durability") in ("transient_local", 1),
                int(profile.get("depth", 10)),
            )
            for profile in profiles
        ]
    )
