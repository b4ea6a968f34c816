"""Answers are read back, the processes' environment is closed, and missing ROS is explained."""

import importlib.util
import json
import math

import pytest

from distillnerf_ros.demo import session
from distillnerf_ros.errors import ProcessError


def record(stamp_ns, success=True):
    cluster = {
        "prompt": "a bus",
        "center_m": [1.0, 2.0, 3.0],
        "size_m": [4.0, 5.0, 6.0],
        "score": 0.7,
    }
    return {
        "stamp_ns": stamp_ns,
        "success": success,
        "message": "" if success else "no frame yet",
        "prompts": ["a bus", "an elephant"],
        "scores": [0.8, None],
        "clusters": [{**cluster, "count": 9}],
    }


def test_answers_of_a_glance():
    bus, elephant = session.answers_at([record(1, False), record(5), record(7)], 5)
    assert (bus.prompt, bus.score) == ("a bus", 0.8)
    assert [thing.center_m for thing in bus.found] == [(1, 2, 3)]
    assert math.isnan(elephant.score)
    assert elephant.found == ()
    assert session.answers_at([record(5, False), record(7)], 5) == ()


def test_a_line_that_is_still_being_written_waits(tmp_path):
    path = tmp_path / "answers.jsonl"
    assert session._lines(path) == []
    path.write_text('{"ready": 1}\n{"a": 2}\n{"half')
    assert session._lines(path) == [{"ready": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("distro", "variable"),
    [("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"), ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE")],
)
def test_processes_keep_to_themselves(distro, variable, tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    monkeypatch.setenv("ROS_DISTRO", distro)
    for name in session._PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    around = session.environment(tmp_path)
    assert 1 <= int(around["ROS_DOMAIN_ID"]) <= 100
    assert around["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert session.FASTDDS_PROFILE.is_file()
    assert {n for n in session._PROFILE_VARIABLES if n in around} == {variable}
    assert around[variable] == str(session.FASTDDS_PROFILE)


def test_a_profile_of_the_users_own_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/mine.xml")
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    around = session.environment(tmp_path)
    assert around["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/mine.xml"
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in around


def test_missing_ros_is_explained(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProcessError, match=r"rclpy and distillnerf_msgs(.|\n)*\./run demo"):
        session.check_ros()


def test_parameters_of_the_node_are_yaml():
    import yaml

    options = session.SessionOptions("tiny", "cpu", ("a 'car'", 'b "x"'), ("p",), 0.5)
    words = session._node_arguments(options)
    pairs = dict(word.split(":=", 1) for word in words[2::2])
    values = {name: yaml.safe_load(text) for name, text in pairs.items()}
    assert values["use_sim_time"] is True
    assert values["queries"] == ["a 'car'", 'b "x"']
    assert json.loads(pairs["weights"]) == "tiny"
