"""One table of parameters: the YAML file, the ROS declarations and the checks all follow it."""

import dataclasses
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")

import rclpy
from rclpy.parameter import Parameter

from distillnerf_ros.errors import ConfigError
from distillnerf_ros.ros.parameters import (
    CAMERA_PRESETS,
    Parameters,
    as_yaml,
    changed,
    declare,
    descriptor,
    from_values,
    read,
)

CONFIG = Path(__file__).parents[2] / "config" / "distillnerf.yaml"


def test_the_config_file_is_the_table():
    assert CONFIG.read_text() == as_yaml()


def test_the_config_file_loads_as_the_defaults():
    values = yaml.safe_load(CONFIG.read_text())["/**"]["ros__parameters"]
    assert from_values(values) == Parameters()


def test_every_parameter_is_described_with_unit_and_range():
    for entry in dataclasses.fields(Parameters):
        message = descriptor(entry)
        assert len(message.description) > 10
        if entry.name.endswith(("_s", "_m")):
            assert entry.metadata["unit"] == entry.name[-1]
            assert message.floating_point_range
        if type(entry.default) is int:
            assert message.integer_range


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sync_window_s": 0.0}, "sync_window_s = 0.0; expected 0.001 to 1.0 s"),
        ({"sync_window_s": float("nan")}, "sync_window_s = nan"),
        ({"camera_preset": "banana"}, "camera_preset = 'banana'; expected one of distillnerf"),
        ({"cameras": ["A", "A"]}, "distinct names"),
        ({"cameras": []}, "distinct names"),
        ({"cameras": ["front left"]}, "front left"),
        ({"image_topic": "/image"}, "one topic for 6 cameras"),
        ({"image_topic": "/{cam}/image"}, "no template"),
        ({"grid_z_min_m": 3.0, "grid_z_max_m": 2.0}, "not below"),
        ({"banana": 1}, "unknown parameters"),
    ],
)
def test_wrong_values_are_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        from_values(values)


def test_every_preset_names_one_topic_per_camera():
    for name in CAMERA_PRESETS:
        parameters = from_values({"camera_preset": name})
        topics = {parameters.camera_topics(camera)[:2] for camera in parameters.cameras}
        assert len({topic for pair in topics for topic in pair}) == 12


def test_templates_go_before_the_preset():
    parameters = from_values(
        {"image_topic": "/x/{camera_lower}/image", "image_type": "raw", "cameras": ["CAM_A", "B"]}
    )
    assert parameters.camera_topics("CAM_A") == ("/x/cam_a/image", "/CAM_A/camera_info", False)
    assert parameters.fewest_cameras == 2


def test_rectified_topics_are_not_rectified_again():
    assert not Parameters().rectifies("/CAM/image_rect_compressed")
    assert Parameters().rectifies("/CAM/image_raw/compressed")
    assert from_values({"rectify": "always"}).rectifies("/CAM/image_rect")


def test_live_parameters_change_and_the_others_wait_for_configure():
    assert changed(Parameters(), {"queries": ["bus"]}).standing_queries == ("bus",)
    assert changed(Parameters(), {"weights": "tiny"}) == Parameters()
    assert changed(Parameters(), {"use_sim_time": True}) == Parameters()
    with pytest.raises(ConfigError, match="weights is read when the node is configured"):
        changed(Parameters(), {"weights": "x"})


def test_before_configure_changes_are_checked_against_what_was_declared():
    context = rclpy.Context()
    rclpy.init(context=context)
    started = [Parameter("grid_z_min_m", value=3.0), Parameter("grid_z_max_m", value=4.0)]
    node = rclpy.create_node("declared", context=context, parameter_overrides=started)
    declare(node)
    assert read(node, {"grid_z_min_m": 3.5, "use_sim_time": True}).grid_z_min_m == 3.5
    with pytest.raises(ConfigError, match=r"grid_z_min_m = 3.0 is not below grid_z_max_m = 1.0"):
        read(node, {"grid_z_max_m": 1.0})
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_an_empty_entry_stands_for_none():
    parameters = from_values({"queries": [""], "query_negatives": [" "], "query_threshold": 0.0})
    assert parameters.standing_queries == ()
    assert parameters.negatives is None
    assert parameters.threshold is None
