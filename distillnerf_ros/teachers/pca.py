"""Principal components of a teacher's features: the space the voxel field carries."""

import dataclasses
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.errors import CheckpointError, TrainingError

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"
_EMBEDDED = "world_clip_pca.safetensors"


@dataclasses.dataclass(frozen=True)
class Pca:
    """An orthonormal C-dimensional slice of an E-dimensional feature space.

    ``project`` and ``reconstruct`` are exact inverses on the slice. There is no whitening and no
    min-max scaling, so lengths and angles in the slice are those of the original space; ``std``
    tells a trainer how large each component is.

    Attributes:
        mean: (E,) mean of the features the components were fitted on.
        basis: (C, E) orthonormal rows, largest variance first.
        std: (C,) standard deviation of the fitted features along each row.
        explained: fraction of the total variance inside the slice, 0..1.
    """

    mean: Float[Tensor, " E"]
    basis: Float[Tensor, "C E"]
    std: Float[Tensor, " C"]
    explained: float

    @classmethod
    def fit(cls, samples: Float[Tensor, "S E"], components: int) -> "Pca":
        """Fit the components of largest variance.

        Args:
            samples: (S, E) features.
            components: C, from 1 to E.

        Raises:
            TrainingError: no such C, fewer samples than components, or values that are not finite.
        """
        count, width = samples.shape
        if not 1 <= components <= min(count - 1, width):
            raise TrainingError(
                f"{components} components asked from {count} samples of width {width}; expected "
                "from 1 to the width, and more samples than components"
            )
        if not torch.isfinite(samples).all():
            raise TrainingError(
                "the features to fit components on hold values that are not finite"
            )
        wide = samples.double()
        mean = wide.mean(0)
        covariance = torch.cov(wide.T).reshape(width, width)
        variances, vectors = torch.linalg.eigh(covariance)  # ascending
        variances, basis = variances.flip(0).clamp(min=0), vectors.T.flip(0)
        kept = float(variances[:components].sum() / variances.sum().clamp(min=1e-30))
        return cls(
            mean.float(), basis[:components].float(), variances[:components].sqrt().float(), kept
        )

    @classmethod
    def embedded(cls) -> "Pca":
        """The components of the shipped CLIP's dense features.

        Raises:
            CheckpointError: the file is not in the installation.
        """
        return cls.load(WEIGHTS_FOLDER / _EMBEDDED)

    @classmethod
    def load(cls, path: Path | str) -> "Pca":
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: no such file, or not a file of principal components.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(path)
            return cls(
                tensors["mean"], tensors["basis"], tensors["std"], float(tensors["explained"])
            )
        except (OSError, SafetensorError, KeyError) as error:
            raise CheckpointError(
                f"{path} cannot be read as principal components ({error!r}); expected a "
                ".safetensors file written by 'distillnerf teach' or 'train-clip'"
            ) from error

    def save(
        self,
        path: Path | str,
        more: dict[str, Tensor] | None = None,
        said: dict[str, str] | None = None,
    ) -> None:
        """Write a safetensors file with the mean, the basis and the statistics.

        Args:
            path: where to.
            more: tensors that shall lie beside them; ``load`` passes over them.
            said: metadata.
        """
        from safetensors.torch import save

        tensors = {"mean": self.mean, "basis": self.basis, "std": self.std} | (more or {})
        tensors["explained"] = torch.tensor(self.explained)
        plain = {name: value.contiguous().cpu() for name, value in tensors.items()}
        Path(path).write_bytes(save(plain, said))

    def to(self, device: torch.device | str) -> "Pca":
        """Move every tensor to a device."""
        return Pca(
            self.mean.to(device), self.basis.to(device), self.std.to(device), self.explained
        )

    @property
    def spread(self) -> float:
        """Root mean square of the components' standard deviations: the scale of an error."""
        return float(self.std.square().mean().sqrt())

    def project(self, features: Float[Tensor, "*batch E"]) -> Float[Tensor, "*batch C"]:
        """Coordinates of features in the slice."""
        return (features - self.mean) @ self.basis.T

    def reconstruct(self, coordinates: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch E"]:
        """The features at the given coordinates."""
        return coordinates @ self.basis + self.mean

    def cosine(
        self, coordinates: Float[Tensor, "*batch C"], directions: Float[Tensor, "Q E"]
    ) -> Float[Tensor, "*batch Q"]:
        """Cosine between reconstructed features and directions of the original space.

        Equal to ``cosine(reconstruct(coordinates), directions)`` without making E-wide features:
        with f = mean + y B and orthonormal rows of B, <f, t> = <mean, t> + <y, B t> and
        |f|^2 = |mean|^2 + 2 <y, B mean> + |y|^2.

        Args:
            coordinates: (..., C) in the slice.
            directions: (Q, E), any length but zero.
        """
        asked = self.asked(directions)
        dots = coordinates @ asked[:, :-1].T + asked[:, -1]
        return dots / self._length(coordinates)[..., None]

    def alike(
        self, coordinates: Float[Tensor, "*batch C"], feature: Float[Tensor, " C"]
    ) -> Float[Tensor, "*batch"]:
        """Cosine to one feature, clipped at 0: how much features look like it, 0..1."""
        return self.cosine(coordinates, self.reconstruct(feature[None]))[..., 0].clamp(min=0)

    def asked(self, directions: Float[Tensor, "Q E"]) -> Float[Tensor, "Q D"]:
        """Directions as ``shown`` features meet them: a cosine is the product of both."""
        unit = torch.nn.functional.normalize(directions, dim=-1)
        return torch.cat([unit @ self.basis.T, (unit @ self.mean)[:, None]], dim=1)

    def shown(self, coordinates: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch D"]:
        """Features at unit length: coordinates, and how much of the mean is in them."""
        whole = torch.nn.functional.pad(coordinates, (0, 1), value=1.0)
        return whole / self._length(coordinates)[..., None]

    def _length(self, coordinates: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch"]:
        cross = coordinates @ (self.basis @ self.mean)
        squared = self.mean.square().sum() + 2 * cross + coordinates.square().sum(-1)
        return squared.clamp(min=1e-12).sqrt()
