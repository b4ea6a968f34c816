"""One table of parameters: the YAML file, the ROS declarations and the checks all follow it."""

import dataclasses
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")

from distillnerf_ros.errors import ConfigError
from distillnerf_ros.ros.parameters import (
    CAMERA_PRESETS,
    Parameters,
    as_yaml,
    changed,
    descriptor,
    from_values,
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
    assert changed(Parameters(), {"queries": ["bus"]}, running=True).standing_queries == ("bus",)
    assert changed(Parameters(), {"weights": "x"}, running=False).weights == "x"
    assert changed(Parameters(), {"weights": "tiny"}, running=True) == Parameters()
    assert changed(Parameters(), {"use_sim_time": True}, running=True) == Parameters()
    with pytest.raises(ConfigError, match="weights is read when the node is configured"):
        changed(Parameters(), {"weights": "x"}, running=True)


def test_an_empty_entry_stands_for_none():
    parameters = from_values({"queries": [""], "query_negatives": [" "], "query_threshold": 0.0})
    assert parameters.standing_queries == ()
    assert parameters.negatives is None
    assert parameters.threshold is None
