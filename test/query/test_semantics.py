"""Labels of features, with a text tower of made-up directions."""

import torch

from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.query.text import DEFAULT_NEGATIVES, TEMPLATES
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.pca import Pca

WIDTH = 32


def axis_tower(texts) -> torch.Tensor:
    """Each class name, in any wording, has an axis of its own; phrases share the rest."""
    vectors = torch.zeros(len(texts), WIDTH)
    for row, text in enumerate(texts):
        named = [
            k
            for k, name in enumerate(OCC3D_CLASSES)
            if any(text == template.format(name) for template in TEMPLATES)
        ]
        vectors[row, named[0] if named else WIDTH - 1] = 1
    return vectors


def make() -> Semantics:
    pca = Pca(torch.zeros(WIDTH), torch.eye(WIDTH)[:20], torch.ones(20), 1.0)
    return Semantics.of("some-clip", pca, axis_tower)


def test_directions_are_embedded_in_the_order_of_the_classes():
    semantics = make()
    torch.testing.assert_close(semantics.classes, torch.eye(WIDTH)[:17])
    assert semantics.negatives.shape == (len(DEFAULT_NEGATIVES), WIDTH)
    assert semantics.clip == "some-clip"


def test_every_class_is_named_by_its_own_direction_at_any_length():
    features = torch.eye(20)[:17] * torch.linspace(0.1, 9, 17)[:, None]
    labels = make().labels(features.reshape(17, 1, 20))
    assert labels.dtype == torch.uint8
    assert labels[:, 0].tolist() == list(range(17))


def test_no_features_have_no_labels():
    assert make().labels(torch.zeros(0, 20)).shape == (0,)


def test_moving_keeps_everything():
    moved = make().to("cpu")
    assert torch.equal(moved.classes, make().classes)
    assert moved.pca.explained == 1.0


def test_a_teacher_without_texts_resembles_none_of_them():
    pca = make().pca
    wordless = Semantics.without_texts("eyes-only", pca)
    assert make().has_texts
    assert not wordless.has_texts
    assert not wordless.to("cpu").has_texts
    cosines = pca.cosine(torch.randn(5, 20), torch.cat([wordless.classes, wordless.negatives]))
    assert not cosines.any()


def test_other_class_names_weigh_against_a_prompt_unless_it_resembles_them():
    semantics = make()
    feature = torch.zeros(1, 20)
    feature[0, 3], feature[0, 4] = 0.6, 0.8  # cosines to "bus" and "car"
    bus, car = semantics.classes[3:4], semantics.classes[4:5]
    told = semantics.relevancy(feature, torch.cat([bus, car]))
    torch.testing.assert_close(told, torch.sigmoid(torch.tensor([[-2.0, 2.0]])))
    vehicle = torch.nn.functional.normalize(bus + car, dim=1)  # resembles both: neither counts
    told = semantics.relevancy(feature, vehicle)
    torch.testing.assert_close(told, torch.sigmoid(torch.tensor([[10 * 1.4 / 2**0.5]])))
    assert semantics.relevancy(feature.expand(2, 3, 20), bus).shape == (2, 3, 1)
