"""Exported targets as a teacher: what is read, what is refused, what training makes of it."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CAMERA_NAMES, camera_rays
from distillnerf_ros.config import tiny
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.scene.export import FORMAT, OFFSETS_M
from distillnerf_ros.training.exports import SceneExports
from distillnerf_ros.training.nuscenes_samples import NuScenesSamples
from distillnerf_ros.training.train import add_arguments, make_samples

SIZE = (72, 128)
HEIGHT_M = 1.5


def road_depth(height_m: float) -> np.ndarray:
    """(H, W) of a level camera over the plane z = 0 with its horizon in row 36; sky above."""
    below = np.arange(SIZE[0]) + 0.5 - 36
    with np.errstate(divide="ignore"):
        depth = np.where(below > 0, height_m * 80 / below, np.inf)
    return np.repeat(depth[:, None], SIZE[1], 1)


def write_targets(folder: Path, nusc, size: tuple[int, int] = SIZE, names=CAMERA_NAMES) -> None:
    """What the export of a perfect field of the flat road would hold, in whole numbers of grey."""
    rows, cols = size
    for scene in nusc.scene:
        out = folder / scene["name"]
        out.mkdir(parents=True)
        header = {"format": FORMAT, "scene": scene["name"], "size": list(size)}
        (out / "scene.json").write_text(json.dumps(header))
        for token in nuscenes.keyframes(nusc, scene):
            rig = nuscenes.load_glance(nusc, token, SIZE, names)
            depth = np.stack([road_depth(HEIGHT_M)[:rows, :cols]] * len(names))
            depth[:, -1] = np.nan  # not sure of the last row
            pose = np.stack([rig.ego_from_camera.numpy()] * len(OFFSETS_M))
            moved = np.stack(
                [np.stack([road_depth(HEIGHT_M + o[2])] * len(names)) for o in OFFSETS_M]
            )
            pose[..., :3, 3] += np.array(OFFSETS_M)[:, None]
            valid = np.ones(moved.shape, bool)
            valid[..., :10] = False
            np.savez_compressed(
                out / f"{token}.npz",
                names=np.array(names),
                depth_m=depth.astype(np.float16),
                sky=np.isinf(depth),
                intrinsics=rig.intrinsics.numpy(),
                virtual_rgb=np.full((len(OFFSETS_M), len(names), 3, *SIZE), 51, np.uint8),
                virtual_depth_m=moved.astype(np.float16),
                virtual_valid=valid,
                virtual_pose=pose.astype(np.float32),
            )


@pytest.fixture(scope="module")
def nusc(flat_road):
    return nuscenes.open_dataset(flat_road.root)


@pytest.fixture(scope="module")
def targets(nusc, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("targets")
    write_targets(folder, nusc)
    return folder


@pytest.fixture(scope="module")
def tokens(nusc) -> list[str]:
    return [token for scene in nusc.scene for token in nuscenes.keyframes(nusc, scene)]


@pytest.fixture(scope="module")
def sample(nusc, tokens, targets):
    return NuScenesSamples(nusc, tokens, SIZE, dense=SceneExports(targets))[0]


def test_depth_is_known_in_every_pixel_the_field_was_sure_of(sample) -> None:
    expected = torch.from_numpy(road_depth(HEIGHT_M)).float()
    assert sample.depth_m[:, :36].isinf().all()
    known = sample.depth_m[:, 36:71].isfinite()
    assert known.all()
    exact = expected[36:71].expand(6, -1, -1)
    # Of a return within a pixel the depth is its own; between returns it is the field's.
    rows_m = exact / torch.arange(1, 36)[:, None]
    assert ((sample.depth_m[:, 36:71] - exact).abs() <= rows_m + 0.002 * exact).all()
    # The lidar alone is known where the field was not sure.
    assert sample.depth_m[:, 71].isnan().float().mean() > 0.5


def test_voxels_of_the_whole_road_are_labelled(sample, nusc, tokens) -> None:
    lidar = NuScenesSamples(nusc, tokens, SIZE)[0]
    assert len(sample.voxels.surface) > 2 * len(lidar.voxels.surface)
    assert (sample.voxels.surface % 16 == 2).float().mean() > 0.9  # z in -0.2 .. 0.2 m
    # With the sky known, space above the road is known to be free.
    assert (sample.voxels.free % 16 == 15).sum() > 1000
    assert (lidar.voxels.free % 16 == 15).sum() == 0


@pytest.mark.parametrize("place", range(len(OFFSETS_M)))
def test_a_view_is_moved_by_its_offset_and_blind_where_not_valid(sample, place) -> None:
    view = sample.virtual[place]
    assert view.rig.images.shape == (len(CAMERA_NAMES), 3, *SIZE)
    assert view.rig.images.unique().tolist() == pytest.approx([0.2])
    assert view.depth_m[..., :10].isnan().all()
    assert not view.depth_m[..., 10:].isnan().any()
    assert view.rig.names == tuple(f"virtual {name}" for name in sample.rig.names)
    offsets = view.rig.ego_from_camera[:, :3, 3] - sample.rig.ego_from_camera[:, :3, 3]
    assert torch.allclose(offsets, torch.tensor(OFFSETS_M[place]).expand(6, 3), atol=1e-5)
    rays = camera_rays(view.rig.intrinsics, view.rig.ego_from_camera, SIZE, SIZE)
    hit = view.depth_m.reshape(-1) < 20
    points = rays.select(hit).at(view.depth_m.reshape(-1)[hit][:, None])[:, 0]
    assert points[:, 2].abs().max() < 0.02


def test_views_are_left_out_if_nobody_wants_them(nusc, tokens, targets) -> None:
    plain = NuScenesSamples(nusc, tokens, SIZE, dense=SceneExports(targets, virtual=False))
    assert plain[0].virtual == ()


def test_labels_are_kept_and_belong_to_the_targets(nusc, tokens, targets, tmp_path) -> None:
    teacher = SceneExports(targets)
    made = NuScenesSamples(nusc, tokens, SIZE, cache=tmp_path, dense=teacher)[0]
    kept = NuScenesSamples(nusc, tokens, SIZE, cache=tmp_path, dense=teacher)[0]
    assert torch.equal(made.voxels.surface, kept.voxels.surface)
    assert torch.equal(made.voxels.free, kept.voxels.free)
    assert len(list((tmp_path / "voxels").iterdir())) == 1
    others = tmp_path / "others"
    shutil.copytree(targets, others)
    header = others / "scene-0001" / "scene.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"field": "another"}))
    NuScenesSamples(nusc, tokens, SIZE, cache=tmp_path, dense=SceneExports(others))[0]
    assert len(list((tmp_path / "voxels").iterdir())) == 2


def test_a_camera_without_targets_has_unknown_depth(nusc, tokens, tmp_path) -> None:
    write_targets(tmp_path, nusc, names=CAMERA_NAMES[:2])
    rig = nuscenes.load_glance(nusc, tokens[0], SIZE)
    known = SceneExports(tmp_path)(nusc, tokens[0], rig)
    assert known.depth_m[2:].isnan().all()
    assert known.depth_m[:2, 40:70].isfinite().all()
    for view in known.virtual:
        assert view.rig.names == tuple(f"virtual {name}" for name in CAMERA_NAMES[:2])


def test_missing_targets_are_named_before_any_work(nusc, tokens, targets, tmp_path) -> None:
    some = tmp_path / "some"
    shutil.copytree(targets / "scene-0001", some / "scene-0001")
    with pytest.raises(DatasetError, match=r"1 of 2 keyframes \(scenes scene-0002\).*--export"):
        SceneExports(some).check(nusc, tokens, SIZE)
    SceneExports(some).check(nusc, tokens[:1], SIZE)


def test_targets_of_another_size_name_the_option(nusc, tokens, targets) -> None:
    with pytest.raises(DatasetError, match=r"128x72 pixels.*--size 224x128"):
        SceneExports(targets).check(nusc, tokens, (128, 224))
    rig = nuscenes.load_glance(nusc, tokens[0], (36, 64))
    with pytest.raises(DatasetError, match="--size 64x36"):
        SceneExports(targets)(nusc, tokens[0], rig)


@pytest.mark.parametrize("text", ["{}", "no json", '{"format": "other/1", "size": [72, 128]}'])
def test_targets_that_say_nothing_of_themselves_are_refused(
    nusc, tokens, targets, tmp_path, text
) -> None:
    shutil.copytree(targets, tmp_path / "t")
    (tmp_path / "t" / "scene-0001" / "scene.json").write_text(text)
    with pytest.raises(DatasetError, match=r"scene\.json does not say"):
        SceneExports(tmp_path / "t").check(nusc, tokens, SIZE)


def parsed(flat_road, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--out", "x", "--data", "nuscenes", "--dataroot", str(flat_road.root)]
    return parser.parse_args([*words, *more])


def test_the_verb_reads_targets(flat_road, targets) -> None:
    with pytest.raises(DatasetError, match="--size 224x128"):
        make_samples(parsed(flat_road, "--targets", str(targets)), tiny(), None)
    world = parsed(flat_road, "--targets", str(targets), "--data", "world")
    with pytest.raises(ConfigError, match="--targets is for --data nuscenes"):
        make_samples(world, tiny(), None)
