"""Principal components: closed forms and the exactness of what queries lean on."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from distillnerf_ros.errors import CheckpointError, TrainingError
from distillnerf_ros.teachers.pca import Pca


@pytest.fixture
def samples() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([5.0, 3.0, 1.0, 0.5, 0.1, 0.1])
    return torch.randn(500, 6, generator=generator) * scales + torch.arange(6.0)


def test_slice_holds_the_largest_variances(samples: torch.Tensor) -> None:
    pca = Pca.fit(samples, 2)
    variance = samples.var(0)
    assert pca.explained == pytest.approx(float(variance[:2].sum() / variance.sum()), abs=1e-3)
    torch.testing.assert_close(pca.std, samples.std(0)[:2], rtol=0.02, atol=0)
    torch.testing.assert_close(pca.basis[0].abs().argmax(), torch.tensor(0))


def test_basis_is_orthonormal(samples: torch.Tensor) -> None:
    basis = Pca.fit(samples, 4).basis
    torch.testing.assert_close(basis @ basis.T, torch.eye(4))


def test_all_components_reconstruct_exactly(samples: torch.Tensor) -> None:
    pca = Pca.fit(samples, 6)
    torch.testing.assert_close(pca.reconstruct(pca.project(samples)), samples, atol=1e-4, rtol=0)
    assert pca.explained == pytest.approx(1.0)


def test_project_undoes_reconstruct(samples: torch.Tensor) -> None:
    pca = Pca.fit(samples, 3)
    coordinates = torch.randn(2, 7, 3)
    torch.testing.assert_close(pca.project(pca.reconstruct(coordinates)), coordinates)


def test_cosine_equals_reconstruct_then_cosine(samples: torch.Tensor) -> None:
    pca = Pca.fit(samples, 3)
    coordinates, directions = torch.randn(9, 3), torch.randn(4, 6)
    expected = F.cosine_similarity(pca.reconstruct(coordinates)[:, None], directions[None], dim=-1)
    torch.testing.assert_close(pca.cosine(coordinates, directions), expected, atol=1e-5, rtol=0)


def test_file_round_trip(samples: torch.Tensor, tmp_path: Path) -> None:
    pca = Pca.fit(samples, 3)
    pca.save(tmp_path / "pca.safetensors")
    again = Pca.load(tmp_path / "pca.safetensors")
    for name in ("mean", "basis", "std"):
        torch.testing.assert_close(getattr(again, name), getattr(pca, name))
    assert again.explained == pytest.approx(pca.explained)


@pytest.mark.parametrize("content", [None, b"not safetensors"])
def test_unreadable_file_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "pca.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="distillnerf teach"):
        Pca.load(path)


@pytest.mark.parametrize("components", [-1, 0, 5])
def test_no_components_and_more_than_samples_are_refused(components: int) -> None:
    with pytest.raises(TrainingError, match="components asked"):
        Pca.fit(torch.randn(4, 6), components)


def test_a_folder_is_no_file_of_components(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read as principal components"):
        Pca.load(tmp_path)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        Pca.fit(torch.full((20, 4), float("nan")), 2)


def test_how_much_features_look_like_one_is_their_cosine_and_never_negative() -> None:
    pca = Pca.fit(torch.randn(40, 6), 3)
    coordinates = torch.randn(5, 4, 3)
    feature = coordinates[0, 0]
    whole = torch.cosine_similarity(
        pca.reconstruct(coordinates), pca.reconstruct(feature).expand(5, 4, 6), dim=-1
    )
    assert (whole < 0).any()
    torch.testing.assert_close(pca.alike(coordinates, feature), whole.clamp(min=0))
