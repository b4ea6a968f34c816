"""Thresholds of class names: what they are chosen by, what they do to scores, and the verb."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from distillnerf_ros.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import CheckpointError, DatasetError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.occupancy import voxel_centers_m
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.taxonomy import OCC3D_CLASSES
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training import calibrate as module
from distillnerf_ros.training.absent import ABSENT, HIDDEN, PRESENT
from distillnerf_ros.training.calibrate import (
    PROBABILITIES,
    caution_of,
    choose_probabilities,
    choose_thresholds,
)
from distillnerf_ros.training.judge import Judge, answer

pytest.importorskip("nuscenes")

FRAMES = 1000


def answers(absent: dict[int, np.ndarray], present: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Every class is in every frame and sure, but for those given: absent, with these scores."""
    best, there = np.full((FRAMES, 17), present), np.full((FRAMES, 17), PRESENT, np.int8)
    for name, scores in absent.items():
        best[:, name], there[:, name] = scores, ABSENT
    return best, there


def test_nineteen_of_twenty_frames_without_a_thing_are_refused() -> None:
    even = np.linspace(0.5, 0.9, FRAMES)  # a twentieth of these lies above 0.88
    thresholds = choose_thresholds(*answers({9: even, 10: np.full(FRAMES, 0.3)}))
    assert thresholds[9] == pytest.approx(0.88, abs=0.006)
    assert thresholds[10] == 0.5  # what is never sure needs no more than neutral


def test_what_no_frame_lacks_must_be_surer_than_what_others_lack() -> None:
    """Found up to 0.95, and nine tenths of the false answers to the others are below 0.7."""
    false = np.concatenate([np.full(900, 0.69), np.full(100, 0.99)])
    thresholds = choose_thresholds(*answers({9: false}))
    assert thresholds[0] == pytest.approx(0.695, abs=0.006)


def test_a_class_that_one_frame_lacks_leans_on_the_others() -> None:
    best, there = answers({9: np.full(FRAMES, 0.8)})
    there[0, 4], best[0, 4] = ABSENT, 0.6
    hidden = (best.copy(), there.copy())
    hidden[0][0, 4], hidden[1][0, 4] = 0.99, HIDDEN  # no answer to it is wrong
    assert choose_thresholds(best, there)[4] == pytest.approx(0.805, abs=0.006)
    assert choose_thresholds(*hidden)[4] == pytest.approx(0.805, abs=0.006)


def test_frames_that_lack_nothing_cannot_be_calibrated_on() -> None:
    with pytest.raises(DatasetError, match="none of the 1000 frames lacks any"):
        choose_thresholds(*answers({}))


def test_a_class_is_occupied_from_where_its_iou_is_largest() -> None:
    """Brute force over all levels; 0.5 for a class that is never named rightly."""
    generator = np.random.default_rng(0)
    named = generator.integers(0, 50, (17, 13))
    right, truth = generator.integers(0, named + 1), generator.integers(900, 1500, 17)
    right[5] = 0
    chosen = choose_probabilities(named, right, truth)
    for name in set(range(17)) - {5}:
        ious = []
        for level in range(13):
            hit, said = right[name, level:].sum(), named[name, level:].sum()
            ious.append(hit / (said + truth[name] - hit))
        assert chosen[name] == int(np.argmax(ious))
    assert PROBABILITIES[chosen[5]] == pytest.approx(0.5)


def semantics_of(caution: torch.Tensor) -> Semantics:
    pca = Pca(torch.zeros(21), torch.eye(21), torch.ones(21), 1.0)
    return Semantics("words", pca, *torch.eye(21).split([17, 4]), caution)


def test_a_score_at_the_threshold_becomes_one_half() -> None:
    thresholds = np.full(17, 0.5)
    thresholds[4] = 0.8
    calm, wary = semantics_of(torch.zeros(17)), semantics_of(caution_of(thresholds))
    feature = torch.zeros(1, 21)
    feature[0, 4], feature[0, 3] = 0.9, 0.3  # a car and a little of a bus
    cars, whatever = torch.eye(21)[[4]], torch.full((1, 21), 21**-0.5)
    told = calm.relevancy(feature, cars).logit() - wary.relevancy(feature, cars).logit()
    assert told.item() == pytest.approx(np.log(0.8 / 0.2), rel=1e-4)
    told = calm.relevancy(feature, whatever).logit() - wary.relevancy(feature, whatever).logit()
    assert told.item() == pytest.approx(np.log(0.8 / 0.2) / 17, rel=1e-3)  # unlike all names
    buses = torch.eye(21)[[3]]
    assert torch.equal(calm.relevancy(feature, buses), wary.relevancy(feature, buses))


@pytest.fixture
def weights(tmp_path: Path, small_config) -> Path:
    torch.manual_seed(0)
    model = DistillNeRF(small_config)
    torch.nn.init.constant_(model.voxel_net.completion.bias, 8.0)
    channels = small_config.features.channels
    basis = torch.linalg.qr(torch.randn(21, channels))[0].T.contiguous()
    pca = Pca(torch.zeros(21), basis, torch.ones(channels), 1.0)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, model, Semantics("words", pca, *torch.eye(21).split([17, 4])))
    return path


def arguments(root: Path, weights: Path, out: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    words = ["--dataroot", str(root), "--weights", str(weights), "--out", str(out)]
    return parser.parse_args([*words, "--device", "cpu"])


def test_the_verb_goes_on_and_writes_the_weights_with_thresholds(
    flat_road, weights, tmp_path, capsys, monkeypatch, device
) -> None:
    out, asked, load = tmp_path / "wary.safetensors", [], module.load_frame

    def interrupted(nusc, token, *sizes):
        asked.append(token)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return load(nusc, token, *sizes)

    monkeypatch.setattr(module, "load_frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module.run(arguments(flat_road.root, weights, out))
    assert not out.exists()
    assert module.run(arguments(flat_road.root, weights, out)) == 0
    assert len(set(asked)) == 2
    assert asked == [asked[0], asked[1], asked[1]]  # the first frame is not asked again
    assert not list(tmp_path.glob(".*parts"))
    before, after = (load_checkpoint(str(path)) for path in (weights, out))
    assert not before.semantics.caution.any()
    assert after.semantics.caution.isfinite().all()
    assert before.semantics.usual is None
    channels = before.model.config.features.channels
    assert after.semantics.usual.spread.shape == (17, channels + 1, channels + 1)
    assert after.semantics.usual.spread.isfinite().all()
    assert after.semantics.usual.mean.any()
    enough = after.semantics.occupied_from
    assert ((enough > 0.349) & (enough < 0.951)).all()
    state = after.model.state_dict()
    for key, value in before.model.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-3, atol=1e-4)
    printed = capsys.readouterr().out
    assert all(name in printed for name in OCC3D_CLASSES)
    again = tmp_path / "again.safetensors"  # scores are taken without the caution that is there
    assert module.run(arguments(flat_road.root, out, again)) == 0
    caution = load_checkpoint(str(again)).semantics.caution
    torch.testing.assert_close(caution, after.semantics.caution, atol=0.1, rtol=0)
    assert torch.equal(load_checkpoint(str(again)).semantics.occupied_from, enough)


@pytest.mark.filterwarnings("ignore:absent things are not asked for")
def test_a_frame_says_what_the_calibrated_weights_will_say(flat_road, weights) -> None:
    """Best scores and the confusion of voxels, whatever probabilities are chosen."""
    checkpoint = load_checkpoint(str(weights))
    semantics = checkpoint.semantics

    def pipeline_from(probabilities: np.ndarray) -> Pipeline:
        enough = torch.from_numpy(probabilities).float()
        own = dataclasses.replace(semantics, occupied_from=enough)
        return Pipeline(Checkpoint(checkpoint.model, own), torch.device("cpu"))

    pipeline = pipeline_from(np.full(17, PROBABILITIES[0]))
    nusc = nuscenes.open_dataset(flat_road.root)
    token = nuscenes.keyframes(nusc, nusc.scene[0])[0]
    frame = module.load_frame(nusc, token, pipeline.image_size, pipeline.depth_size)
    said = module.ask(pipeline, frame)
    levels = np.arange(17) % 13
    kept = np.arange(13) >= levels[:, None]
    judge = Judge(pipeline_from(PROBABILITIES[levels]))
    told = answer(judge.pipeline, frame.rig)
    best, _ = judge.best_scores(told)
    np.testing.assert_allclose((said["best"] * kept[..., None]).max((0, 1)), best, atol=1e-5)
    labels, truth = told.occupancy.labels.numpy(), frame.occupancy
    named = np.bincount(labels[truth.mask_camera], minlength=18)[:17]
    assert named.any()
    assert ((said["named"] * kept).sum(axis=1) == named).all()
    everything = Judge(pipeline_from(np.full(17, 0.5)))
    answered = answer(everything.pipeline, frame.rig)
    occupancy = answered.occupancy
    labels_now = occupancy.labels[occupancy.occupied]
    points = voxel_centers_m(torch.device("cpu"))[occupancy.occupied]
    shown = semantics.pca.shown(everything.pipeline.voxel_features(answered.field, points))
    assert said["count"].sum() == len(points)
    for name in range(17):
        own = shown[labels_now == name]
        assert said["count"][name] == len(own)
        np.testing.assert_allclose(said["first"][name], own.sum(0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(said["second"][name], own.T @ own, rtol=1e-3, atol=1e-3)
    right = labels[truth.mask_camera & (labels == truth.semantics)]
    assert ((said["right"] * kept).sum(axis=1) == np.bincount(right, minlength=18)[:17]).all()


def test_what_cannot_be_calibrated_is_said(flat_road, weights, tmp_path, monkeypatch) -> None:
    plain = tmp_path / "plain.safetensors"
    save_checkpoint(plain, load_checkpoint(str(weights)).model, None)
    with pytest.raises(CheckpointError, match="nothing to calibrate"):
        module.run(arguments(flat_road.root, plain, tmp_path / "out.safetensors"))
    load = module.load_frame
    monkeypatch.setattr(
        module, "load_frame", lambda *of: dataclasses.replace(load(*of), occupancy=None)
    )
    with pytest.raises(DatasetError, match="no occupancy truth"):
        module.run(arguments(flat_road.root, weights, tmp_path / "out.safetensors"))
