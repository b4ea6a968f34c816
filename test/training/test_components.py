"""Components on disk: whose they are, what they undo, and who may not use them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from distillnerf_ros.errors import CheckpointError, TeacherError, TrainingError
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.teachers.dense import fingerprint
from distillnerf_ros.teachers.open_clip import DenseClip, TextTower
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training import components as module
from distillnerf_ros.training.components import Components, carry_over, fit_components, reuse

WIDTH = 6


class Colors(DenseClip):
    """Features of patches of 2x2 pixels: their colours times a matrix."""

    patch, width = (2, 2), WIDTH

    def __init__(self, seed: int = 0) -> None:
        nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(seed)
        self.matrix = nn.Parameter(torch.randn(WIDTH, 3, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ec,nchw->nehw", self.matrix, nn.functional.avg_pool2d(images, 2))


@pytest.fixture(autouse=True)
def _any_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real teachers have tests of their own; here it is enough that one maps images."""
    monkeypatch.setattr(module, "knows_texts", lambda teacher: teacher == "world_clip")


def images(count: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, 20, 30, generator=generator) for _ in range(count)]


def fitted(seed: int = 0) -> Components:
    dense = Colors(seed)
    return Components.of("dinov2:colors:hub", dense, fit_components(dense, images(), 5, 3, 0))


def test_components_of_colours_explain_and_undo_everything() -> None:
    dense = Colors()
    pca = fit_components(dense, images(), 5, 3, seed=0)
    assert pca.explained == pytest.approx(1.0, abs=1e-5)
    features = dense(images()[0][None]).detach()[0].flatten(1).T
    again = pca.reconstruct(pca.project(features))
    torch.testing.assert_close(again, features, atol=1e-4, rtol=1e-4)


def test_each_image_gives_its_share_of_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, pca = [], fitted().pca

    def keep(samples: torch.Tensor, components: int) -> Pca:
        seen.append(samples)
        return pca

    monkeypatch.setattr(module, "MOST_SAMPLES", 40)
    monkeypatch.setattr(Pca, "fit", keep)
    fit_components(Colors(), images(), 5, 3, seed=0)
    fit_components(Colors(), images(), 5, 3, seed=0)
    fit_components(Colors(), images(), 5, 3, seed=1)
    assert [one.shape for one in seen] == [(40, WIDTH)] * 3
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_no_image_is_no_sample() -> None:
    with pytest.raises(TrainingError, match="asked from 0 samples"):
        fit_components(Colors(), [], 5, 3, seed=0)


def test_a_file_keeps_everything_and_is_plain_components_too(tmp_path: Path) -> None:
    made, path = fitted(), tmp_path / "deep" / "pca.safetensors"
    made.save(path)
    again = Components.load(path)
    assert (again.teacher, again.weights) == ("dinov2:colors:hub", fingerprint(Colors()))
    assert again.fingerprint == made.fingerprint
    assert not again.semantics.has_texts
    for pca in (again.pca, Pca.load(path)):
        for name in ("mean", "basis", "std"):
            assert torch.equal(getattr(pca, name), getattr(made.pca, name))
        assert pca.explained == pytest.approx(made.pca.explained)
    assert [p.name for p in path.parent.iterdir()] == ["pca.safetensors"]


def test_the_first_of_two_writers_wins(tmp_path: Path) -> None:
    path = tmp_path / "pca.safetensors"
    first = fitted()
    first.save(path)
    pca = Pca(torch.zeros(WIDTH), torch.eye(WIDTH)[:3], torch.ones(3), 1.0)
    Components.of("dinov2:colors:hub", Colors(), pca).save(path)
    assert Components.load(path).fingerprint == first.fingerprint


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def full(self: Path, data: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    made = fitted()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TeacherError, match=r"No space left.*make room.*same command again"):
        made.save(tmp_path / "pca.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_same_weights_in_another_place_may_use_them(tmp_path: Path) -> None:
    fitted().save(tmp_path / "pca.safetensors")
    again = reuse(tmp_path / "pca.safetensors", "dinov2:moved:hub", Colors())
    assert again.teacher == "dinov2:moved:hub"


def test_another_teacher_may_not(tmp_path: Path) -> None:
    path = tmp_path / "pca.safetensors"
    fitted().save(path)
    with pytest.raises(CheckpointError, match=r"'dinov2:colors:hub'.*'dinov2:other:hub'"):
        reuse(path, "dinov2:other:hub", Colors(seed=1))
    narrow = Colors()
    narrow.width = 4
    with pytest.raises(CheckpointError, match="width 6, but 'dinov2:other:hub' gives 4"):
        reuse(path, "dinov2:other:hub", narrow)
    with pytest.raises(CheckpointError, match="width 64, but 'dinov2:colors:hub' gives 6"):
        reuse("world_clip", "dinov2:colors:hub", Colors())


def test_components_that_name_no_teacher_are_no_store(tmp_path: Path) -> None:
    fitted().pca.save(tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="does not say of which teacher"):
        Components.load(tmp_path / "plain.safetensors")
    assert reuse(tmp_path / "plain.safetensors", "dinov2:colors:hub", Colors()).weights


def test_class_names_go_through_the_same_components() -> None:
    class Wide(Colors):
        width = 64

    made = Components.of("world_clip", Wide(), Pca.embedded())
    expected = Semantics.of("world_clip", Pca.embedded(), TextTower.embedded())
    torch.testing.assert_close(made.semantics.classes, expected.classes)
    assert made.semantics.has_texts


def test_a_read_out_goes_on_in_other_components() -> None:
    """What the new components hold of a feature is said as if they had been there before."""
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(200, WIDTH, generator=generator) + 2
    old, new = Pca.fit(samples[:100], 4), Pca.fit(samples[50:] * torch.arange(1, WIDTH + 1), 4)
    read_out, latent = nn.Linear(3, 4), torch.randn(5, 3, generator=generator)
    with torch.no_grad():
        said = old.reconstruct(read_out(latent))
        carry_over(read_out, old, new)
        torch.testing.assert_close(read_out(latent), new.project(said))
