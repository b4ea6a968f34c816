"""The state of the node as /diagnostics: once a second, one entry per camera and per part."""

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from distillnerf_ros.ros.health import CameraHealth, Health
from distillnerf_ros.ros.parameters import Parameters
from distillnerf_ros.ros.perception import Perception
from distillnerf_ros.ros.synchronizer import GlanceSynchronizer, SyncCounts
from distillnerf_ros.ros.worker import Worker

PERIOD_S = 1.0
_MIB = 1024.0 * 1024.0


class Diagnostics:
    """Publishes what the other parts counted, and warns of cameras that are silent."""

    def __init__(self, node: Node, health: Health, parameters: Callable[[], Parameters]) -> None:
        """Create the publisher; ``parameters`` gives those in force."""
        self._node, self._health, self._parameters = node, health, parameters
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._seen_problems: dict[str, int] = {}

    def close(self) -> None:
        """Destroy the publisher."""
        self._node.destroy_publisher(self._publisher)

    def publish(
        self,
        synchronizer: GlanceSynchronizer,
        worker: Worker[Any],
        perception: Perception,
        spread_s: float,
    ) -> None:
        """Publish the state of an active node.

        Args:
            synchronizer: whose counts are reported.
            worker: whose counts are reported.
            perception: whose times are reported.
            spread_s: stamp spread of the newest glance in seconds.
        """
        cameras = zip(self._health.cameras.values(), synchronizer.counts, strict=True)
        statuses = [self._camera(health, counts) for health, counts in cameras]
        self._warn_of_silence()
        statuses.append(self._glances(synchronizer, spread_s))
        statuses.append(self._model(worker, perception))
        self._send(statuses)

    def publish_inactive(self) -> None:
        """Publish that the node is configured, and no more."""
        values = {"peak_memory_mib": f"{_peak_mib():.0f}"}
        self._send([self._status("model", DiagnosticStatus.OK, "not active", values)])

    def _send(self, statuses: list[DiagnosticStatus]) -> None:
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _camera(self, health: CameraHealth, counts: SyncCounts) -> DiagnosticStatus:
        level, text = DiagnosticStatus.OK, "ok"
        silent_s = health.silent_s()
        new_problems = self._new_problems(health.name, health.problems.total())
        if silent_s > self._parameters().no_image_warn_s:
            text = f"no images for {silent_s:.0f} s on {health.topic}: {self._cause(health)}"
            level = DiagnosticStatus.WARN if health.ever_arrived else DiagnosticStatus.ERROR
        elif new_problems:
            level, text = DiagnosticStatus.WARN, health.last_problem
        values = {
            "topic": health.topic,
            "rate_hz": f"{health.rate_hz():.2f}",
            "age_s": f"{silent_s:.3f}",
            "received": counts.received,
            "used": counts.used,
            "dropped_unmatched": counts.unmatched,
            "dropped_late": counts.late,
            "dropped_queue_full": counts.overflow,
            **{f"problems_{kind}": count for kind, count in sorted(health.problems.items())},
        }
        if health.last_problem:
            values["last_problem"] = health.last_problem
        return self._status(f"camera {health.name}", level, text, values)

    def _warn_of_silence(self) -> None:
        """One line for all cameras that are silent for the same reason."""
        limit_s = self._parameters().no_image_warn_s
        reasons: dict[str, list[CameraHealth]] = {}
        for health in self._health.cameras.values():
            if health.silent_s() > limit_s:
                reasons.setdefault(self._cause(health), []).append(health)
        for reason, silent in reasons.items():
            topics = ", ".join(health.topic for health in silent)
            shortest_s = min(health.silent_s() for health in silent)
            self._health.notice(reason, f"no images for {shortest_s:.0f} s on {topics}: {reason}")

    def _new_problems(self, name: str, total: int) -> int:
        new = total - self._seen_problems.get(name, 0)
        self._seen_problems[name] = total
        return new

    def _cause(self, health: CameraHealth) -> str:
        if health.incompatible_qos:
            return (
                f"a publisher offers an incompatible QoS ({health.incompatible_qos}); set "
                "qos_overrides.TOPIC.subscription.* to match it"
            )
        if self._node.count_publishers(health.topic):
            return "its publisher is there but silent"
        if health.ever_arrived:
            return "its publisher is gone"
        return (
            "nobody publishes it; set camera_preset, image_topic or cameras"
            f"{_suggestion(self._node, health.topic)}"
        )

    def _glances(self, synchronizer: GlanceSynchronizer, spread_s: float) -> DiagnosticStatus:
        level, text = DiagnosticStatus.OK, "ok"
        if self._new_problems("", self._health.problems.total()):
            level, text = DiagnosticStatus.WARN, self._health.last_problem
        values = {
            "glances": synchronizer.glances,
            "glances_with_missing_cameras": synchronizer.partial_glances,
            "groups_with_too_few_cameras": synchronizer.too_few,
            "time_jumps": synchronizer.time_jumps,
            "sync_spread_s": f"{spread_s:.4f}",
            **{f"problems_{kind}": n for kind, n in sorted(self._health.problems.items())},
        }
        return self._status("glances", level, text, values)

    def _model(self, worker: Worker[Any], perception: Perception) -> DiagnosticStatus:
        weights = self._parameters().weights
        values = {"weights": weights, "peak_memory_mib": f"{_peak_mib():.0f}"}
        device = perception.pipeline.device
        values |= {"device": str(device), "processed": str(worker.processed)}
        values["replaced_by_newer"] = str(worker.replaced)
        if device.type == "cuda":
            values["gpu_memory_mib"] = f"{torch.cuda.memory_allocated(device) / _MIB:.0f}"
        means = perception.times.mean()
        values |= {f"{stage}_ms": f"{mean_s * 1e3:.1f}" for stage, mean_s in means.items()}
        values["frame_ms"] = f"{sum(perception.times.last().values()) * 1e3:.1f}"
        return self._status("model", DiagnosticStatus.OK, "active", values)

    def _status(
        self, name: str, level: bytes, text: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=f"{self._node.get_name()}: {name}",
            level=level,
            message=text,
            hardware_id=self._node.get_fully_qualified_name(),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )


def _suggestion(node: Node, topic: str) -> str:
    """Image topics that do exist, as a hint."""
    kinds = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}
    own = node.get_fully_qualified_name()
    found: Sequence[str] = [
        name
        for name, types in node.get_topic_names_and_types()
        if kinds & set(types) and not name.startswith(f"{own}/") and node.count_publishers(name)
    ]
    return f"; image topics published now: {', '.join(found[:6])}" if found else ""


def _peak_mib() -> float:
    """Peak resident memory; Linux counts KiB, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024.0
