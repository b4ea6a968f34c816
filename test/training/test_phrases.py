"""What phrases are true of."""

import numpy as np
import pytest

from distillnerf_ros.query.text import DEFAULT_NEGATIVES
from distillnerf_ros.taxonomy import OCC3D_CLASSES, SKY_LABEL
from distillnerf_ros.training import nouns
from distillnerf_ros.training.dense_eval import UNSEEN_ABSENT
from distillnerf_ros.training.phrases import (
    FALSE,
    TRUE,
    UNKNOWN,
    Phrase,
    PhraseBook,
    Thing,
    dressed,
    plural,
)

CAR, BUS, ROAD = (OCC3D_CLASSES.index(n) for n in ("car", "bus", "driveable surface"))
TAXI = Thing(CAR, "taxi", "yellow")
VAN = Thing(CAR, "delivery van", "white")
CITY_BUS = Thing(BUS, "city bus", "red")
THINGS = (TAXI, VAN, CITY_BUS, Thing(ROAD), Thing(SKY_LABEL))


@pytest.mark.parametrize(
    ("phrase", "thing", "expected"),
    [
        (Phrase("car", frozenset({CAR})), TAXI, TRUE),
        (Phrase("car", frozenset({CAR})), CITY_BUS, FALSE),
        (Phrase("taxi", frozenset({CAR}), frozenset({"taxi"})), TAXI, TRUE),
        (Phrase("taxi", frozenset({CAR}), frozenset({"taxi"})), VAN, FALSE),
        (Phrase("taxi", frozenset({CAR}), frozenset({"taxi"})), Thing(CAR), UNKNOWN),
        (Phrase("red car", frozenset({CAR}), color="red"), TAXI, FALSE),
        (Phrase("white van", frozenset({CAR}), frozenset({"delivery van"}), "white"), VAN, TRUE),
        (Phrase("red car", frozenset({CAR}), color="red"), Thing(CAR, "taxi"), UNKNOWN),
        (Phrase("elephant"), TAXI, FALSE),
    ],
)
def test_truth(phrase: Phrase, thing: Thing, expected: int) -> None:
    assert phrase.truth(thing) == expected


def test_every_class_has_wordings_and_is_known() -> None:
    names = {name for classes, _, _ in nouns.NOUNS for name in classes}
    assert names == {*OCC3D_CLASSES, "sky"}
    assert all(word for _, _, words in nouns.NOUNS for word in words)


def test_a_text_is_never_both_true_and_false_of_a_thing() -> None:
    things = [Thing(CAR, k) for k in ("taxi", "delivery van", "minibus", "sedan")]
    things += [Thing(1, k) for k in ("concrete barrier", "plastic barrier", "striped barrier")]
    book = PhraseBook(things)
    truth = book.truths(range(len(things)), book.present)
    for row in truth:
        said: dict[str, set[int]] = {}
        for phrase, value in zip(book.present, row, strict=True):
            said.setdefault(phrase.noun, set()).add(int(value))
        assert all(values != {TRUE, FALSE} for values in said.values())


def test_what_is_absent_is_never_present() -> None:
    present = {word for _, _, words in nouns.NOUNS for word in words}
    assert not present & set(nouns.ABSENT_NOUNS)
    assert not present & set(nouns.GENERIC_PHRASES)
    assert not set(nouns.ABSENT_NOUNS) & {p.removeprefix("a ") for p in UNSEEN_ABSENT}


def test_lerfs_negatives_are_taught_as_generic() -> None:
    assert set(DEFAULT_NEGATIVES) <= set(nouns.GENERIC_PHRASES)


def test_draw_holds_the_class_names_and_true_phrases_of_what_is_seen() -> None:
    book = PhraseBook(THINGS)
    phrases = book.draw([1], np.random.default_rng(0), per_thing=4, others=3)
    assert [p.noun for p in phrases[:17]] == list(OCC3D_CLASSES)
    true = [p for p in phrases if p.truth(VAN) == TRUE]
    assert len(true) > 2


def test_colour_phrases_name_the_things_own_colour() -> None:
    book, rng = PhraseBook(THINGS), np.random.default_rng(0)
    drawn = [p for _ in range(40) for p in book.draw([0], rng, 4, 0) if p.color]
    assert drawn
    assert all(p.noun.startswith("yellow ") and p.truth(TAXI) == TRUE for p in drawn)


def test_dressed_texts_keep_the_noun() -> None:
    rng = np.random.default_rng(0)
    texts = {dressed("delivery van", rng) for _ in range(300)}
    assert len(texts) > 40
    assert all("delivery van" in text for text in texts)
    assert {"delivery van", "a photo of a delivery van"} <= texts


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("bus", "buses"), ("lorry", "lorries"), ("tree", "trees"), ("boy", "boys")],
)
def test_plural(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_every_kind_is_named_by_what_is_true_of_the_fewest() -> None:
    book = PhraseBook([Thing(CAR, k) for k in ("taxi", "delivery van", "sedan")] + [Thing(CAR)])
    assert book.kinds == ((CAR, "taxi"), (CAR, "delivery van"), (CAR, "sedan"))
    assert book.kind_of == (0, 1, 2, -1)
    drawn = [book.draw_kinds(np.random.default_rng(seed)) for seed in range(40)]
    assert {p.noun for p, _, _ in drawn} >= {"taxi", "cab"}
    assert {p.noun for _, p, _ in drawn} >= {"delivery van", "courier van"}
    assert all(p.kinds == {"taxi"} for p, _, _ in drawn)
    assert all(p.kinds >= {"sedan"} for _, _, p in drawn)
