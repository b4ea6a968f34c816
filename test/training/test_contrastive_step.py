"""What regions of windows are asked for: by how much of a thing they show."""

import numpy as np
import torch

from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.training.contrastive_step import (
    KIND_PATCHES,
    region_features,
    region_truth,
)
from distillnerf_ros.training.phrases import FALSE, TRUE, UNKNOWN, Phrase, PhraseBook, Thing

CAR, BUS = OCC3D_CLASSES.index("car"), OCC3D_CLASSES.index("bus")
THINGS = (Thing(CAR, "sedan"), Thing(CAR, "delivery van"), Thing(BUS))
PHRASES = (
    Phrase("car", frozenset({CAR})),
    Phrase("sedan", frozenset({CAR}), frozenset({"sedan"})),
    Phrase("bus", frozenset({BUS})),
)


def regions_of(shown: np.ndarray):
    """Regions of one window whose patches show these things."""
    features = torch.randn(1, 8, *shown.shape)
    labels = torch.tensor([thing.label for thing in THINGS])
    return region_features(features, torch.from_numpy(shown)[None], labels, 10_000), features


def test_regions_know_how_much_of_their_thing_is_seen() -> None:
    shown = np.zeros((4, 5), np.int64)
    shown[0, :3] = 1
    regions, features = regions_of(shown)
    assert (regions.shown == torch.where(regions.things == 1, 3, 17)).all()
    whole = regions.features[-2:]  # things last, in their order
    for thing, feature in zip((0, 1), whole, strict=True):
        mean = features[0][:, torch.from_numpy(shown == thing)].mean(1)
        torch.testing.assert_close(feature, mean / mean.norm())


def test_a_glimpse_does_not_tell_a_kind_and_enough_patches_do() -> None:
    shown = np.full((4, 5), 2)
    shown.flat[: KIND_PATCHES - 1] = 1  # a glimpse of a van
    book = PhraseBook(THINGS)
    for extra, sedan in ((0, UNKNOWN), (1, FALSE)):
        shown.flat[: KIND_PATCHES - 1 + extra] = 1
        regions, _ = regions_of(shown)
        seen, row = regions.things.unique(return_inverse=True)
        truth = region_truth(regions, seen, row, PHRASES, book)
        van = regions.things == 1
        assert (truth[van] == torch.tensor([TRUE, sedan, FALSE])).all()
        assert (truth[~van] == torch.tensor([FALSE, FALSE, TRUE])).all()
