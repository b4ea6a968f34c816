"""The configuration survives its file."""

import pytest

from distillnerf_ros.errors import ConfigError
from distillnerf_ros.scene.config import SceneConfig


def test_json_and_back(scene_config):
    assert SceneConfig.from_json(scene_config.to_json()) == scene_config


@pytest.mark.parametrize("text", ["{", "[1]", '{"unknown": 1}'])
def test_something_else_is_refused(text):
    with pytest.raises(ConfigError, match="cannot be read"):
        SceneConfig.from_json(text)


def test_cells_have_the_wanted_edge_inside(scene_config):
    # 10 m each way take 0.8 of the axis, so that the axis holds 25 m of 1 m cells.
    assert scene_config.cells(1.0) == (25, 25, 10)
    assert scene_config.steps(0.25) == 4
