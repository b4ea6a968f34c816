"""The shipped CLIP: it loads, fits its size limit, and its words mean what they say."""

import pytest
import torch

from distillnerf_ros.errors import QueryError
from distillnerf_ros.query.text import DEFAULT_NEGATIVES, embed_prompts, relevancy_in_pca
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.open_clip import EMBEDDED_CLIP, DenseClip, TextTower
from distillnerf_ros.teachers.pca import WEIGHTS_FOLDER, Pca


@pytest.fixture(scope="module")
def tower() -> TextTower:
    return TextTower.embedded()


def test_weights_fit_their_limit() -> None:
    assert (WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}.safetensors").stat().st_size <= 11e6


def test_components_and_towers_share_one_space(tower: TextTower) -> None:
    pca, dense = Pca.embedded(), DenseClip.embedded()
    assert pca.mean.shape == (tower.width,) == (dense.width,)
    with torch.no_grad():
        features = dense(torch.rand(1, 3, 64, 112))
    assert features.shape == (1, tower.width, 8, 14)
    assert pca.explained > 0.9


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a delivery truck", "truck"),
        ("an automobile", "car"),
        ("a person walking", "pedestrian"),
        ("the street", "driveable surface"),
        ("trees", "vegetation"),
        ("an office building", "manmade"),
        ("grass", "terrain"),
        ("a motorbike", "motorcycle"),
        ("an orange cone", "traffic cone"),
    ],
)
def test_other_words_for_a_class_are_nearest_to_its_name(
    tower: TextTower, prompt: str, name: str
) -> None:
    names = embed_prompts(tower, OCC3D_CLASSES)
    nearest = (embed_prompts(tower, [prompt]) @ names.T).argmax()
    assert OCC3D_CLASSES[int(nearest)] == name


@pytest.mark.parametrize("prompt", ["an elephant", "a boat", "a fountain", "a grand piano"])
def test_no_direction_of_the_features_is_like_absent_things(tower: TextTower, prompt: str) -> None:
    pca = Pca.embedded()
    spread = torch.diag(2 * pca.std)
    coordinates = torch.cat([torch.zeros_like(spread[:1]), spread, -spread])
    neutral = embed_prompts(tower, DEFAULT_NEGATIVES)
    scores = relevancy_in_pca(coordinates, pca, embed_prompts(tower, [prompt]), neutral)
    assert scores.max() < 0.5


def test_names_of_different_classes_are_apart(tower: TextTower) -> None:
    names = embed_prompts(tower, OCC3D_CLASSES)
    cosines = (names @ names.T).fill_diagonal_(-1)
    assert cosines.max() < 0.5


def test_a_prompt_whose_end_would_be_cut_is_refused(tower: TextTower) -> None:
    fits = "car " * 14
    assert tower([fits]).shape == (1, tower.width)
    with pytest.raises(QueryError, match=r"reads 14 word pieces.* in fewer words"):
        tower(["a bus", fits + "bus"])
    nine = "a very old and rather dirty dark green bus"
    assert embed_prompts(tower, [nine]).shape == (1, tower.width)
    with pytest.raises(QueryError, match=f"'there is {nine} there in the scene' is cut"):
        embed_prompts(tower, [f"{nine} there"])
