"""Wordings of things and classes."""

import numpy as np
import pytest

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.world.captions import CLASS_WORDS, caption, caption_class, with_article
from distillnerf_ros.world.scene import Scene


def test_every_class_has_words_that_begin_with_its_name() -> None:
    assert tuple(CLASS_WORDS) == OCC3D_CLASSES
    for name, words in CLASS_WORDS.items():
        assert words[0] == name
        assert len(set(words)) == len(words) >= 8


@pytest.mark.parametrize("name", ["bus", "sky", "terrain"])
def test_many_wordings_per_class(name: str) -> None:
    rng = np.random.default_rng(0)
    assert len({caption_class(name, rng) for _ in range(100)}) > 15


def test_captions_of_all_objects_are_clean_words(street: Scene) -> None:
    rng = np.random.default_rng(0)
    for box in street.objects_at(1.0):
        text = caption(box, rng)
        assert text == text.strip()
        assert "  " not in text
        assert "{" not in text
        assert 3 <= len(text) < 90


def test_same_generator_state_same_words(street: Scene) -> None:
    box = street.objects_at(0.0)[0]
    first, second = (caption(box, np.random.default_rng(4)) for _ in range(2))
    assert first == second


def test_article() -> None:
    assert with_article("excavator") == "an excavator"
    assert with_article("bus") == "a bus"


def test_unknown_class_is_refused() -> None:
    with pytest.raises(KeyError):
        caption_class("unicorn", np.random.default_rng(0))
