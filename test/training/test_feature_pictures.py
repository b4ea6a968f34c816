"""Pictures of features."""

import numpy as np
import torch

from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.feature_pictures import SHOWN_CLASSES, draw_features

TILE = (200, 400)


def pca() -> Pca:
    return Pca(torch.zeros(4), torch.eye(4), torch.ones(4), 1.0)


def draw(semantics: Semantics) -> np.ndarray:
    """Cameras of white images; the third has none and no features; the others are all "car"."""
    images = [torch.ones(3, 10, 20) for _ in range(6)]
    images[2] = None
    features = np.zeros((6, 4, 2, 4), np.float16)
    features[:, 0] = 1
    features[2] = np.nan
    return draw_features(images, features, semantics)


def test_a_teacher_without_texts_shows_images_and_components() -> None:
    picture = draw(Semantics.without_texts("eyes", pca()))
    assert picture.shape == (2 * TILE[0], 6 * TILE[1], 3)
    shown = picture[60, TILE[1] // 2 :: TILE[1]].mean(axis=1)
    assert (shown > 250).tolist() == [True, True, True, False, True, True]
    assert shown[3] == 0
    # one standard deviation of five that are drawn, above the middle
    assert picture[TILE[0] + 150, 5].tolist() == [178, 127, 127]


def test_class_names_glow_where_they_are() -> None:
    classes = torch.eye(4)[[3] * len(OCC3D_CLASSES)]
    classes[OCC3D_CLASSES.index("car")] = torch.eye(4)[0]
    picture = draw(Semantics("eyes", pca(), classes, torch.eye(4)[1:2]))
    assert picture.shape[0] == (2 + len(SHOWN_CLASSES)) * TILE[0]
    at = 2 + SHOWN_CLASSES.index("car"), 2 + SHOWN_CLASSES.index("manmade")
    car, manmade = (picture[row * TILE[0] + 150, 5].astype(int) for row in at)
    assert car[0] > car[2] + 50  # red
    assert manmade[1] < manmade[[0, 2]].min()  # the dark end of the scale: it is a car
