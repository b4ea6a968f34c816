"""Features of a log as ``distillnerf teach`` leaves them, and what a field learns of them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.errors import DatasetError
from distillnerf_ros.query.text import relevancy_in_pca
from distillnerf_ros.scene import fitter
from distillnerf_ros.scene.features import DESCRIPTION_FILE, FORMAT, LogFeatures, read_features
from distillnerf_ros.scene.log import read_log
from distillnerf_ros.teachers.pca import Pca

SIZE = (12, 16)


@pytest.fixture
def log(fake_nusc):
    return read_log(fake_nusc, fake_nusc.scene[0], SIZE)


def test_keyframes_have_the_features_of_their_cells(log, fake_nusc, store):
    found = read_features(store.folder, fake_nusc, fake_nusc.scene[0], log)
    seen = [token.endswith(("-0", "-2")) for token in log.tokens]
    assert (found.row >= 0).tolist() == seen
    assert (found.width, len(found.values)) == (2, 4)
    front, back = log.tokens.index("CAM_FRONT-2"), log.tokens.index("CAM_BACK-2")
    frame = torch.tensor([front, back, back, log.tokens.index("CAM_FRONT-1")])
    pixel = torch.tensor([0, 0, 11 * 16 + 15, 0])
    values, known = found.at(frame, pixel, SIZE)
    assert known.tolist() == [True, True, True, False]
    stored = store.read(store.path("scene-0001", "k1")).astype(np.float32)
    places = [CAMERA_NAMES.index(name) for name in ("CAM_FRONT", "CAM_BACK", "CAM_BACK")]
    expected = np.stack([stored[places[0], :, 0, 0], *stored[places[1:], :, [0, -1], [0, -1]]])
    np.testing.assert_allclose(values[:3], expected)


def test_a_camera_without_an_image_has_none(log, fake_nusc, store):
    path = store.path("scene-0001", "k1")
    features = np.load(path)
    features[CAMERA_NAMES.index("CAM_BACK")] = np.nan
    np.save(path, features)
    found = read_features(store.folder, fake_nusc, fake_nusc.scene[0], log)
    assert found.row[log.tokens.index("CAM_BACK-2")] == -1
    assert len(found.values) == 3


@pytest.mark.parametrize("content", [None, b"", b"damaged", b"PK\x03\x04 an .npz by another name"])
def test_missing_and_damaged_features_say_what_to_do(log, fake_nusc, store, content):
    path = store.path("scene-0001", "k1")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"k1.npy .* 'distillnerf teach' again"):
        read_features(store.folder, fake_nusc, fake_nusc.scene[0], log)


def test_features_of_another_shape_are_refused(log, fake_nusc, store):
    np.save(store.path("scene-0001", "k1"), np.zeros((6, 2, 3, 5), np.float16))
    with pytest.raises(DatasetError, match=r"\(6, 2, 3, 5\), expected float16 of \(6, 2, 3, 4\)"):
        read_features(store.folder, fake_nusc, fake_nusc.scene[0], log)


def test_a_description_without_a_layout_is_refused(log, fake_nusc, store):
    file = store.folder / DESCRIPTION_FILE
    file.write_text(json.dumps({"format": FORMAT, "components": 4}))
    with pytest.raises(DatasetError, match=r"does not say what the features are .*'grid'"):
        read_features(store.folder, fake_nusc, fake_nusc.scene[0], log)


def test_a_folder_of_something_else_is_refused(log, fake_nusc, tmp_path):
    with pytest.raises(DatasetError, match=r"features.json .* 'distillnerf teach --out"):
        read_features(tmp_path, fake_nusc, fake_nusc.scene[0], log)


def test_a_fitted_scene_can_be_asked(scene_log, scene_config, fit_settings, monkeypatch):
    """The wall ahead looks like one thing, that behind like another, as two of four stamps say."""
    monkeypatch.setattr(fitter, "WARM_UP_STEPS", 10)
    monkeypatch.setattr(fitter, "_REFRESH_POINTS", 512)
    looks = torch.eye(2)[[0, 1, 0, 1]][:, :, None, None].half()
    taught = LogFeatures(looks, torch.tensor([0, 1, -1, -1, 2, 3, -1, -1]), "by hand")
    config = dataclasses.replace(scene_config, features=2, static_cells_m=(4.0, 2.0))
    settings = dataclasses.replace(fit_settings, rate=0.2, features=1.0)
    made = fitter.Fitter(scene_log, config, settings, torch.device("cpu"), taught)
    for step in range(90):
        made.take_step(step / 90)
    walls = torch.tensor([[6.1, 0.0, 1.5], [-6.1, 0.0, 1.5]])
    with torch.no_grad():
        found = made.field.at(0.5)(walls).features
    pca = Pca(torch.zeros(2), torch.eye(2), torch.ones(2), 1.0)
    scores = relevancy_in_pca(found, pca, torch.eye(2), torch.full((1, 2), 0.5**0.5))
    assert (scores > 0.5).tolist() == [[True, False], [False, True]]
