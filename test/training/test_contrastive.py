"""The contrastive training learns, exports, and goes on as if it had not stopped."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distillnerf_ros.errors import CheckpointError, ConfigError, TrainingError
from distillnerf_ros.taxonomy import OCC3D_CLASSES, SKY_LABEL
from distillnerf_ros.teachers.open_clip import EMBEDDED_CLIP, DenseClip
from distillnerf_ros.teachers.pca import WEIGHTS_FOLDER, Pca
from distillnerf_ros.training import contrastive as module
from distillnerf_ros.training.contrastive import (
    TeachConfig,
    Teaching,
    export,
    fit_components,
    teach,
)
from distillnerf_ros.training.contrastive_step import StepConfig
from distillnerf_ros.training.dense_eval import DenseScores
from distillnerf_ros.training.phrases import Thing
from distillnerf_ros.training.windows import Views

ROAD = OCC3D_CLASSES.index("driveable surface")
SMALL = StepConfig(patches=64, phrases_per_thing=1, other_phrases=8, absent=8, babble=8)
BRIEF = TeachConfig(
    word_steps=2, steps=4, batch=4, window=(16, 32), zoom=(1.0, 1.5), wide_every=10, warmup=2,
    log_every=1, save_every=2, components=4,
)  # fmt: skip
SCORES = DenseScores(0.5, 0.5, 0.5, 0.5, {"car": 0.5}, 0.5, 0.5, 0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def views() -> Views:
    """Views of two colours: a road below the sky."""
    things = np.zeros((6, 32, 64), np.int16)
    for view, row in enumerate(range(10, 22, 2)):
        things[view, row:] = 1
    images = np.array([[120, 170, 230], [80, 80, 85]], np.uint8)[things]
    return Views(images, things, (Thing(SKY_LABEL), Thing(ROAD)))


class InterruptedCurve(list[dict[str, float | int]]):
    """Fails when the third row is written."""

    def append(self, row: dict[str, float | int]) -> None:
        if len(self) == 2:
            raise KeyboardInterrupt
        super().append(row)


def test_goes_on_where_it_stopped(views: Views, tmp_path: Path) -> None:
    whole, curve = Teaching(BRIEF, tmp_path / "whole", seed=3), []
    teach(whole, views, curve, SMALL)
    with pytest.raises(KeyboardInterrupt):
        teach(Teaching(BRIEF, tmp_path / "cut", seed=3), views, InterruptedCurve(), SMALL)
    again, rest = Teaching(BRIEF, tmp_path / "cut", seed=3), []
    teach(again, views, rest, SMALL)
    assert [row["step"] for row in curve] == [1, 2, 3, 4]
    assert [row["step"] for row in rest] == [3, 4]
    for name, value in whole.average.items():
        torch.testing.assert_close(again.average[name], value)


def test_learns_two_things_and_exports_a_clip(views: Views, tmp_path: Path) -> None:
    config = dataclasses.replace(
        BRIEF, word_steps=15, steps=12, save_every=100, learning_rate=3e-3
    )
    teaching, curve = Teaching(config, tmp_path, seed=0), []
    teach(teaching, views, curve, SMALL)
    assert curve[-1]["nce"] < 0.8 * curve[0]["nce"]
    model = teaching.averaged()
    pca = fit_components(DenseClip.of(model.visual), views, config.components, seed=0)
    export(model, pca, tmp_path)
    weights = tmp_path / f"{EMBEDDED_CLIP}.safetensors"
    images = torch.rand(1, 3, 16, 16)
    again = DenseClip(f"{EMBEDDED_CLIP}:{weights}")
    with torch.no_grad():
        # fp16 keeps about three decimals.
        torch.testing.assert_close(
            again(images), DenseClip.of(model.visual)(images), atol=1e-2, rtol=0
        )
    assert Pca.load(tmp_path / f"{EMBEDDED_CLIP}_pca.safetensors").basis.shape == (4, 64)


def test_pictures_leave_the_texts_alone(views: Views, tmp_path: Path) -> None:
    teaching = Teaching(BRIEF, tmp_path, seed=3)
    teaching.learn_words(views, SMALL)
    words = {k: v.clone() for k, v in teaching.model.state_dict().items()}
    teach(teaching, views, [], SMALL)
    changed = {k for k, v in teaching.model.state_dict().items() if not v.equal(words[k])}
    assert changed
    assert all(name.startswith("visual.") for name in changed)


def test_goes_on_from_given_weights_and_their_texts(views: Views, tmp_path: Path) -> None:
    shipped = WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}.safetensors"
    teaching = Teaching(dataclasses.replace(BRIEF, keep_texts=str(shipped)), tmp_path, seed=3)
    teach(teaching, views, [], SMALL)
    for name, value in load_file(shipped).items():
        if not name.startswith("visual."):
            assert torch.equal(teaching.model.state_dict()[name].half(), value)


@pytest.fixture
def verb(views: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs the verb on the views of two colours, without training; gives its folder."""
    monkeypatch.setattr(module, "render_views", lambda *_: None)
    monkeypatch.setattr(module, "load_views", lambda *_: views)
    monkeypatch.setattr(module, "teach", lambda teaching, *_: teaching.save())
    monkeypatch.setattr(module, "score_dense", lambda *_: SCORES)

    def call(*words: str) -> Path:
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        out = tmp_path / "out"
        assert module.run(parser.parse_args(["--out", str(out), "--views", "x", *words])) == 0
        return out / f"{EMBEDDED_CLIP}_pca.safetensors"

    return call


def test_components_are_those_beside_the_weights(
    verb: Callable[..., Path], tmp_path: Path
) -> None:
    """Those of the shipped CLIP mean nothing for other weights."""
    shipped = Pca.embedded().basis
    assert torch.equal(Pca.load(verb("--keep-texts")).basis, shipped)
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes((WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}.safetensors").read_bytes())
    fitted = Pca.load(verb("--keep-texts", str(mine))).basis
    assert not torch.equal(fitted, shipped)
    own = Pca(torch.zeros(64), torch.eye(64)[:4], torch.ones(4), 0.5)
    own.save(tmp_path / "mine_pca.safetensors")
    assert torch.equal(Pca.load(verb("--keep-texts", str(mine))).basis, own.basis)
    anew = verb("--keep-texts", str(mine), "--fit-components")
    assert torch.equal(Pca.load(anew).basis, fitted)


def test_figures_go_into_a_folder_that_is_made_before_the_work(
    verb, tmp_path, monkeypatch
) -> None:
    verb("--keep-texts", "--json", str(tmp_path / "new" / "figures.json"))
    said = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert said["scores"]["ap"] == {"car": 0.5}
    assert said["config"]["components"] == 24
    monkeypatch.setattr(module, "load_views", None)  # nothing is done yet
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"figures\.json cannot be written"):
        verb("--json", str(tmp_path / "file" / "figures.json"))
    with pytest.raises(ConfigError, match="is a folder, expected a file"):
        verb("--json", str(tmp_path))


@pytest.mark.parametrize("option", ["--glances", "--eval-glances"])
def test_no_glances_are_refused(verb: Callable[..., Path], option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} 0.* one or more to train on"):
        verb(option, "0")


def test_says_which_weights_cannot_be_read(tmp_path: Path) -> None:
    config = dataclasses.replace(BRIEF, keep_texts=str(tmp_path / "none.safetensors"))
    with pytest.raises(CheckpointError, match=r"none\.safetensors cannot be read"):
        Teaching(config, tmp_path, seed=3)


def test_bfloat16_learns_the_same(views: Views, tmp_path: Path) -> None:
    plain, half = [], []
    teach(Teaching(BRIEF, tmp_path / "plain", seed=3), views, plain, SMALL)
    config = dataclasses.replace(SMALL, half=True)
    teach(Teaching(BRIEF, tmp_path / "half", seed=3), views, half, config)
    for one, other in zip(plain, half, strict=True):
        assert other["nce"] == pytest.approx(one["nce"], rel=0.02)


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        Teaching(BRIEF, tmp_path, seed=0).update(torch.tensor(float("nan")))


def test_learning_rate_warms_up_and_ends_at_zero(tmp_path: Path) -> None:
    teaching = Teaching(dataclasses.replace(BRIEF, steps=10), tmp_path, seed=0)
    rates = []
    for teaching.step in range(11):
        rates.append(teaching.learning_rate())
    assert rates[0] == pytest.approx(BRIEF.learning_rate / 2)
    assert max(rates) == pytest.approx(BRIEF.learning_rate)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
