"""What is edited: a glance of the model, and a fitted scene at a keyframe."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.data.tables import SceneTables, write_tables
from distillnerf_ros.demo import edit
from distillnerf_ros.demo import subject as subject_module
from distillnerf_ros.demo.subject import glance_subject, scene_subject
from distillnerf_ros.errors import CheckpointError, QueryError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.query.text import relevancy_in_pca
from distillnerf_ros.scene import features
from distillnerf_ros.scene.config import SceneConfig
from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.fit import STATE_FILE
from distillnerf_ros.scene.state import FORMAT, write_tensors
from distillnerf_ros.teachers.open_clip import TextTower
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.components import Components
from distillnerf_ros.training.feature_store import COMPONENTS_FILE

pytest.importorskip("nuscenes")


BEGIN_US, STEP_US, SIZE = 1_533_000_000_000_000, 500_000, (36, 64)


@pytest.fixture(scope="module")
def root(tmp_path_factory, make_rig) -> Path:
    """Two keyframes of smooth noise, 5 m and half a second apart; the lidar turns 0.04 s later."""
    cv2 = pytest.importorskip("cv2")
    folder, rig, rng = tmp_path_factory.mktemp("drive"), make_rig(SIZE), np.random.default_rng(0)
    tables = SceneTables("scene-0003", "log", "nowhere", "2018-08-01")
    tables.add_map("maps/none.png")
    (folder / "maps").mkdir()
    cv2.imwrite(str(folder / "maps" / "none.png"), np.zeros((8, 8), np.uint8))
    for name, k, pose in zip(rig.names, rig.intrinsics, rig.ego_from_camera, strict=True):
        tables.add_sensor(name, pose.double().numpy(), k.double().numpy())
    tables.add_sensor("LIDAR_TOP", np.eye(4))
    for number in range(2):
        stamp_us, pose = BEGIN_US + number * STEP_US, np.eye(4)
        pose[0, 3] = 5.0 * number
        sample = tables.add_sample(stamp_us)
        for name in rig.names:
            tables.add_sample_data(name, stamp_us, sample, pose, True, SIZE)
            file = folder / tables.filename(name, stamp_us, True)
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(
                str(file), cv2.resize(rng.integers(0, 255, (5, 8, 3), np.uint8), SIZE[::-1])
            )
        tables.add_sample_data("LIDAR_TOP", stamp_us + 40_000, sample, pose, True)
    write_tables(folder, "v1.0-drive", [tables.finish("a drive")], {"train": ["scene-0003"]})
    (folder / "v1.0-drive" / "lidarseg.json").unlink()
    return folder


@pytest.fixture
def arguments(root):
    parser = argparse.ArgumentParser()
    edit.add_arguments(parser)
    given = ["--dataroot", str(root), "--prompt", "a car", "--delete", "--device", "cpu"]
    return lambda *words: parser.parse_args([*given, *map(str, words)])


@pytest.fixture
def learned(tmp_path) -> Path:
    """A folder of features of the shipped teacher, as ``distillnerf teach`` begins it."""
    semantics = Semantics.of("world_clip", Pca.embedded(), TextTower.embedded())
    Components(semantics, "fingerprint").save(tmp_path / "features" / COMPONENTS_FILE)
    said = {"format": features.FORMAT, "teacher": "world_clip"}
    (tmp_path / "features" / features.DESCRIPTION_FILE).write_text(json.dumps(said))
    return tmp_path / "features"


@pytest.fixture
def fit(tmp_path, learned) -> Path:
    """A scene that nobody fitted, of the features in the folder."""
    width = len(Pca.embedded().basis)
    config = SceneConfig(
        inner_m=(10.0, 10.0, 4.0),
        duration_s=0.5,
        cameras=CAMERA_NAMES,
        static_cells_m=(2.0,),
        moving_cells=((2.0, 0.5),),
        static_rows=1 << 8,
        moving_rows=1 << 8,
        proposal_m=2.0,
        moving_proposal=(4.0, 0.5),
        features=width,
    )
    torch.manual_seed(0)
    tensors = {f"field.{key}": value for key, value in SceneField(config).state_dict().items()}
    name = features.name_of(features.description_of(learned))
    said = {"format": FORMAT, "scene": "scene-0003", "features": name, "config": config.to_json()}
    write_tensors(tmp_path / "fit" / STATE_FILE, tensors, said)
    return tmp_path / "fit"


def test_a_glance_is_asked_as_the_pipeline_is(arguments):
    subject = glance_subject(arguments("--frame", 1))
    assert subject.name == "scene-0003, keyframe 1"
    assert subject.file_sizes == ((36, 64),) * 6
    pipeline = Pipeline.load("tiny", "cpu")
    assert subject.rig.image_size == pipeline.image_size
    field = pipeline.encode(subject.rig)
    points, seen = subject.cells()
    expected, _, found = pipeline.occupied_voxels(field)
    torch.testing.assert_close(points, expected)
    torch.testing.assert_close(seen, found)
    relevancy, _ = subject.asked()
    torch.testing.assert_close(
        relevancy(seen[:50], ["a road"], None), pipeline.relevancy(found[:50], ["a road"])
    )


def test_a_fitted_scene_is_placed_and_timed_at_the_keyframe(arguments, fit):
    subject = scene_subject(arguments("--fit", fit, "--frame", 1))
    assert subject.name == "scene-0003 as fitted, keyframe 1"
    # Of two keyframes the second's pose is the frame of the scene; the lidar's stamp counts.
    torch.testing.assert_close(subject.field.scene_from_frame, torch.eye(4))
    assert subject.field.time_s == pytest.approx(0.54)
    first = scene_subject(arguments("--fit", fit)).field
    torch.testing.assert_close(first.scene_from_frame[:3, 3], torch.tensor([-5.0, 0.0, 0.0]))
    assert first.time_s == pytest.approx(0.04)
    with pytest.raises(QueryError, match=r"give --features.*or choose with --box"):
        subject.asked()


def test_a_fitted_scene_is_asked_in_its_own_features(arguments, fit, learned):
    subject = scene_subject(arguments("--fit", fit, "--features", learned))
    relevancy, semantics = subject.asked()
    point = torch.tensor([[1.0, 2.0, 0.5]])
    seen = subject.field(point).features
    scores = relevancy(seen, ["a car", "a tree"], None)
    assert scores.shape == (1, 2)
    pipeline = Pipeline.load("tiny", "cpu")
    asked, weighed = pipeline.embed(["a car", "a tree"]), pipeline.embed(["grass"])
    torch.testing.assert_close(scores, semantics.relevancy(seen, asked))
    torch.testing.assert_close(
        relevancy(seen, ["a car", "a tree"], ["grass"]),
        relevancy_in_pca(seen, semantics.pca, asked, weighed),
    )


def test_features_that_the_scene_was_not_fitted_with_are_refused(arguments, fit, learned):
    said = {"format": features.FORMAT, "teacher": "another"}
    (learned / features.DESCRIPTION_FILE).write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match="was fitted with features"):
        scene_subject(arguments("--fit", fit, "--features", learned))


def test_a_folder_without_a_fit_is_refused(arguments, tmp_path):
    with pytest.raises(CheckpointError, match=r"scene\.safetensors"):
        scene_subject(arguments("--fit", tmp_path))


def test_a_fit_of_another_scene_is_refused(arguments, fit, monkeypatch):
    nusc_scene = {"name": "scene-0004"}
    monkeypatch.setattr(subject_module, "choose_keyframe", lambda *_: (None, nusc_scene, ""))
    with pytest.raises(CheckpointError, match="was fitted to scene-0003, asked for is scene-0004"):
        scene_subject(arguments("--fit", fit, "--scene", "scene-0004"))
