"""Kinds within a class: what stands out is told by the spread of the class and nothing else."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from distillnerf_ros.query.kinds import FEWEST, STANDS_OUT, Usual
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.pca import Pca

WIDTH, CHANNELS = 32, 24
CAR, ROAD = OCC3D_CLASSES.index("car"), OCC3D_CLASSES.index("driveable surface")


@pytest.fixture
def pca() -> Pca:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(WIDTH, CHANNELS, generator=generator))[0].T
    mean = 0.3 * torch.randn(WIDTH, generator=generator)
    return Pca(mean, basis.contiguous(), torch.ones(CHANNELS), 1.0)


def features(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, CHANNELS, generator=torch.Generator().manual_seed(seed))


def usual_of(pca: Pca, *classes: tuple[int, torch.Tensor]) -> Usual:
    """Of classes with these features; nothing is known of the others."""
    width = len(pca.basis) + 1
    count = torch.zeros(17, dtype=torch.long)
    first, second = torch.zeros(17, width), torch.zeros(17, width, width)
    for name, of_class in classes:
        shown = pca.shown(of_class)
        count[name], first[name], second[name] = len(shown), shown.sum(0), shown.T @ shown
    return Usual.of(count, first, second)


def directions(count: int) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(2))


def test_a_cosine_is_the_product_of_what_is_shown_and_asked(pca) -> None:
    asked, some = directions(5), features(7).reshape(7, 1, CHANNELS)
    product = pca.shown(some) @ pca.asked(asked).T
    slow = F.cosine_similarity(pca.reconstruct(some)[..., None, :], asked, dim=-1)
    torch.testing.assert_close(product, slow)
    torch.testing.assert_close(pca.cosine(some, asked), slow)


def test_scores_are_deviations_of_the_class_s_own_cosines(pca) -> None:
    """Against mean and standard deviation of the cosines themselves, for any direction."""
    cars = features(2000)
    usual, prompts, seen = usual_of(pca, (CAR, cars)), directions(6), features(9, seed=3)
    own = pca.cosine(cars, prompts)
    cosines = pca.cosine(seen, prompts)
    away = (cosines - own.mean(0)) / own.std(0, correction=0)
    kind, labels = torch.full((6,), CAR), torch.full((9,), CAR)
    scores = usual.stand_out(cosines, pca.asked(prompts), kind, labels)
    torch.testing.assert_close(scores, torch.sigmoid(away - STANDS_OUT), atol=1e-4, rtol=1e-3)


def test_what_is_of_another_class_or_of_one_hardly_seen_is_no_kind(pca) -> None:
    usual = usual_of(pca, (CAR, features(FEWEST)), (ROAD, features(FEWEST - 1)))
    kind = torch.tensor([CAR, ROAD, -1])
    high = torch.full((3, 3), 0.99)
    labels = torch.tensor([CAR, ROAD, 255])
    scores = usual.stand_out(high, pca.asked(directions(3)), kind, labels)
    assert scores[0, 0] > 0
    assert scores.count_nonzero() == 1


def spread_out(angle: float) -> torch.Tensor:
    """Unit direction between the first class's axis and one that no class has."""
    direction = torch.zeros(1, WIDTH)
    direction[0, CAR], direction[0, 25] = math.cos(angle), math.sin(angle)
    return direction


@pytest.fixture
def semantics() -> Semantics:
    """Cars and roads show their class, and some of axis 25; each class name has an axis."""
    eye = torch.eye(WIDTH)
    pca = Pca(torch.zeros(WIDTH), eye[:26], torch.ones(26), 1.0)
    more = 0.1 * torch.randn(2000, generator=torch.Generator().manual_seed(4))
    usual = usual_of(pca, *((of, torch.cat([seen(of, x) for x in more])) for of in (CAR, ROAD)))
    caution = torch.full((17,), 20.0)  # by likeness alone nothing is found
    return Semantics("axes", pca, eye[:17], eye[27:31], caution, usual=usual)


def seen(of: int, more: float) -> torch.Tensor:
    feature = torch.zeros(1, 26)
    feature[0, of], feature[0, 25] = 1.0, more
    return feature


def test_an_unusual_car_answers_to_its_kind_and_a_usual_one_does_not(semantics) -> None:
    red_car = spread_out(1.2)  # cosine 0.36 to "car"
    assert semantics.relevancy(seen(CAR, 0.9), red_car) > 0.5
    assert semantics.relevancy(seen(CAR, 0.1), red_car) < 0.1
    assert semantics.relevancy(seen(ROAD, 0.9), red_car) < 0.1  # not named a car
    bare = semantics.without_caution()
    assert bare.usual is None
    plain = dataclasses.replace(semantics, usual=None)
    assert plain.relevancy(seen(CAR, 0.9), red_car) < 0.1


@pytest.mark.parametrize(("angle", "more"), [(0.3, 0.31), (1.4, 0.9)])
def test_the_class_itself_and_other_things_are_answered_as_before(semantics, angle, more) -> None:
    """Cosines 0.96 and 0.17 to "car", and cars that are more like that than cars usually are."""
    prompt, car = spread_out(angle), seen(CAR, more)
    plain = dataclasses.replace(semantics, usual=None)
    assert torch.equal(semantics.relevancy(car, prompt), plain.relevancy(car, prompt))


def test_ground_has_no_kinds(semantics) -> None:
    prompt = torch.zeros(1, WIDTH)
    prompt[0, ROAD], prompt[0, 25] = 0.4, 0.9
    plain = dataclasses.replace(semantics, usual=None)
    road = seen(ROAD, 5.0)
    assert torch.equal(semantics.relevancy(road, prompt), plain.relevancy(road, prompt))


def test_moving_keeps_it(semantics) -> None:
    moved = semantics.to("cpu").usual
    assert torch.equal(moved.mean, semantics.usual.mean)
    assert torch.equal(moved.spread, semantics.usual.spread)
