"""The lifecycle node ``distillnerf``: configure reads parameters, activate loads the model."""

import functools
import gc
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    NameValidationException,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name
from std_msgs.msg import String
from tf2_ros import TransformListener

from distillnerf_ros.errors import ConfigError, DistillNerfError
from distillnerf_ros.memory import keep_memory
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.ros import parameters as table
from distillnerf_ros.ros.diagnostics import PERIOD_S, Diagnostics
from distillnerf_ros.ros.frames import EgoFrames, LoopingBuffer
from distillnerf_ros.ros.health import Health
from distillnerf_ros.ros.outputs import Outputs
from distillnerf_ros.ros.perception import Perception
from distillnerf_ros.ros.services import Services
from distillnerf_ros.ros.subscriptions import CameraSubscriptions
from distillnerf_ros.ros.synchronizer import Frame, Glance, GlanceSynchronizer
from distillnerf_ros.ros.worker import Worker

NODE_NAME = "distillnerf"
TF_CACHE_S = 10.0
CLOCK_GRACE_S = 5
"""A player that starts with the node has this long to publish /clock."""
SYNC_POLL_S = 0.05
"""How often the synchroniser looks for glances whose wait is over."""

Transition = Callable[["DistillNerfNode", LifecycleState], TransitionCallbackReturn]


def _reported(transition: Transition) -> Transition:
    """Log why a transition failed: rclpy would swallow the exception."""

    @functools.wraps(transition)
    def run(node: "DistillNerfNode", state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except DistillNerfError as error:
            node.get_logger().error(f"{transition.__name__[3:]} failed: {error}")
        except Exception:
            if node.context.ok():  # rclpy calls fail with whatever they fail after a signal
                node.get_logger().fatal(traceback.format_exc())
        return TransitionCallbackReturn.FAILURE

    return run


class DistillNerfNode(LifecycleNode):
    """Cameras in; depth, occupancy, pictures and answers out.

    Unconfigured: parameters may be set. Inactive: services answer that nothing is to be had, no
    model in memory, no images received. Active: one worker thread processes glances.
    """

    def __init__(
        self, load: Callable[[str, str], Pipeline] = Pipeline.load, **options: Any
    ) -> None:
        """Declare parameters.

        Args:
            load: makes the pipeline from the names of the weights and of the device.
            options: keyword arguments of the rclpy node.
        """
        super().__init__(NODE_NAME, **options)
        self._load = load
        self._running: tuple[Worker[Glance], Perception] | None = None
        self._configured = False
        self._spread_s = 0.0
        self._seconds_without_clock = 0
        table.declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def _warn(self, message: str) -> None:
        self.get_logger().warning(message)

    # Lifecycle ------------------------------------------------------------------------------

    @_reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters, subscribe, advertise."""
        current = self._current = table.read(self)
        resolved = {name: self._resolved(name) for name in current.cameras}
        self._health = Health(self._warn, resolved)
        buffer = LoopingBuffer(Duration(seconds=TF_CACHE_S))
        self._listener = TransformListener(buffer, self)
        self._frames = EgoFrames(
            buffer, current.base_frame, current.fixed_frame, current.tf_timeout_s
        )
        self._outputs = Outputs(self, current, self._health)
        self._diagnostics = Diagnostics(self, self._health, lambda: self._current)
        self._questions = Services(self, lambda: self._frames)
        self._query_topic = self.create_subscription(
            String, "~/query/text", self._on_query_topic, 10
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers_mine = [
            self.create_timer(SYNC_POLL_S, self._on_poll, clock=steady),
            self.create_timer(PERIOD_S, self._on_second, clock=steady),
        ]
        self._configured = True
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, then subscribe to the cameras: who sees a subscriber is heard."""
        current = self._current
        pipeline = self._load(current.weights, current.device)
        self._synchronizer = GlanceSynchronizer(
            len(current.cameras),
            current.sync_window_s,
            current.sync_timeout_s,
            current.fewest_cameras,
        )
        self._health.listen()
        self._cameras = CameraSubscriptions(self, current, self._health, self._on_frame)
        perception = Perception(
            pipeline,
            self._frames,
            self._outputs,
            self._health,
            current,
            self._cameras.infos,
        )
        worker: Worker[Glance] = Worker(perception.process, self._on_worker_error)
        worker.ask(perception.warm_up)
        self._running = self._questions.running = (worker, perception)
        self.get_logger().info(
            f"active: weights {current.weights} on {pipeline.device}, "
            f"{len(current.cameras)} cameras"
        )
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the worker and free the model."""
        self._stop_worker()
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give back everything configure made."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @_reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop the worker and give everything back, whatever the state."""
        self._stop_worker()
        self._release()

    def _stop_worker(self) -> None:
        if self._running is None:
            return
        (worker, perception), self._running = self._running, None
        self._questions.running = None
        self._cameras.close()
        worker.stop()
        perception.close()
        del worker, perception
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _release(self) -> None:
        if not self._configured:
            return
        self._configured = False
        for timer in self._timers_mine:
            self.destroy_timer(timer)
        self.destroy_subscription(self._query_topic)
        self._listener.unregister()
        for part in (self._questions, self._diagnostics, self._outputs):
            part.close()

    def _resolved(self, camera: str) -> str:
        """Full image topic of a camera.

        Raises:
            ConfigError: the parameters make no valid topic name.
        """
        image_topic, info_topic, _ = self._current.camera_topics(camera)
        for topic in (image_topic, info_topic):
            try:
                validate_topic_name(topic)
            except NameValidationException as error:
                raise ConfigError(
                    f"{topic!r} is no topic name ({error}); check camera_preset, image_topic and "
                    "camera_info_topic"
                ) from error
        return self.resolve_topic_name(image_topic)

    # Callbacks: convert and enqueue, nothing slow -----------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        jumps = self._synchronizer.time_jumps
        self._offer(self._synchronizer.add(frame))
        if self._synchronizer.time_jumps > jumps:
            self.get_logger().warning("stamps jumped back (a looping bag?): starting over")

    def _on_poll(self) -> None:
        if self._running is None:
            return
        now_s = self.get_clock().now().nanoseconds * 1e-9
        self._offer(self._synchronizer.poll(now_s))

    def _offer(self, glances: list[Glance]) -> None:
        for glance in glances:
            self._spread_s = glance.spread_s
            if self._running is not None:
                self._running[0].offer(glance)

    def _on_second(self) -> None:
        stopped = (
            self.get_parameter("use_sim_time").value and not self.get_clock().now().nanoseconds
        )
        self._seconds_without_clock = self._seconds_without_clock + 1 if stopped else 0
        if self._seconds_without_clock > CLOCK_GRACE_S:
            self._health.notice(
                "clock",
                "use_sim_time is true but nobody publishes /clock: play the bag with --clock, or "
                "set use_sim_time to false",
            )
        if self._running is None:
            self._diagnostics.publish_inactive()
        else:
            worker, perception = self._running
            if perception.owes_grid():
                worker.ask(perception.latch)
            self._diagnostics.publish(self._synchronizer, *self._running, self._spread_s)

    def _on_worker_error(self, error: Exception) -> None:
        if not self.context.ok():  # stopped by a signal in the middle of publishing
            return
        if isinstance(error, DistillNerfError):
            self._health.problem(type(error).__name__, str(error))
            return
        self._health.problem("unexpected", f"a glance failed: {error!r}")
        self.get_logger().error("".join(traceback.format_exception(error)))

    def _on_query_topic(self, message: String) -> None:
        queries = [text.strip() for text in message.data.split(",") if text.strip()]
        result = self.set_parameters(
            [Parameter("queries", Parameter.Type.STRING_ARRAY, queries or [""])]
        )[0]
        if not result.successful:
            self._health.notice("query/text", f"~/query/text ignored: {result.reason}")

    def _on_set_parameters(self, updates: list[Parameter]) -> SetParametersResult:
        values = {update.name: update.value for update in updates}
        try:
            if self._configured:
                self._current = table.changed(self._current, values)
                self._outputs.parameters = self._current
            else:
                table.read(self, values)
        except DistillNerfError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


@contextmanager
def _interrupted_by_ros() -> Iterator[None]:
    """Leave SIGINT to rclpy, which ends the spinning.

    Python's KeyboardInterrupt besides, in the middle of rclpy's C++, comes out as any exception.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is interrupted; the exit status is 0 then."""
    keep_memory()
    with _interrupted_by_ros():
        return _spin(arguments)


def _spin(arguments: list[str] | None) -> int:
    rclpy.init(args=sys.argv if arguments is None else arguments)
    try:
        node = DistillNerfNode()
    except (InvalidParameterValueException, InvalidParameterTypeException) as error:
        print(f"distillnerf_node: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value:
            started = node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            if not started or node.trigger_activate() != TransitionCallbackReturn.SUCCESS:
                return int(node.context.ok())  # 0 where a signal came meanwhile
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        if node.context.ok():
            raise  # else a signal has shut ROS down, and rclpy's calls fail with whatever they do
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
