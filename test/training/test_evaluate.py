"""Evaluation on a flat empty road, where every baseline's figure is known beforehand."""

import argparse
import dataclasses
import json
import math
import shutil
from unittest.mock import ANY

import numpy as np
import pytest
import torch

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.checkpoint import save_checkpoint
from distillnerf_ros.config import preset
from distillnerf_ros.errors import ConfigError, DatasetError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.occupancy import Occupancy
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.render.renderer import Rendered
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training import evaluate as module
from distillnerf_ros.training import judge as judging
from distillnerf_ros.training.baselines import flat_road_depth
from distillnerf_ros.training.dense_depth import Dense
from distillnerf_ros.training.metrics import SCORE_LEVELS
from distillnerf_ros.training.scoring import SceneScores
from distillnerf_ros.voxels.field import VoxelField

pytest.importorskip("nuscenes")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights of a model far smaller than any preset."""
    tiny = preset("tiny")
    config = dataclasses.replace(
        tiny,
        backbone=dataclasses.replace(
            tiny.backbone,
            image_height_px=32,
            image_width_px=56,
            channels=(32, 16),
            blocks=(1, 1),
            feature_channels=8,
        ),
        render=dataclasses.replace(tiny.render, ray_rows=16, ray_cols=28),
    )
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(path, DistillNeRF(config), None)
    return str(path)


def arguments(root, weights: str, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(
        ["--dataroot", str(root), "--weights", weights, "--device", "cpu", *more]
    )


def test_eval_of_the_flat_road(flat_road, weights, tmp_path, capsys, device) -> None:
    out = tmp_path / "eval.json"
    pictures = tmp_path / "pictures"
    args = arguments(flat_road.root, weights, "--json", str(out), "--pictures", str(pictures))
    assert module.run(args) == 0
    content = json.loads(out.read_text())
    assert set(content["depth"]) >= {"abs_rel", "sq_rel", "rmse", "rmse_log", "d1", "d2", "d3"}
    assert 0 <= content["depth"]["d1"] <= 1
    assert 0 <= content["occupancy"]["iou"] <= 1
    assert content["query"]["map"] is None  # weights without features
    assert content["query"]["absent_rejection"] is None
    assert content["features"] == {"psnr": None}
    assert content["novel_view"] == {"psnr": None, "ssim": None}  # scenes of one keyframe
    assert 0 <= content["occupancy"]["ray_iou"] <= 1
    baselines = content["baselines"]
    # The scenes are the same but for the car: the mean is right up to the size of 16 x 28 cells.
    assert baselines["per_pixel_mean"]["depth"]["abs_rel"] < 0.2
    assert baselines["flat_road"]["depth"]["d1"] > 0.7
    road = 100 * 200  # voxels of the road in the half that the mask shows, per scene
    car = flat_road.car_voxels
    assert baselines["flat_road"]["occupancy"]["iou"] == pytest.approx(2 * road / (2 * road + car))
    # One scene's majority is the other's truth, with or without the car.
    expected = 2 * road / (2 * road + 2 * car)
    assert baselines["majority_voxel"]["occupancy"]["iou"] == pytest.approx(expected)
    assert content["run"]["frames"] == 2
    assert set(content["scenes"]) == set(flat_road.scenes)
    printed = capsys.readouterr().out
    assert "depth AbsRel" in printed
    assert not list(tmp_path.glob(".*parts"))
    assert len(list(pictures.glob("*.png"))) == 2


class Oracle(Pipeline):
    """A pipeline that answers from the truth of the second scene and looks at no field."""

    image_size = (32, 56)
    depth_size = (64, 112)
    semantics = Semantics(
        "none", Pca(torch.zeros(18), torch.eye(18), torch.ones(18), 1.0), *torch.eye(18).split(17)
    )

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.labels = torch.full((200, 200, 16), 17, dtype=torch.uint8)
        self.labels[:, :, 2] = 11

    def encode(self, rig: CameraRig) -> VoxelField:
        return object.__new__(VoxelField)

    def embed(self, prompts: list[str]) -> torch.Tensor:
        return -torch.eye(18)[11].expand(len(prompts), -1)  # nothing is less like them than a road

    def depth(self, field: VoxelField, rig: CameraRig) -> torch.Tensor:
        return torch.from_numpy(flat_road_depth(rig, self.depth_size))

    def render(self, field: VoxelField, rig: CameraRig) -> Rendered:
        nothing = torch.zeros(len(rig.names), *self.depth_size)
        features = nothing[:, None].expand(-1, 18, -1, -1)
        return Rendered(nothing, nothing, rig.images, features)

    def occupancy(self, field: VoxelField) -> Occupancy:
        occupied = self.labels != 17
        return Occupancy(occupied.float(), self.labels, torch.ones_like(occupied))

    def voxel_features(self, field: VoxelField, points_m: torch.Tensor) -> torch.Tensor:
        x, y, z = ((points_m - torch.tensor([-40.0, -40, -1])) / 0.4).floor().long().unbind(-1)
        return torch.eye(18)[self.labels[x, y, z].long()]


def ramp(semantics: Semantics, device: torch.device):
    """Loads a teacher whose every component rises from -1 to 1 along each row."""
    return lambda images: torch.linspace(-1, 1, 112).expand(len(images), 18, 64, 112)


@pytest.fixture
def _ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "load_teacher", ramp)


def test_a_log_without_lidar_is_judged_by_what_it_has(flat_road, weights, tmp_path) -> None:
    root, out = tmp_path / "road", tmp_path / "eval.json"
    shutil.copytree(flat_road.root, root)
    table = root / "v1.0-flat" / "sample_data.json"
    rows = json.loads(table.read_text())
    table.write_text(json.dumps([row for row in rows if "LIDAR_TOP" not in row["filename"]]))
    pictures = tmp_path / "pictures"
    args = arguments(root, weights, "--json", str(out), "--pictures", str(pictures))
    assert module.run(args) == 0
    content = json.loads(out.read_text())
    assert content["depth"]["abs_rel"] is None
    assert content["occupancy"]["ray_iou"] is None
    assert content["reconstruction"]["psnr"] > 0
    assert content["occupancy"]["iou"] is not None
    assert list(pictures.iterdir())


@pytest.mark.usefixtures("_ramp")
def test_a_model_that_knows_the_truth_scores_accordingly(flat_road) -> None:
    nusc = module.nuscenes.open_dataset(flat_road.root)
    content = module.evaluate(nusc, module.choose_frames(nusc, "all", None, 1), Oracle())
    flat = content["baselines"]["flat_road"]
    assert content["depth"] == {**flat["depth"], "no_hit": ANY, "every_point": ANY}
    assert content["depth"]["every_point"]["abs_rel"] < 0.06  # what 64 x 112 cells leave
    assert content["depth"]["abs_rel"] < 0.08  # the nearest is before the middle of its cell
    road, car = 100 * 200, flat_road.car_voxels
    assert content["occupancy"]["iou"] == pytest.approx(2 * road / (2 * road + car))
    assert content["occupancy"]["per_class"]["driveable surface"] == 1
    assert content["occupancy"]["per_class"]["car"] == 0
    assert math.isnan(content["occupancy"]["per_class"]["bus"])
    assert content["occupancy"]["miou_17"] == 0.5  # of the two classes that occur
    alone = content["scenes"]["scene-0002"]["occupancy"]
    assert alone["iou"] == alone["miou_17"] == alone["miou_15"] == alone["ray_iou"] == 1
    assert content["occupancy"]["f_miou"] == 0  # the car, missed
    assert 0.49 < content["occupancy"]["ray_iou"] < 0.5  # a few rays meet the car
    assert content["occupancy"]["ray_iou"] == flat["occupancy"]["ray_iou"]
    # The car's voxels are not in its field: they look as little like a car as the road does.
    prevalence = car / (2 * road + car)
    assert content["query"]["per_class"]["driveable surface"] == pytest.approx(1)
    assert content["query"]["per_class"]["car"] == pytest.approx(prevalence)
    assert content["query"]["map"] == pytest.approx((1 + prevalence) / 2)
    # A road resembles "driveable surface" more than any other name: only the car is not found.
    query = content["query"]
    assert (query["absent_rejection"], query["threshold"]) == (1, 0.5)
    assert query["recall"] == pytest.approx(2 / 3)
    assert (query["absent_pairs"], query["present_pairs"]) == (31, 3)
    strict = query["at_half_recall"]
    assert strict["absent_rejection"] == 1
    assert query["absent_things_rejection"] == 1
    assert strict["recall"] == pytest.approx(2 / 3)  # the road twice, the car not
    prior = content["baselines"]["class_prior"]["query"]
    assert prior["per_class"]["car"] == pytest.approx(prevalence)
    assert prior["map"] == pytest.approx(0.5)
    assert math.isinf(content["reconstruction"]["psnr"])
    assert content["reconstruction"]["ssim"] == pytest.approx(1)
    mean = (torch.linspace(0, 1, 112) - 0.5).square().mean()
    assert content["features"]["psnr"] == pytest.approx(-10 * math.log10(mean), abs=1e-4)
    assert content["features"] == content["baselines"]["mean_feature"]["features"]


class Coarse(Oracle):
    """Sees two pixels as one."""

    depth_size = (16, 28)


def dense_road(nusc, token: str, rig: CameraRig) -> Dense:
    """The road in every pixel, sky above it; the first camera is not known."""
    depth = torch.from_numpy(flat_road_depth(rig, rig.image_size)).nan_to_num(torch.inf)
    depth[0] = torch.nan
    return Dense(depth, "road")


@pytest.mark.usefixtures("_ramp")
def test_dense_depth_is_judged_in_every_pixel_that_somebody_knows(flat_road) -> None:
    nusc = module.nuscenes.open_dataset(flat_road.root)
    frames = module.choose_frames(nusc, "all", None, 1)
    content = module.evaluate(nusc, frames, Coarse(), dense=dense_road)
    dense = content["depth"]["dense"]
    assert dense["abs_rel"] < 0.1  # rows that two pixels average, or the nearer of both
    assert dense["d1"] > 0.85
    assert (dense["no_hit"], dense["sky_hit"]) == (0, 0)
    assert "dense" not in module.evaluate(nusc, frames, Coarse())["depth"]


def test_errors_of_dense_depth_by_hand() -> None:
    inf, nan = np.inf, np.nan
    truth = np.array([[[10.0, 20.0, 10.0, 100.0], [inf, inf, inf, nan]]])
    said = np.array([[[10.0, 30.0, nan, 100.0], [nan, 40.0, nan, 7.0]]])
    row = judging._dense_row(said, truth)
    assert row["dense_depth"][0] == pytest.approx((0 + 0.5 + 7) / 3)  # sky counts as 80 m
    assert row["dense_no_hit"] == pytest.approx(1 / 3)
    assert row["dense_sky_hit"] == pytest.approx(1 / 3)


def test_targets_are_looked_for_before_any_work(flat_road, weights, tmp_path) -> None:
    args = arguments(flat_road.root, weights, "--targets", str(tmp_path / "none"))
    with pytest.raises(DatasetError, match="lacks the targets of 2 of 2 keyframes"):
        module.run(args)


class Shadow(Oracle):
    """Colours each camera by how far ahead of the vehicle it is, 0.01 per metre."""

    def render(self, field: VoxelField, rig: CameraRig) -> Rendered:
        ahead = rig.ego_from_camera[:, 0, 3] / 100
        rendered = super().render(field, rig)
        rgb = 0.4 + ahead[:, None, None, None].expand_as(rig.images)
        return dataclasses.replace(rendered, rgb=rgb)


@pytest.mark.usefixtures("_ramp")
def test_novel_views_are_the_next_keyframes(drive) -> None:
    nusc = module.nuscenes.open_dataset(drive.root)
    content = module.evaluate(nusc, module.choose_frames(nusc, "all", None, 1), Shadow())
    grey = module.nuscenes.load_glance(nusc, nusc.sample[0]["token"], (32, 56)).images.mean()
    expected = []
    for here, there in zip(drive.poses, drive.poses[1:], strict=False):
        moved = np.linalg.inv(here) @ there
        expected.append(-20 * math.log10(abs(0.4 + moved[0, 3] / 100 - grey)))
    assert content["novel_view"]["psnr"] == pytest.approx(np.mean(expected), abs=0.05)
    assert content["reconstruction"]["psnr"] == pytest.approx(
        -20 * math.log10(abs(0.4 - grey)), abs=0.05
    )
    assert content["baselines"]["still_picture"]["novel_view"]["ssim"] == pytest.approx(1)
    every_other = module.choose_frames(nusc, "all", None, 2)
    assert module.evaluate(nusc, every_other, Shadow())["novel_view"]["psnr"] == pytest.approx(
        expected[0], abs=0.05
    )


def test_interrupted_eval_goes_on(flat_road, weights, tmp_path, monkeypatch) -> None:
    pipeline = Pipeline.load(weights, "cpu")
    nusc = module.nuscenes.open_dataset(flat_road.root)
    frames = module.choose_frames(nusc, "all", None, 1)
    judged = []

    def interrupted(nusc, tokens, judge, advance) -> SceneScores:
        if judged:
            raise KeyboardInterrupt
        judged.append(tokens)
        return scores(tokens)

    monkeypatch.setattr(module, "score_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module.evaluate(nusc, frames, pipeline, tmp_path)

    def going_on(nusc, tokens, judge, advance) -> SceneScores:
        judged.append(tokens)
        return scores(tokens)

    monkeypatch.setattr(module, "score_scene", going_on)
    module.evaluate(nusc, frames, pipeline, tmp_path)
    assert judged == list(frames.values())  # every scene once


def scores(tokens: list[str]) -> SceneScores:
    """One frame with one lidar point and an empty grid."""
    counts, grid = np.zeros((18, 18), np.int64), np.zeros((200, 200, 16), np.int32)
    ranked = np.zeros((17, SCORE_LEVELS), np.int64)
    return SceneScores(
        tokens=np.array(tokens),
        depth=np.full((1, 7), 0.5),
        every_depth=np.full((1, 7), 0.5),
        flat_depth=np.full((1, 7), 0.5),
        no_hit=np.zeros(1),
        dense_depth=np.full((1, 7), np.nan),
        dense_no_hit=np.full(1, np.nan),
        dense_sky_hit=np.full(1, np.nan),
        psnr=np.full(1, 20.0),
        ssim=np.full(1, 0.5),
        lpips=np.full(1, np.nan),
        next_psnr=np.full(1, np.nan),
        next_ssim=np.full(1, np.nan),
        next_lpips=np.full(1, np.nan),
        still_psnr=np.full(1, np.nan),
        still_ssim=np.full(1, np.nan),
        still_lpips=np.full(1, np.nan),
        seconds=np.full((1, 3), 0.1),
        feature_squared=np.zeros((1, 0)),
        feature_mean_squared=np.zeros((1, 0)),
        feature_low=np.zeros((1, 0)),
        feature_high=np.zeros((1, 0)),
        best=np.zeros((1, 17)),
        best_absent=np.zeros((1, 0)),
        presence=np.full((1, 17), -1, np.int8),
        truth_frame=np.zeros(1, np.int64),
        truth_cells=np.zeros(1, np.int64),
        truth_depth_m=np.full(1, 10.0),
        confusion=counts,
        flat_confusion=counts,
        rays=np.zeros((5, 17), np.int64),
        flat_rays=np.zeros((5, 17), np.int64),
        seen=grid,
        occupied=grid,
        ranked=ranked,
        ranked_true=ranked,
    )


def test_frames_to_judge(flat_road) -> None:
    nusc = module.nuscenes.open_dataset(flat_road.root)
    assert list(module.choose_frames(nusc, "val", None, 1)) == [flat_road.scenes[1]]
    assert list(module.choose_frames(nusc, "all", ["scene-0001"], 2)) == ["scene-0001"]
    with pytest.raises(ConfigError, match="--every 0"):
        module.choose_frames(nusc, "all", None, 0)
    with pytest.raises(DatasetError, match="no scene"):
        module.choose_frames(nusc, "all", ["scene-9999"], 1)


def test_parts_belong_to_weights_and_data(tmp_path, flat_road, monkeypatch) -> None:
    nusc = module.nuscenes.open_dataset(flat_road.root)
    first, second = nusc.sample[0]["token"], nusc.sample[1]["token"]
    one, two = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    out = tmp_path / "eval.json"
    folder = module.parts_folder(out, one, nusc, {"s": [first]})
    assert folder == module.parts_folder(out, one, nusc, {"s": [first]})
    assert folder != module.parts_folder(out, two, nusc, {"s": [first]})
    assert folder != module.parts_folder(out, one, nusc, {"s": [second]})
    assert folder != module.parts_folder(out, one, nusc, {"s": [first]}, (two,))
    labels = module.nuscenes.occ3d_path(nusc, first)
    changed = tmp_path / "gone" if labels.is_file() else one
    monkeypatch.setattr(module.nuscenes, "occ3d_path", lambda *_: changed)
    assert folder != module.parts_folder(out, one, nusc, {"s": [first]})


def test_json_says_null_where_there_is_no_figure(tmp_path) -> None:
    path = tmp_path / "deep" / "f.json"
    module.write_json(path, {"a": {"b": math.nan, "c": 1.0}, "d": None})
    assert json.loads(path.read_text()) == {"a": {"b": None, "c": 1.0}, "d": None}


def test_scores_survive_the_disk(tmp_path) -> None:
    before = scores(["token"])
    before.save(tmp_path / "parts" / "scene.npz")
    after = SceneScores.load(tmp_path / "parts" / "scene.npz")
    for name, value in vars(before).items():
        np.testing.assert_array_equal(getattr(after, name), value)


def test_not_a_dataset(tmp_path, weights) -> None:
    with pytest.raises(DatasetError, match="not a nuScenes folder"):
        module.run(arguments(tmp_path, weights))
