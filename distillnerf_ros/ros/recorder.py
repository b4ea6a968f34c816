"""Records what nodes publish to a rosbag2 (mcap), as serialised messages."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.utilities import remove_ros_args

from distillnerf_ros.data.bag_messages import typestore
from distillnerf_ros.data.bag_reader import OfferedQos
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.ros.bags import message_class, qos_profile

DISCOVERY_PERIOD_S = 0.25
QUEUE_DEPTH = 100
"""Messages kept per topic while the disk is slow."""

EXAMPLE = """example:
  python -m distillnerf_ros.ros.recorder outputs_bag --prefix /distillnerf --topics /diagnostics"""


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which topics to record.

    Attributes:
        prefixes: topics that begin with one of these.
        topics: these topics.
    """

    prefixes: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()

    def __contains__(self, topic: object) -> bool:
        return topic in self.topics or str(topic).startswith(self.prefixes or ("\0",))


class Recorder:
    """Subscribes to selected topics as they appear, each with its publisher's QoS."""

    def __init__(self, node: Node, out: Path, selection: Selection) -> None:
        """Open the bag and begin.

        Args:
            node: whose subscriptions these are; its clock gives the times of receipt.
            out: bag folder to make.
            selection: which topics.

        Raises:
            DatasetError: ``out`` exists.
        """
        from rosbags.rosbag2 import StoragePlugin, Writer

        if out.exists():
            raise DatasetError(f"{out} exists already; give another folder, or remove it")
        self._node, self._selection = node, selection
        self._connections: dict[str, Any] = {}
        self._refused: set[str] = set()
        self.counts: dict[str, int] = {}
        self._writer = Writer(out, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._subscriptions: list[Any] = []
        self._timer = node.create_timer(DISCOVERY_PERIOD_S, self.discover)
        self.discover()

    def discover(self) -> None:
        """Subscribe to selected topics that are new."""
        for topic, types in self._node.get_topic_names_and_types():
            known = topic in self._connections or topic in self._refused
            publishers = self._node.get_publishers_info_by_topic(topic)
            if topic in self._selection and not known and publishers:
                try:
                    self._subscribe(topic, types[0], _merged([p.qos_profile for p in publishers]))
                except DatasetError as error:
                    self._refused.add(topic)
                    self._node.get_logger().warning(f"{topic} is not recorded: {error}")

    def _subscribe(self, topic: str, msgtype: str, qos: OfferedQos) -> None:
        from distillnerf_ros.data.bag import rosbags_qos

        kind = message_class(msgtype)
        if msgtype not in typestore().types:
            raise DatasetError(f"the definition of {msgtype} is not known to rosbags")
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=typestore(), offered_qos_profiles=[rosbags_qos(qos)]
        )
        self.counts[topic] = 0
        deep = dataclasses.replace(qos, depth=max(qos.depth, QUEUE_DEPTH))
        self._subscriptions.append(
            self._node.create_subscription(
                kind, topic, self._writes(topic), qos_profile(deep), raw=True
            )
        )

    def _writes(self, topic: str) -> Callable[[bytes], None]:
        def on_message(data: bytes) -> None:
            stamp_ns = self._node.get_clock().now().nanoseconds
            self._writer.write(self._connections[topic], stamp_ns, data)
            self.counts[topic] += 1

        return on_message

    def close(self) -> None:
        """Stop, and finish the bag."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._writer.close()


def _merged(profiles: list[Any]) -> OfferedQos:
    """A QoS that every one of several publishers satisfies."""
    return OfferedQos(
        reliable=all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles),
        transient_local=all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles),
        depth=max([p.depth for p in profiles] + [1]),
    )


def _spin(node: Node, recorder: Recorder) -> None:
    """Record until interrupted; the bag is finished in any case."""
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        recorder.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Record until interrupted."""
    raw = list(sys.argv if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="recorder",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="bag folder to make")
    parser.add_argument("--prefix", nargs="+", default=["/distillnerf"], metavar="PREFIX")
    parser.add_argument("--topics", nargs="+", default=["/diagnostics"], metavar="TOPIC")
    args = parser.parse_args(remove_ros_args(raw)[1:])
    rclpy.init(args=raw)
    node = rclpy.create_node("distillnerf_recorder")
    try:
        recorder = Recorder(node, args.out, Selection(tuple(args.prefix), tuple(args.topics)))
        _spin(node, recorder)
    except DatasetError as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    for topic, count in sorted(recorder.counts.items()):
        print(f"{count:6d}  {topic}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
