"""Words are put in order before pictures are seen."""

import math

import numpy as np
import torch

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.open_clip import load_clip
from distillnerf_ros.training.contrastive_step import StepConfig, TextSampler
from distillnerf_ros.training.phrases import PhraseBook, Thing
from distillnerf_ros.training.words import WORDS_SCALE, Prototypes, teach_words

TRUCK, TRAILER = OCC3D_CLASSES.index("truck"), OCC3D_CLASSES.index("trailer")
THINGS = (
    Thing(TRUCK, "dump truck", "red"),
    Thing(TRUCK, "dump truck", "blue"),
    Thing(TRUCK),
    Thing(TRAILER, "tank trailer", "red"),
)


def test_prototypes_of_one_class_are_nearer_than_of_two() -> None:
    torch.manual_seed(0)
    eyes = Prototypes(THINGS, 64)()
    torch.testing.assert_close(eyes.norm(dim=1), torch.ones(4))
    cosines = eyes @ eyes.T
    assert cosines[0, 1] > cosines[0, 2] > cosines[0, 3]


def test_confusable_words_end_up_apart_and_pictures_are_untouched() -> None:
    torch.manual_seed(0)
    model, tokenizer = load_clip(pretrained=False)
    seen = {name: p.clone() for name, p in model.visual.named_parameters()}
    sampler = TextSampler(tokenizer, PhraseBook(THINGS))
    few = StepConfig(phrases_per_thing=2, other_phrases=8, absent=8, babble=8)
    losses = teach_words(model, sampler, few, steps=60, rate=4e-3, seed=0)
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    with torch.no_grad():
        truck, lorry, trailer = model.encode_text(
            tokenizer(["a truck", "a lorry", "a trailer"]), normalize=True
        )
    assert truck @ lorry > truck @ trailer + 0.2
    assert math.isclose(model.logit_scale.exp().item(), WORDS_SCALE, rel_tol=1e-5)
    for name, value in model.visual.named_parameters():
        torch.testing.assert_close(value, seen[name], rtol=0, atol=0)
