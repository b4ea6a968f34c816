"""Fitting what joins opinions: it gets better on other glances, and nothing else changes."""

import argparse
import dataclasses
import math
from pathlib import Path

import pytest
import torch

from distillnerf_ros.checkpoint import load_checkpoint, save_checkpoint
from distillnerf_ros.errors import ConfigError, DatasetError, TrainingError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.render.depth_fusion import DepthFusion
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training import fusions as module
from distillnerf_ros.training.fusions import Pixels, Voxels, depth_figures, fit_depth, fit_features
from distillnerf_ros.voxels.feature_fusion import FeatureFusion

LATENT, FEATURES = 3, 5


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def pixels(count: int) -> Pixels:
    """The picture is always right, the field always a third too far."""
    truth_m = 2 + 60 * torch.rand(count)
    sample_m = truth_m[:, None] * torch.tensor([1.2, 1.33, 1.5])
    return Pixels(
        truth_m.clone(),
        torch.stack([truth_m.log(), *torch.rand(3, count)], dim=-1),
        torch.randn(count, LATENT),
        torch.ones(count),
        torch.tensor([0.2, 0.6, 0.2]).expand(count, 3),
        sample_m,
        truth_m,
    )


def test_depth_learns_whom_to_believe() -> None:
    fusion, other = DepthFusion(LATENT), pixels(500)
    wrong = (other.ratio(fusion).log() - math.log(1.33) / 2).abs()
    assert wrong.max() < 1e-3  # at first the geometric mean of both
    fit_depth(fusion, pixels(2000), 100, 1e-2, chance())
    assert (other.ratio(fusion) - 1).abs().mean() < 0.02
    assert depth_figures(fusion, other).endswith("delta 1.0000")


def semantics() -> Semantics:
    pca = Pca(torch.zeros(21), torch.eye(21)[:FEATURES], torch.ones(FEATURES), 1.0)
    return Semantics("words", pca, *torch.eye(21).split([17, 4]))


def voxels(count: int) -> Voxels:
    """The read-out says nothing; the first numbers of what is known are the answer."""
    kind = torch.randint(FEATURES, (count,))
    wanted = torch.eye(FEATURES)[kind]
    known = torch.cat([wanted, torch.randn(count, 4 * LATENT + 10 - FEATURES)], dim=1)
    return Voxels(torch.zeros(count, FEATURES) + 0.01, known, wanted)


def test_features_learn_what_the_teacher_sees() -> None:
    fusion, other, meaning = FeatureFusion(LATENT, FEATURES), voxels(300), semantics()
    before = other.loss(fusion, meaning)
    fit_features(fusion, voxels(1000), meaning, 30, 1e-2, chance())
    assert other.loss(fusion, meaning) < 0.2 * before
    assert not any(parameter.requires_grad for parameter in fusion.parameters())


def test_a_loss_that_is_no_number_is_said() -> None:
    broken = voxels(50)
    broken.known[:] = torch.nan
    with pytest.raises(TrainingError, match="step 0 of FeatureFusion: the loss is nan"):
        fit_features(FeatureFusion(LATENT, FEATURES), broken, semantics(), 5, 1e-3, chance())


def test_every_tenth_glance_is_held_back() -> None:
    parts = [voxels(3 + number) for number in range(20)]
    fitted, held = module.split(parts)
    assert len(held) == len(parts[9]) + len(parts[19])
    assert len(fitted) + len(held) == sum(map(len, parts))
    few = module.split(parts[:3])
    assert torch.equal(few[1].known, parts[2].known)
    for nothing in (parts[:1], [voxels(0)] * 12):
        with pytest.raises(DatasetError, match="tell nothing to fit to"):
            module.split(nothing)


@pytest.fixture
def weights(tmp_path: Path, small_config) -> Path:
    model = DistillNeRF(small_config)
    torch.nn.init.constant_(model.voxel_net.completion.bias, 8.0)
    pca = Pca.embedded()
    own = Pca(pca.mean, pca.basis[:FEATURES], pca.std[:FEATURES], pca.explained)
    width = pca.basis.shape[1]
    texts = torch.nn.functional.normalize(torch.randn(21, width), dim=-1)
    caution = torch.arange(17.0)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, model, Semantics("words", own, *texts.split([17, 4]), caution))
    return path


def arguments(weights: Path, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    always = [
        "--weights",
        str(weights),
        "--out",
        str(weights.with_name("new") / "out.safetensors"),
    ]
    return parser.parse_args([*always, "--device", "cpu", *words])


def teach(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    """The teacher of the small model: the first components of the shipped one."""
    real = module.feature_targets

    class Fewer:
        def __init__(self, teacher) -> None:
            self.teacher = teacher

        def teach(self, sample, cache, key):
            sample = self.teacher.teach(sample, cache, key)
            object.__setattr__(sample, "features", sample.features[:, :FEATURES])
            return sample

    def fewer(folder, config):
        from distillnerf_ros.config import tiny

        return Fewer(real(folder, tiny())[0]), load_checkpoint(str(weights)).semantics

    monkeypatch.setattr(module, "feature_targets", fewer)


def test_the_verb_changes_the_fusions_alone(
    flat_road, weights, monkeypatch, capsys, device
) -> None:
    teach(monkeypatch, weights)
    words = ["--data", "nuscenes", "--dataroot", str(flat_road.root)]
    words += ["--depth-steps", "10", "--feature-steps", "10", "--learning-rate", "1e-2"]
    assert module.run(arguments(weights, *words)) == 0
    printed = capsys.readouterr().out
    assert "depth of" in printed
    assert "features of" in printed
    before = load_checkpoint(str(weights))
    after = load_checkpoint(str(weights.with_name("new") / "out.safetensors"))
    torch.testing.assert_close(after.semantics.caution, before.semantics.caution)
    changed = set()
    was = before.model.state_dict()
    for key, value in after.model.state_dict().items():
        if not torch.allclose(value, was[key], rtol=1e-3, atol=1e-4):
            changed.add(key.split(".")[0])
    assert changed == {"depth_fusion", "feature_fusion"}


def test_nothing_to_fit(weights) -> None:
    with pytest.raises(ConfigError, match="give steps to one"):
        module.run(arguments(weights, "--depth-steps", "0", "--feature-steps", "0"))


def test_no_glance_to_fit_to(weights) -> None:
    """Weights that look fitted would be written."""
    with pytest.raises(ConfigError, match="no glance to fit to: give --scenes"):
        module.run(arguments(weights, "--feature-steps", "0", "--scenes", "0"))
    assert not weights.with_name("new").joinpath("out.safetensors").exists()


def test_targets_of_another_teacher_are_refused(weights, monkeypatch) -> None:
    own = load_checkpoint(str(weights)).semantics
    turned = dataclasses.replace(own.pca, basis=own.pca.basis.flip(0))
    others = (
        dataclasses.replace(own, clip="other"),
        dataclasses.replace(own, pca=turned),
    )
    for other in others:
        monkeypatch.setattr(module, "feature_targets", lambda *of, other=other: (None, other))
        with pytest.raises(ConfigError, match="the weights carry components of 'words'"):
            module.run(arguments(weights))
