"""Reading bags, whole and cut."""

from pathlib import Path

import numpy as np
import pytest

from distillnerf_ros.data.bag import _write
from distillnerf_ros.data.bag_messages import typestore
from distillnerf_ros.data.bag_reader import BagMessage, OfferedQos, _mcap_files, bag_info, read_bag
from distillnerf_ros.errors import DatasetError

rosbag2 = pytest.importorskip("rosbags.rosbag2")
COUNT, STEP_NS, SIZE = 60, 100_000_000, 100_000


def write(folder: Path, plugin=rosbag2.StoragePlugin.MCAP) -> Path:
    """60 messages of 100 kB, one every 0.1 s."""
    qos = OfferedQos(reliable=False, transient_local=True, depth=3)
    messages = (
        BagMessage(1000 + i * STEP_NS, "/image", "std_msgs/msg/Header", bytes([i]) * SIZE, qos)
        for i in range(COUNT)
    )
    _write(folder, messages)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("bags") / "whole")


def halve(bag: Path, folder: Path, part: float = 0.5) -> Path:
    folder.mkdir()
    for file in bag.iterdir():
        data = file.read_bytes()
        keep = len(data) if file.suffix == ".yaml" else int(len(data) * part)
        (folder / file.name).write_bytes(data[:keep])
    return folder


def test_folder_and_single_file_read_the_same(whole):
    messages = list(read_bag(whole))
    assert messages == list(read_bag(whole / "whole.mcap"))
    assert [message.stamp_ns for message in messages] == [1000 + i * STEP_NS for i in range(COUNT)]
    assert messages[7].data == bytes([7]) * SIZE
    assert messages[0].qos == OfferedQos(reliable=False, transient_local=True, depth=3)


def test_info_of_a_whole_bag(whole):
    info = bag_info(whole)
    assert (info.start_ns, info.end_ns) == (1000, 1000 + (COUNT - 1) * STEP_NS)
    assert (info.count, info.complete) == (COUNT, True)
    assert info.topics["/image"].qos.depth == 3


def test_topics_are_filtered(whole):
    assert not list(read_bag(whole, ["/other"]))
    assert len(list(read_bag(whole, ["/image", "/other"]))) == COUNT


@pytest.mark.parametrize("part", [0.5, 0.8, 0.9999])
def test_cut_bag_gives_what_is_left_and_then_says_how_far(whole, tmp_path, part):
    cut = halve(whole, tmp_path / "cut", part)
    got = []
    with pytest.raises(DatasetError, match=r"whole\.mcap is cut") as caught:
        got.extend(read_bag(cut))
    assert part * COUNT - 2 <= len(got) <= COUNT  # only the message that was cut is lost
    assert got == list(read_bag(whole))[: len(got)]
    assert f"{len(got)} messages, {(len(got) - 1) / 10:.3f} s" in str(caught.value)


def test_info_of_a_cut_bag_counts_what_is_left(whole, tmp_path):
    cut = halve(whole, tmp_path / "cut")
    info = bag_info(cut)
    assert not info.complete
    assert 28 <= info.count <= 30
    assert info.end_ns == 1000 + (info.count - 1) * STEP_NS
    assert info.topics["/image"].qos == OfferedQos(reliable=False, transient_local=True, depth=3)


def test_cut_in_a_compressed_chunk_gives_the_chunks_before_it(tmp_path):
    folder = tmp_path / "packed"
    writer = rosbag2.Writer(folder, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP)
    writer.set_compression(rosbag2.CompressionMode.STORAGE, rosbag2.CompressionFormat.ZSTD)
    rng = np.random.default_rng(0)
    with writer:
        connection = writer.add_connection("/a", "std_msgs/msg/Header", typestore=typestore())
        for i in range(COUNT):
            writer.write(connection, i * STEP_NS, rng.bytes(SIZE))
    cut = halve(folder, tmp_path / "cut")
    got = []
    with pytest.raises(DatasetError, match="is cut"):
        got.extend(read_bag(cut))
    assert 18 <= len(got) <= 30  # chunks of about 1 MB, ten messages
    assert [message.stamp_ns for message in got] == [i * STEP_NS for i in range(len(got))]


def test_cut_single_file(whole, tmp_path):
    file = tmp_path / "half.mcap"
    file.write_bytes((whole / "whole.mcap").read_bytes()[: 3 * 2**20])
    with pytest.raises(DatasetError, match=r"half\.mcap is cut after 3145728 bytes"):
        list(read_bag(file))


def test_recorder_that_was_killed_before_the_metadata(whole, tmp_path):
    folder = halve(whole, tmp_path / "killed", 1.0)
    (folder / "metadata.yaml").unlink()
    assert len(list(read_bag(folder))) == COUNT
    assert bag_info(folder).complete


def test_split_files_are_read_in_numeric_order(whole, tmp_path):
    data = (whole / "whole.mcap").read_bytes()
    for number in (10, 9, 2):
        (tmp_path / f"bag_{number}.mcap").write_bytes(data)
    names = [file.stem for file in _mcap_files(tmp_path)]
    assert names == ["bag_2", "bag_9", "bag_10"]


@pytest.mark.parametrize("content", [b"", b"not an mcap at all, just some text"])
def test_other_files_are_no_bag(tmp_path, content):
    (tmp_path / "bag.mcap").write_bytes(content)
    with pytest.raises(DatasetError, match=r"bag\.mcap"):
        list(read_bag(tmp_path / "bag.mcap"))
    with pytest.raises(DatasetError):
        bag_info(tmp_path / "bag.mcap")


def test_folder_without_a_bag(tmp_path):
    with pytest.raises(DatasetError, match=r"neither a metadata\.yaml nor a \.mcap"):
        list(read_bag(tmp_path))


def test_missing_bag(tmp_path):
    for ask in (bag_info, lambda path: list(read_bag(path))):
        with pytest.raises(DatasetError, match="does not exist"):
            ask(tmp_path / "nowhere")


def test_damaged_metadata_is_a_named_error(whole, tmp_path):
    folder = halve(whole, tmp_path / "odd", 1.0)
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: 9}")
    with pytest.raises(DatasetError, match="odd"):
        list(read_bag(folder))
    with pytest.raises(DatasetError, match="odd"):
        bag_info(folder)


def test_sqlite_bags_are_read_and_cut_ones_refused(tmp_path):
    folder = tmp_path / "db"
    with rosbag2.Writer(folder, version=9, storage_plugin=rosbag2.StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/a", "std_msgs/msg/Header", typestore=typestore())
        for i in range(COUNT):
            writer.write(connection, i * STEP_NS, bytes(SIZE))
    assert len(list(read_bag(folder))) == COUNT
    (file,) = folder.glob("*.db3")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DatasetError, match="cannot be read to its end"):
        list(read_bag(folder))
