"""Feature PSNR against a loop over frames and components."""

import math

import numpy as np
import pytest
import torch

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.teachers import dense
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.feature_error import FeatureErrors, feature_psnr, load_teacher


def slow_psnr(frames: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Scale both maps of each frame by the teacher's least and greatest, then compare pixels."""
    values = []
    for rendered, taught in frames:
        total = 0.0
        for c in range(rendered.shape[1]):
            low = min(t[:, c].min() for _, t in frames)
            high = max(t[:, c].max() for _, t in frames)
            a, b = (rendered[:, c] - low) / (high - low), (taught[:, c] - low) / (high - low)
            total += ((a - b) ** 2).sum()
        values.append(-10 * math.log10(total / rendered.size))
    return sum(values) / len(values)


def test_psnr_equals_the_loop() -> None:
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(3):
        taught = rng.normal(size=(2, 4, 5, 6)) * [[[[1]], [[0.2]], [[3]], [[1]]]]
        frames.append((taught + rng.normal(size=taught.shape) * 0.1, taught))
    errors = [FeatureErrors.of(*map(torch.from_numpy, pair)) for pair in frames]
    columns = [np.array([getattr(e, n) for e in errors]) for n in ("squared", "low", "high")]
    assert feature_psnr(*columns) == pytest.approx(slow_psnr(frames))
    columns[0] = np.array([one.mean_squared for one in errors])
    nothing = [(np.zeros_like(taught), taught) for _, taught in frames]
    assert feature_psnr(*columns) == pytest.approx(slow_psnr(nothing))


def test_teacher_maps_are_resized_bilinearly() -> None:
    coarse = torch.tensor([[[[0.0, 1.0]]]])  # one row of two pixels
    fine = torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]])
    assert FeatureErrors.of(fine, coarse).squared == pytest.approx(0)
    assert FeatureErrors.of(fine + 0.1, coarse).squared == pytest.approx(0.01)


def test_no_features_no_figure() -> None:
    none = FeatureErrors.none()
    columns = [np.array([getattr(none, n)] * 2) for n in ("squared", "low", "high")]
    assert math.isnan(feature_psnr(*columns))


def semantics() -> Semantics:
    pca = Pca(torch.zeros(4), torch.eye(4)[:2], torch.ones(2), 1.0)
    return Semantics("NAME:TAG", pca, torch.zeros(17, 4), torch.zeros(1, 4))


def test_a_teacher_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(teacher: str) -> None:
        raise CheckpointError(f"no {teacher}")

    monkeypatch.setattr(dense, "load_dense", unknown)
    with pytest.warns(UserWarning, match="features are not judged: no NAME:TAG"):
        assert load_teacher(semantics(), torch.device("cpu")) is None


def test_a_teacher_speaks_in_components(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dense(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.cat([images, images[:, :1] + 5], dim=1)

    monkeypatch.setattr(dense, "load_dense", lambda teacher: Dense())
    teacher = load_teacher(semantics(), torch.device("cpu"))
    assert teacher is not None
    images = torch.full((2, 3, 8, 8), 0.25)
    images[:, 1] = 0.75
    maps = teacher(images)
    assert maps.shape[:2] == (2, 2)
    torch.testing.assert_close(maps.mean(dim=(0, 2, 3)), torch.tensor([0.25, 0.75]))
