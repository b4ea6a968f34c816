"""The verb: features of a log's keyframes, gone on with, and its messages."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from distillnerf_ros.cameras import CAMERA_NAMES
from distillnerf_ros.checkpoint import load_checkpoint, save_checkpoint
from distillnerf_ros.config import tiny, with_fields
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import CheckpointError, ConfigError, DatasetError, TeacherError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.teachers.dense import load_dense
from distillnerf_ros.teachers.torchvision_shim import import_timm
from distillnerf_ros.training import teach
from distillnerf_ros.training.feature_store import FeatureStore
from distillnerf_ros.training.nuscenes_samples import NuScenesSamples
from distillnerf_ros.training.targets import feature_targets

cv2 = pytest.importorskip("cv2")
SIZE = ("--size", "112x64")


def run(root: Path, out: Path, *words: str) -> None:
    parser = argparse.ArgumentParser()
    teach.add_arguments(parser)
    given = ["--dataroot", str(root), "--out", str(out), *words]
    if "--size" not in words:
        given += SIZE
    assert teach.run(parser.parse_args(given)) == 0


@pytest.fixture
def log(flat_road, tmp_path: Path) -> Path:
    """A data set of two scenes of one keyframe each, with pictures that show something."""
    root = tmp_path / "log"
    shutil.copytree(flat_road.root, root)
    noise = np.random.default_rng(0)
    for path in sorted(root.glob("samples/CAM_*/*.jpg")):
        small = noise.integers(0, 255, (9, 16, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(small, (128, 72)))
    return root


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of timm's smallest ViT."""
    path = tmp_path_factory.mktemp("timm") / "vit.safetensors"
    torch.manual_seed(0)
    state = import_timm().create_model("test_vit", pretrained=False).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return str(path)


def files(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in sorted(out.rglob("*.npy"))}


def test_features_are_the_teachers_in_its_components(
    log: Path, tmp_path: Path, device: torch.device
) -> None:
    out = tmp_path / "out"
    run(log, out, "--components", "5", "--json", str(tmp_path / "f.json"))
    store = FeatureStore.open(out)
    assert store.image_size == (64, 112)
    nusc = nuscenes.open_dataset(log)
    token = nuscenes.keyframes(nusc, nuscenes.find_scene(nusc, "scene-0002"))[0]
    images = nuscenes.load_glance(nusc, token, (64, 112)).images
    with torch.no_grad():
        dense = load_dense("world_clip")(images)
    expected = store.components.pca.project(dense.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    got = torch.from_numpy(store.read(store.path("scene-0002", token)).astype(np.float32))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=2e-3)
    said = json.loads((tmp_path / "f.json").read_text())
    assert (said["keyframes"], said["images"], said["damaged"]) == (2, 12, [])
    assert said["explained"] == pytest.approx(store.components.pca.explained, abs=1e-3)
    assert cv2.imread(str(out / "pictures" / "scene-0001.png")).shape[1] == 6 * 400


def test_it_goes_on_where_it_stopped(log: Path, tmp_path: Path, monkeypatch) -> None:
    """The disk is full at the second keyframe; what is finished stays and is not made again."""
    out = tmp_path / "out"
    write, written = FeatureStore.write, []

    def full(self, scene, sample, features) -> None:
        if written:
            raise TeacherError("no space left")
        write(self, scene, sample, features)
        written.append(sample)

    with monkeypatch.context() as patched:
        patched.setattr(FeatureStore, "write", full)
        with pytest.raises(TeacherError, match="no space"):
            run(log, out, "--components", "5")
    before = files(out)
    components = (out / "pca.safetensors").stat().st_mtime_ns
    assert len(before) == 1
    run(log, out, "--components", "5")
    after = files(out)
    assert len(after) == 2
    assert before.items() < after.items()
    run(log, out)
    assert files(out) == after
    assert (out / "pca.safetensors").stat().st_mtime_ns == components


def test_empty_files_are_made_again(log, tmp_path) -> None:
    """Where a machine fell, files of no bytes may be left."""
    out = tmp_path / "out"
    run(log, out, "--components", "5")
    paths = [out / "features.json", *sorted(out.glob("scene-*/*.npy"))]
    whole = {path: path.read_bytes() for path in paths}
    for path in (out / "pca.safetensors", *paths):
        path.write_bytes(b"")
    run(log, out, "--components", "5")
    assert {path: path.read_bytes() for path in whole} == whole


def test_scenes_may_be_made_one_by_one_with_components_made_before(log, tmp_path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(log, whole, "--components", "5")
    run(log, parts, "--components", "5", "--fit-only")
    assert [p.name for p in parts.iterdir()] == ["pca.safetensors"]
    for scene in ("scene-0002", "scene-0001"):
        run(log, parts, "--scene", scene)
    assert files(whole).keys() == files(parts).keys()
    for name in files(whole):
        np.testing.assert_array_equal(np.load(whole / name), np.load(parts / name))


def test_one_damaged_image_is_left_out_named_and_counted(log, tmp_path, capsys) -> None:
    broken = next((log / "samples" / "CAM_BACK").glob("*.jpg"))
    broken.write_bytes(broken.read_bytes()[:-40])
    out = tmp_path / "out"
    run(log, out, "--components", "5", "--json", str(tmp_path / "f.json"))
    said = json.loads((tmp_path / "f.json").read_text())
    assert said["damaged"] == [str(broken)]
    assert capsys.readouterr().err.count(f"left out: {broken} is a truncated JPEG") == 1
    store = FeatureStore.open(out)
    features = [store.read(path) for path in store.paths.values()]
    unknown = [np.isnan(one).all(axis=(1, 2, 3)).tolist() for one in features]
    row = [name == "CAM_BACK" for name in CAMERA_NAMES]
    assert sorted(unknown) == sorted([row, [False] * 6])
    assert sum(np.isnan(one).sum() for one in features) == features[0][0].size


def test_a_log_of_damaged_images_is_refused(log, tmp_path) -> None:
    for broken in (log / "samples" / "CAM_BACK").glob("*.jpg"):
        broken.write_bytes(broken.read_bytes()[:-40])
    for broken in (log / "samples" / "CAM_FRONT").glob("*.jpg"):
        broken.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"of 12 images are damaged, expected at most 10%"):
        run(log, tmp_path / "out", "--components", "5")
    assert not (tmp_path / "out").exists()


def damage(root: Path, keyframes: list[int], cameras: tuple[str, ...]) -> None:
    """Truncate images of some keyframes of the only scene."""
    nusc = nuscenes.open_dataset(root)
    samples = nuscenes.keyframes(nusc, nusc.scene[0])
    for keyframe in keyframes:
        for camera in cameras:
            token = nusc.get("sample", samples[keyframe])["data"][camera]
            path = nuscenes.sensor_path(nusc, nusc.get("sample_data", token))
            path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("keyframe", [0, 2])
def test_two_damaged_images_of_a_scene_do_not_stop_it_wherever_they_are(drive, tmp_path, keyframe):
    root, out = tmp_path / "log", tmp_path / "out"
    shutil.copytree(drive.root, root)
    damage(root, [keyframe], ("CAM_FRONT", "CAM_BACK"))
    run(root, out, "--components", "5", "--fit-only")
    run(root, out)
    assert len(files(out)) == 3
    nusc = nuscenes.open_dataset(root)
    damaged = nuscenes.keyframes(nusc, nusc.scene[0])[keyframe]
    (out / drive.scene / f"{damaged}.npy").unlink()
    run(root, out)  # gone on with, the damaged images are two of six
    assert len(files(out)) == 3


@pytest.mark.parametrize("enough", [6, 12, 60])
def test_a_scene_of_damaged_images_leaves_no_features(drive, tmp_path, monkeypatch, enough):
    root, out = tmp_path / "log", tmp_path / "out"
    shutil.copytree(drive.root, root)
    run(root, out, "--components", "5", "--fit-only")
    damage(root, [0, 1], ("CAM_FRONT", "CAM_BACK", "CAM_BACK_LEFT"))
    monkeypatch.setattr(teach, "ENOUGH_IMAGES", enough)
    with pytest.raises(DatasetError, match="images are damaged, expected at most 10%"):
        run(root, out)
    assert files(out) == {}


def test_components_of_another_teacher_are_refused(log, tmp_path, dino) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    vit = ("--teacher", "dinov2", "--model", "test_vit", "--weights", dino)
    run(log, first, "--components", "5", *vit)
    pca = str(first / "pca.safetensors")
    # as wide as the shipped CLIP's, but of other weights
    with pytest.raises(CheckpointError, match=r"'dinov2:test_vit:.*now features are of 'world_cl"):
        run(log, second, "--pca", pca)
    with pytest.raises(CheckpointError, match="now features are of 'world_clip'"):
        run(log, first)
    with pytest.raises(CheckpointError, match="components of the teacher 'world_clip'"):
        run(log, second, "--pca", "world_clip", *vit)
    assert not second.exists()
    run(log, second, "--pca", pca, *vit)
    one, other = (FeatureStore.open(out).components.fingerprint for out in (first, second))
    assert one == other


def test_wishes_that_contradict_the_folder_are_refused(log, tmp_path) -> None:
    out = tmp_path / "out"
    run(log, out, "--components", "5", "--fit-only")
    with pytest.raises(ConfigError, match=r"--components 6, but .* holds 5"):
        run(log, out, "--components", "6")
    with pytest.raises(DatasetError, match="is there and is not world_clip"):
        run(log, out, "--pca", "world_clip")
    run(log, out)
    with pytest.raises(DatasetError, match="image_size"):
        run(log, out, "--size", "128x72")
    with pytest.raises(DatasetError, match="no scene 'scene-9'"):
        run(log, out, "--scene", "scene-9")


@pytest.mark.parametrize("components", ["-3", "0", "65"])
def test_components_are_counted_before_images_are_read(log, tmp_path, monkeypatch, components):
    monkeypatch.setattr(teach.Log, "read", None)
    with pytest.raises(ConfigError, match=f"{components} components .*from 1 to 64"):
        run(log, tmp_path / "out", f"--components={components}")


def test_the_default_size_is_what_training_shows_its_teacher() -> None:
    parser = argparse.ArgumentParser()
    teach.add_arguments(parser)
    words = ["--dataroot", "x", "--out", "y"]
    assert teach.image_size(parser.parse_args(words)) == (256, 448)
    assert teach.image_size(parser.parse_args([*words, "--size", "90x50"])) == (50, 90)


def test_a_teacher_without_texts_trains_and_travels(log, tmp_path, dino) -> None:
    """From images to a checkpoint: features of a ViT of timm are training targets."""
    out = tmp_path / "out"
    vit = ("--teacher", "dinov2", "--model", "test_vit", "--weights", dino)
    run(log, out, "--components", "5", *vit)
    config = with_fields(tiny(), ["features.channels=5"])
    teacher, semantics = feature_targets(out, config)
    nusc = nuscenes.open_dataset(log)
    tokens = [token for scene in nusc.scene for token in nuscenes.keyframes(nusc, scene)]
    sample = NuScenesSamples(nusc, tokens, (32, 64), teacher)[1]
    assert sample.features is not None
    assert sample.features.shape == (6, 5, 4, 7)
    save_checkpoint(tmp_path / "w.safetensors", DistillNeRF(config), semantics)
    loaded = load_checkpoint(str(tmp_path / "w.safetensors")).semantics
    assert loaded is not None
    assert not loaded.has_texts
    torch.testing.assert_close(loaded.pca.basis, semantics.pca.basis)
