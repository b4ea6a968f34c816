"""Plays a rosbag2 where ``ros2 bag play`` is not at hand: messages as recorded, and /clock."""

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.time import Time
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock

from distillnerf_ros.data.bag_reader import BagInfo, BagMessage, bag_info, read_bag
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.ros.bags import message_class, qos_profile
from distillnerf_ros.ros.qos import overridable

EXAMPLE = """example:
  nuscenes_replay scene-0061_bag --rate 0.5 --loop --wait-for /CAM_FRONT/image_rect_compressed
  (nodes that follow the bag's time need the parameter use_sim_time:=true)"""

MAX_SLEEP_S = 0.05
"""An interrupt is noticed within this time."""

SETTLE_S = 1.0
"""Between the last awaited subscriber and the first message: discovery is not symmetric."""

TAIL_S = 0.5
"""Bag seconds that /clock runs on after the last message, so that waits in bag time can end."""


@dataclasses.dataclass(frozen=True)
class ReplayOptions:
    """How to play.

    Attributes:
        rate: bag seconds per wall second.
        loop: start over at the end, until interrupted.
        start_s: seconds to skip at the beginning; latched topics (/tf_static) are sent anyway.
        duration_s: bag seconds to play.
        clock_hz: rate of /clock on the wall; 0 = no /clock.
        topics: only these, and latched ones; empty = all but a recorded /clock where there is one
            already, and but those whose message type is not installed.
        wait_for: topics that must have a subscriber before the first message.
        wait_timeout_s: how long to wait for them.
    """

    rate: float = 1.0
    loop: bool = False
    start_s: float = 0.0
    duration_s: float = math.inf
    clock_hz: float = 100.0
    topics: tuple[str, ...] = ()
    wait_for: tuple[str, ...] = ()
    wait_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: names the option and what is allowed.
        """
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ConfigError(f"rate {self.rate}; expected a number above 0")
        if self.start_s < 0 or self.duration_s <= 0 or self.clock_hz < 0:
            raise ConfigError(
                f"start {self.start_s} s, duration {self.duration_s} s, clock {self.clock_hz} Hz; "
                "expected start and clock >= 0, and duration > 0"
            )


@dataclasses.dataclass
class ReplayCounts:
    """What was played."""

    messages: int = 0
    loops: int = 0
    latest_s: float = 0.0
    """Largest delay of a message behind its time, wall seconds."""


class Replay:
    """Publishes a bag's messages at their pace, without deserialising them."""

    def __init__(self, node: Node, bag: Path, options: ReplayOptions) -> None:
        """Create the publishers.

        Raises:
            DatasetError: not a bag, empty, without the wanted topics, or a topic's message type
                is not installed.
        """
        self._node, self._bag, self._options = node, bag, options
        self.counts = ReplayCounts()
        self.info: BagInfo = bag_info(bag)
        self._check_topics()
        self._publishers = self._create_publishers()
        self._clock = node.create_publisher(Clock, "/clock", 10) if options.clock_hz else None

    def _check_topics(self) -> None:
        wanted = {*self._options.topics, *self._options.wait_for}
        unknown = sorted(wanted - set(self.info.topics))
        if unknown or not self.info.topics:
            raise DatasetError(
                f"{self._bag} has no topic {', '.join(unknown) or 'at all'}; it holds "
                f"{', '.join(sorted(self.info.topics)) or 'nothing'}"
            )

    def _create_publishers(self) -> dict[str, Publisher]:
        """One per topic that is to be played; what nobody named may be of an unknown type."""
        options, publishers = self._options, {}
        for name, topic in self.info.topics.items():
            named = name in options.topics or name in options.wait_for
            if name == "/clock" and options.clock_hz and not named:
                continue  # two clocks would make time jump to and fro
            if options.topics and not named and not topic.qos.transient_local:
                continue
            try:
                publishers[name] = self._create_publisher(name)
            except DatasetError as error:
                if named:
                    raise
                self._node.get_logger().warning(f"{name} is not played: {error}")
        return publishers

    def _create_publisher(self, name: str) -> Publisher:
        topic = self.info.topics[name]
        qos = topic.qos
        if qos.transient_local:
            # Several recorded publishers became one: late subscribers need all they sent.
            qos = dataclasses.replace(qos, depth=max(qos.depth, topic.count))
        return self._node.create_publisher(
            message_class(topic.msgtype), name, **overridable(qos_profile(qos))
        )

    def wait_for_subscribers(self) -> None:
        """Wait until each topic of ``wait_for`` has a subscriber.

        Raises:
            DatasetError: nobody subscribed in time.
        """
        deadline_s = time.monotonic() + self._options.wait_timeout_s
        while waiting := [
            topic
            for topic in self._options.wait_for
            if not self._publishers[topic].get_subscription_count()
        ]:
            if time.monotonic() > deadline_s:
                raise DatasetError(
                    f"nobody subscribed to {', '.join(waiting)} within "
                    f"{self._options.wait_timeout_s} s; is the node up, with the same "
                    "ROS_DOMAIN_ID and topic names?"
                )
            self._sleep(MAX_SLEEP_S)
        if self._options.wait_for:
            self._sleep(SETTLE_S)

    def play(self) -> None:
        """Play once, or until interrupted.

        Raises:
            DatasetError: the bag ends in the middle; what can be read was played.
            ExternalShutdownException: ROS was shut down.
        """
        while True:
            self._play_once()
            self.counts.loops += 1
            if not self._options.loop:
                return

    def _play_once(self) -> None:
        begin_ns = self.info.start_ns + round(self._options.start_s * 1e9)
        pace, last_ns = _Pace(begin_ns, self._options.rate), begin_ns
        for message in self._messages(begin_ns):
            self._wait_until(pace, message.stamp_ns)
            self._publishers[message.topic].publish(message.data)
            self.counts.messages += 1
            if message.stamp_ns >= begin_ns:
                late_s = pace.lateness_s(message.stamp_ns)
                self.counts.latest_s = max(self.counts.latest_s, late_s)
                last_ns = message.stamp_ns
        if self._clock is not None:
            self._wait_until(pace, last_ns + round(TAIL_S * 1e9))

    def _messages(self, begin_ns: int) -> Iterator[BagMessage]:
        seconds = self._options.duration_s
        end_ns = begin_ns + seconds * 1e9
        for message in read_bag(self._bag, set(self._publishers)):
            if message.stamp_ns > end_ns:
                return
            if message.stamp_ns >= begin_ns or message.qos.transient_local:
                yield message

    def _wait_until(self, pace: "_Pace", stamp_ns: int) -> None:
        period_s = 1.0 / self._options.clock_hz if self._clock else math.inf
        while (left_s := pace.left_s(stamp_ns)) > 0:
            self._tick(pace)
            self._sleep(min(left_s, period_s, MAX_SLEEP_S))
        self._tick(pace, at_least_ns=stamp_ns)

    def _tick(self, pace: "_Pace", at_least_ns: int = 0) -> None:
        if self._clock is not None:
            now_ns = max(pace.now_ns(), at_least_ns)
            self._clock.publish(Clock(clock=Time(nanoseconds=now_ns).to_msg()))

    def _sleep(self, seconds: float) -> None:
        if not self._node.context.ok():
            raise ExternalShutdownException
        time.sleep(seconds)


class _Pace:
    """Maps bag time to the wall."""

    def __init__(self, begin_ns: int, rate: float) -> None:
        self._begin_ns, self._rate = begin_ns, rate
        self._begin_s = time.monotonic()

    def now_ns(self) -> int:
        return self._begin_ns + round((time.monotonic() - self._begin_s) * self._rate * 1e9)

    def left_s(self, stamp_ns: int) -> float:
        return (stamp_ns - self.now_ns()) * 1e-9 / self._rate

    def lateness_s(self, stamp_ns: int) -> float:
        return -self.left_s(stamp_ns)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``nuscenes_replay``."""
    defaults = ReplayOptions()
    add = parser.add_argument
    add("bag", type=Path, help="rosbag2 folder, or a single .mcap or .db3 file")
    add("--rate", type=float, default=defaults.rate, help="bag seconds per second (default 1)")
    add("--loop", action="store_true", help="start over at the end, until interrupted")
    add("--start", type=float, default=0.0, metavar="S", help="seconds to skip at the beginning")
    add("--duration", type=float, default=math.inf, metavar="S", help="seconds to play")
    add(
        "--clock",
        type=float,
        default=defaults.clock_hz,
        metavar="HZ",
        help="rate of /clock on the wall (default 100); 0: none",
    )
    add("--topics", nargs="+", default=[], metavar="TOPIC", help="only these (and latched ones)")
    add(
        "--wait-for",
        nargs="+",
        default=[],
        metavar="TOPIC",
        help="start when each of these has a subscriber",
    )
    add(
        "--wait-timeout", type=float, default=60.0, metavar="S", help="for --wait-for (default 60)"
    )


def run(args: argparse.Namespace, node: Node, say: Callable[[str], None] = print) -> int:
    """Play as the arguments say; the exit status is 1 where the bag could not be played whole."""
    try:
        options = ReplayOptions(
            rate=args.rate,
            loop=args.loop,
            start_s=args.start,
            duration_s=args.duration,
            clock_hz=args.clock,
            topics=tuple(args.topics),
            wait_for=tuple(args.wait_for),
            wait_timeout_s=args.wait_timeout,
        )
        replay = Replay(node, args.bag, options)
        seconds = (replay.info.end_ns - replay.info.start_ns) * 1e-9
        say(f"{args.bag}: {replay.info.count} messages, {seconds:.1f} s")
        replay.wait_for_subscribers()
        replay.play()
    except (DatasetError, ConfigError) as error:
        print(f"nuscenes_replay: {error}", file=sys.stderr)
        return 1
    counts = replay.counts
    say(f"played {counts.messages} messages, at most {counts.latest_s * 1e3:.0f} ms late")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``nuscenes_replay``."""
    raw = list(sys.argv if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="nuscenes_replay",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    args = parser.parse_args(remove_ros_args(raw)[1:])
    rclpy.init(args=raw)
    node = rclpy.create_node("nuscenes_replay")
    try:
        return run(args, node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except Exception:
        if node.context.ok():
            raise
        return 0  # rclpy calls fail with whatever they fail once a signal has shut ROS down
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
