"""A folder of features: marked, resumable, mapped into memory, and read by training."""

import dataclasses
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.errors import DatasetError, TeacherError
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.components import Components
from distillnerf_ros.training.feature_store import COMPONENTS_FILE, FeatureStore

sys.path.insert(0, str(Path(__file__).parent))
from test_trainer import ground_glance

SHAPE = (6, 2, 3, 4)


def components(weights: str = "abc", scale: float = 1.0) -> Components:
    pca = Pca(torch.zeros(5), torch.eye(5)[:2] * scale, torch.ones(2), 0.5)
    return Components(Semantics.without_texts("dinov2:x:hub", pca), weights)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = FeatureStore(tmp_path, components(), (48, 64), (3, 4))
    made.components.save(tmp_path / COMPONENTS_FILE)
    made.claim()
    return made


def features(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float16)


def test_what_is_written_is_read_from_the_mapped_file(store: FeatureStore) -> None:
    store.write("scene-1", "token", features())
    again = FeatureStore.open(store.folder)
    assert (again.image_size, again.grid) == ((48, 64), (3, 4))
    assert again.components.fingerprint == store.components.fingerprint
    assert again.paths == {"token": store.folder / "scene-1" / "token.npy"}
    read = again.read(again.paths["token"])
    assert isinstance(read, np.memmap)
    assert read.mode == "r"
    np.testing.assert_array_equal(read, features())
    assert [p.name for p in (store.folder / "scene-1").iterdir()] == ["token.npy"]


def test_what_is_there_stays(store: FeatureStore) -> None:
    store.write("scene-1", "token", features(0))
    store.write("scene-1", "token", features(1))
    np.testing.assert_array_equal(store.read(store.path("scene-1", "token")), features(0))


def test_an_empty_file_is_written_again(store: FeatureStore) -> None:
    """Where a machine fell, files of no bytes may be left."""
    path = store.path("scene-1", "token")
    path.parent.mkdir()
    path.write_bytes(b"")
    store.write("scene-1", "token", features())
    np.testing.assert_array_equal(store.read(path), features())


def test_a_folder_below_a_file_is_named(store: FeatureStore) -> None:
    (store.folder / "scene-1").write_text("no folder")
    with pytest.raises(TeacherError, match=r"token\.npy cannot be written .*File exists"):
        store.write("scene-1", "token", features())
    (store.folder / "file").write_text("no folder")
    with pytest.raises(TeacherError, match=r"cannot be written .*Not a directory"):
        dataclasses.replace(store, folder=store.folder / "file" / "out").claim()


def test_a_file_system_without_links_is_written_to_as_well(store, monkeypatch) -> None:
    def no_links(*paths: Path) -> None:
        raise PermissionError("operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store.write("scene-1", "token", features())
    np.testing.assert_array_equal(store.read(store.path("scene-1", "token")), features())


def test_the_same_again_may_go_on(store: FeatureStore) -> None:
    store.claim()
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    moved = Semantics.without_texts("dinov2:y:hub", store.components.pca)
    dataclasses.replace(store, components=Components(moved, "abc")).claim()
    after = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"components": components(weights="def")}, "weights 'abc', now 'def'"),
        ({"components": components(scale=-1.0)}, "pca '"),
        ({"image_size": (48, 80)}, r"image_size \[48, 64\], now \[48, 80\]"),
        ({"grid": (6, 8)}, r"grid \[3, 4\], now \[6, 8\]"),
    ],
)
def test_a_folder_of_something_else_is_refused(store, other: dict, said: str) -> None:
    with pytest.raises(DatasetError, match=said + r".*Give another --out"):
        dataclasses.replace(store, **other).claim()


def test_a_folder_whose_components_were_exchanged_is_refused(store: FeatureStore) -> None:
    (store.folder / COMPONENTS_FILE).unlink()
    components(scale=-1.0).save(store.folder / COMPONENTS_FILE)
    with pytest.raises(DatasetError, match="pca '"):
        FeatureStore.open(store.folder)


def test_other_folders_are_refused(tmp_path: Path, store: FeatureStore) -> None:
    with pytest.raises(DatasetError, match="expected a folder filled by 'distillnerf teach"):
        FeatureStore.open(tmp_path / "nothing")
    (store.folder / "features.json").write_text("{half")
    with pytest.raises(DatasetError, match="cannot be read"):
        FeatureStore.open(store.folder)
    (store.folder / "features.json").write_text(json.dumps({"format": "else"}))
    with pytest.raises(DatasetError, match="no description of features"):
        FeatureStore.open(store.folder)


def test_a_full_disk_leaves_what_is_finished(store: FeatureStore, monkeypatch) -> None:
    store.write("scene-1", "first", features())

    def full(file, array, allow_pickle: bool) -> None:
        file.write(b"some of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(TeacherError, match=r"second\.npy cannot be written.*No space left"):
            store.write("scene-1", "second", features())
    assert [p.name for p in (store.folder / "scene-1").iterdir()] == ["first.npy"]
    store.write("scene-1", "second", features(1))
    np.testing.assert_array_equal(store.read(store.path("scene-1", "second")), features(1))


def test_damaged_files_are_named(store: FeatureStore) -> None:
    path = store.path("scene-1", "token")
    with pytest.raises(DatasetError, match=r"token\.npy holds no features"):
        store.read(path)
    store.write("scene-1", "token", features())
    whole = path.read_bytes()
    packed = io.BytesIO()
    np.savez(packed, features())
    for broken in (whole[:-10], whole[:50], b"", b"PK\3\4" + bytes(99), packed.getvalue()):
        path.write_bytes(broken)
        with pytest.raises(DatasetError, match="remove it and run the same"):
            store.read(path)
    np.save(path, features()[:, :1])
    with pytest.raises(DatasetError, match=r"expected float16 of \(6, 2, 3, 4\)"):
        store.read(path)


def test_keyframes_without_features_are_counted(store: FeatureStore) -> None:
    store.write("scene-1", "a", features())
    store.require(["a"])
    with pytest.raises(DatasetError, match="features of 2 of 3 keyframes, such as b"):
        store.require(["a", "b", "c"])


def test_a_camera_without_features_counts_as_missing(store: FeatureStore, make_rig) -> None:
    rig, depth = make_rig((8, 12)), torch.full((6, 8, 12), torch.nan)
    sample = dataclasses.replace(ground_glance(), name="token", rig=rig, depth_m=depth)
    given = features()
    given[2] = np.nan
    store.write("scene-1", "token", given)
    taught = store.teach(sample, None, "")
    assert taught.rig.valid.tolist() == [name != CAMERA_NAMES[2] for name in CAMERA_NAMES]
    assert taught.features is not None
    assert taught.features.dtype == torch.float32
    np.testing.assert_array_equal(taught.features.numpy(), given.astype(np.float32))
    with pytest.raises(DatasetError, match="no features of keyframe other"):
        store.teach(dataclasses.replace(sample, name="other"), None, "")
