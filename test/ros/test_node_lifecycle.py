"""States of the node: what each of them answers, and how it ends."""

import signal

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("distillnerf_msgs")

from distillnerf_msgs.srv import QueryText
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sensor_msgs.msg import PointCloud2

from distillnerf_ros.ros.node import main

pytestmark = pytest.mark.ros

ME = "/distillnerf"


def change(vehicle, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return vehicle.ask(ChangeState, f"{ME}/change_state", request).success


def state(vehicle):
    return vehicle.ask(GetState, f"{ME}/get_state", GetState.Request()).current_state.label


def ask(vehicle):
    return vehicle.ask(QueryText, f"{ME}/query_text", QueryText.Request(prompts=["bus"]))


def test_every_state_and_back(vehicle, start_node, wait_until):
    node = start_node(autostart="false")
    assert state(vehicle) == "unconfigured"
    assert change(vehicle, Transition.TRANSITION_CONFIGURE)
    assert state(vehicle) == "inactive"
    answer = ask(vehicle)
    assert not answer.success
    assert "the node is not active; activate it" in answer.message
    for _ in range(2):
        assert change(vehicle, Transition.TRANSITION_ACTIVATE)
        vehicle.wait_for_node()
        wait_until(lambda: vehicle.send() and ask(vehicle).success, 60.0)
        assert change(vehicle, Transition.TRANSITION_DEACTIVATE)
        assert not ask(vehicle).success
    assert change(vehicle, Transition.TRANSITION_CLEANUP)
    assert state(vehicle) == "unconfigured"
    assert change(vehicle, Transition.TRANSITION_CONFIGURE)
    assert change(vehicle, Transition.TRANSITION_INACTIVE_SHUTDOWN)
    assert state(vehicle) == "finalized"
    assert node.stop(signal.SIGINT) == 0, node.output()
    assert "Traceback" not in node.output()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_glance_is_no_error(vehicle, start_node, wait_until, how):
    clouds = vehicle.listen(PointCloud2, f"{ME}/occupancy", wait=False)
    node = start_node()
    vehicle.wait_for_node()
    wait_until(lambda: vehicle.send() and clouds, 60.0)
    for _ in range(20):
        vehicle.send()
    assert node.stop(how) == 0, node.output()
    assert "Traceback" not in node.output()
    assert "ERROR" not in node.output()


def test_unknown_weights_end_the_program_with_what_to_do(start_node):
    node = start_node(weights="typo")
    assert node.popen.wait(60.0) == 1
    assert "activate failed: weights 'typo'" in node.output()
    assert "give" in node.output()
    assert "Traceback" not in node.output()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"device": "warp"}, "device 'warp' is unknown"),
        ({"sync_window_s": 7.0}, "sync_window_s"),
        ({"sync_window_s": "soon"}, "sync_window_s"),
        ({"cameras": "[A, A]"}, "distinct names"),
        ({"image_topic": "/image"}, "names one topic for 6 cameras"),
        ({"image_topic": "/{camera}/a b"}, "'/CAM_FRONT/a b' is no topic name"),
    ],
)
def test_a_node_that_cannot_start_says_why(weights, capfd, parameters, message):
    command = ["distillnerf_node", "--ros-args"]
    for name, value in {"weights": weights, **parameters}.items():
        command += ["-p", f"{name}:={value}"]
    assert main(command) == 1
    output = capfd.readouterr().err
    assert message in output
    assert "Traceback" not in output
