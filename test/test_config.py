"""Configuration: presets, round trips and refusals."""

import ast
import dataclasses
import inspect
import json

import pytest

from distillnerf_ros import config as config_module
from distillnerf_ros.config import (
    PRESETS,
    ModelConfig,
    base,
    from_json,
    preset,
    tiny,
    to_json,
    with_fields,
)
from distillnerf_ros.errors import ConfigError


@pytest.mark.parametrize("name", PRESETS)
def test_presets_carry_their_names_and_survive_json(name):
    config = preset(name)
    assert config.preset == name
    assert from_json(to_json(config)) == config


def test_base_has_the_numbers_of_the_paper():
    config = base()
    assert config.coarse_depth.inner_bins + config.coarse_depth.outer_bins == 286
    assert config.fine_depth.candidates == 15
    assert config.grid.coarse_shape == (2**7,) * 3
    assert config.grid.fine_factor == 2 ** (9 - 7)
    assert (config.grid.inner_xy_m, config.grid.inner_z_m, config.grid.alpha) == (50.0, 6.4, 0.8)
    assert (config.render.ray_rows, config.render.ray_cols) == (64, 114)


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(
        ConfigError, match="'huge' is unknown; choose one of tiny, base, base-linear, large"
    ):
        preset("huge")


def changed(**changes: object) -> str:
    """JSON of ``tiny`` with fields replaced; keys are ``stage__field``, or a field of the top."""
    data = json.loads(to_json(tiny()))
    for key, value in changes.items():
        *stage, field = key.split("__")
        data[stage[0]][field] = value if stage else data.update({field: value})
    return json.dumps(data)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"grid__wormholes": 3}, r"config\.grid has unknown fields \['wormholes'\]"),
        ({"grid__alpha": "much"}, r"config\.grid\.alpha is 'much', expected float"),
        ({"grid__alpha": True}, r"config\.grid\.alpha is True, expected float"),
        ({"grid__fine_factor": 4.0}, r"config\.grid\.fine_factor is 4\.0, expected int"),
        ({"grid__fine_factor": True}, "expected int"),
        ({"voxels__completion": 1}, "expected bool"),
        ({"grid__coarse_shape": [8, 8]}, r"coarse_shape is \[8, 8\], expected a list"),
        ({"grid__coarse_shape": 8}, "coarse_shape is 8, expected a list"),
        ({"grid__coarse_shape": [8, 8, "8"]}, "coarse_shape is '8', expected int"),
        ({"grid__alpha": 1.0}, "between 0 and 1"),
        ({"grid__fine_factor": 3}, "power of two"),
        ({"grid__fine_factor": 6}, "power of two"),
        ({"grid__fine_factor": 1}, "power of two"),
        ({"grid__fine_factor": 0}, "power of two"),
        ({"coarse_depth__near_m": 60.0}, "near_m < inner_m < far_m"),
        ({"backbone__blocks": [1, 1]}, "one block count per resolution"),
        ({"render__ray_rows": 63}, "the decoder makes 126x224 images"),
    ],
)
def test_wrong_values_are_refused_by_path(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        from_json(changed(**changes))


def test_a_missing_field_is_not_filled_with_a_default():
    data = json.loads(to_json(tiny()))
    del data["voxels"]["completion"]
    with pytest.raises(ConfigError, match=r"config\.voxels lacks the fields \['completion'\]"):
        from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"grid": 3}'])
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError):
        from_json(text)


def test_whole_numbers_stand_for_floats():
    assert from_json(changed(render__far_m=120)).render.far_m == 120.0


def test_configurations_cannot_be_changed_behind_the_models_back():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny().grid.alpha = 0.5
    assert {ModelConfig(): 1}[base()] == 1


def test_every_field_of_a_stage_says_what_it_means():
    tree = ast.parse(inspect.getsource(config_module))
    silent = [
        f"{node.name}.{item.target.id}"
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name != "ModelConfig"
        for item, after in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(item, ast.AnnAssign)
        and not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
    ]
    assert silent == []


def test_fields_are_changed_by_path():
    changed_config = with_fields(tiny(), ["render.decoder=false", "grid.coarse_shape=[8, 8, 4]"])
    assert changed_config.render.decoder is False
    assert changed_config.grid.coarse_shape == (8, 8, 4)
    assert with_fields(tiny(), []) == tiny()
    for wrong in ("render.dekoder=false", "render=1.x", "nothing.at.all=1", "render.decoder=no"):
        with pytest.raises(ConfigError):
            with_fields(tiny(), [wrong])
