"""Where a training's features come from."""

import dataclasses

import pytest
import torch

from distillnerf_ros.config import base, tiny
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.training.targets import (
    FeatureTargets,
    Teacher,
    embedded_teacher,
    feature_targets,
)


def test_without_a_folder_the_shipped_clip_teaches() -> None:
    teacher, semantics = feature_targets(None, tiny())
    assert isinstance(teacher, Teacher)
    assert isinstance(teacher, FeatureTargets)
    assert (semantics.clip, semantics.has_texts) == ("world_clip", True)


def test_a_model_of_another_width_is_told_how_to_fit() -> None:
    with pytest.raises(ConfigError, match=r"24 components.*64; give --set features\.channels=24"):
        feature_targets(None, base())


def test_a_cache_tells_teachers_apart_that_share_their_components() -> None:
    teacher, _ = embedded_teacher()
    again, _ = embedded_teacher()
    assert again.name == teacher.name
    with torch.no_grad():
        next(again.dense.parameters()).add_(1e-3)
    other = dataclasses.replace(again)
    assert other.name != teacher.name
