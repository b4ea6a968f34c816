"""A teacher's principal components on disk, with whose they are and what texts mean in them."""

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.teachers.dense import DenseFeatures, fingerprint, knows_texts, load_dense
from distillnerf_ros.teachers.open_clip import EMBEDDED_CLIP, TextTower
from distillnerf_ros.teachers.pca import WEIGHTS_FOLDER, Pca
from distillnerf_ros.training.cache import publish

MOST_SAMPLES = 100_000
"""Feature vectors that components are fitted on, at most."""


def carry_over(read_out: nn.Linear, old: Pca, new: Pca) -> None:
    """Change a read-out so that it says in new components what it said in old ones.

    What the new components do not hold is lost; nothing else changes.

    Args:
        read_out: its C outputs are coordinates.
        old: the components they were coordinates in.
        new: as many components of features of the same width.
    """
    turn = new.basis @ old.basis.T
    with torch.no_grad():
        read_out.weight.copy_(turn @ read_out.weight)
        read_out.bias.copy_(turn @ read_out.bias + new.project(old.mean))


@dataclasses.dataclass(frozen=True)
class Components:
    """Principal components and the teacher they were fitted on.

    Attributes:
        semantics: the components, the teacher's name, and its vectors of the class names.
        weights: fingerprint of the teacher's weights; "" where nobody says.
    """

    semantics: Semantics
    weights: str

    @classmethod
    def of(cls, teacher: str, dense: DenseFeatures, pca: Pca) -> "Components":
        """Say whose components these are, and embed the class names if it can read.

        Args:
            teacher: its name.
            dense: its image half.
            pca: the components.

        Raises:
            CheckpointError: the components are of features of another width.
        """
        check_width(pca, dense, "the components", teacher)
        if knows_texts(teacher):
            semantics = Semantics.of(teacher, pca, TextTower(teacher))
        else:
            semantics = Semantics.without_texts(teacher, pca)
        return cls(semantics, fingerprint(dense))

    @property
    def teacher(self) -> str:
        """Name of the teacher."""
        return self.semantics.clip

    @property
    def pca(self) -> Pca:
        """The components themselves."""
        return self.semantics.pca

    @property
    def fingerprint(self) -> str:
        """Changes when the components do."""
        return pca_fingerprint(self.pca)

    def save(self, path: Path) -> None:
        """Write a safetensors file that ``Pca.load`` reads too; one that is there stays.

        Whoever writes must read what is there afterwards: another process may have been first.

        Raises:
            TeacherError: it cannot be written.
        """
        texts = {"classes": self.semantics.classes, "negatives": self.semantics.negatives}
        said = {"teacher": self.teacher, "weights": self.weights}
        publish(path, lambda part: self.pca.save(part, texts, said))

    @classmethod
    def load(cls, path: Path) -> "Components":
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: no such file, or another one.
        """
        from safetensors.torch import load_file

        pca, said = Pca.load(path), _metadata(path)
        tensors = load_file(path)
        try:
            semantics = Semantics(said["teacher"], pca, tensors["classes"], tensors["negatives"])
            return cls(semantics, said["weights"])
        except KeyError as error:
            raise CheckpointError(
                f"{path} does not say of which teacher its components are ({error!r}); expected a "
                "file written by 'distillnerf teach'"
            ) from error


def pca_fingerprint(pca: Pca) -> str:
    """Changes when the components do."""
    digest = hashlib.sha1()
    for value in (pca.mean, pca.basis):
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_pca(source: Path | str) -> Pca:
    """Components from a file, or the shipped CLIP's by its name.

    Raises:
        CheckpointError: no such file, or no components.
    """
    return Pca.load(_file(source))


def _file(source: Path | str) -> Path:
    shipped = WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}_pca.safetensors"
    return shipped if str(source) == EMBEDDED_CLIP else Path(source)


def reuse(source: Path | str, teacher: str, dense: DenseFeatures) -> Components:
    """Components from a file, for a teacher that they fit.

    Args:
        source: a file of principal components, or the name of the shipped CLIP for its own.
        teacher: who is to use them.
        dense: its image half.

    Raises:
        CheckpointError: no such file, or components of another teacher.
    """
    path = _file(source)
    pca, said = Pca.load(path), _metadata(path)
    check_width(pca, dense, str(path), teacher)
    weights, shipped = fingerprint(dense), path == _file(EMBEDDED_CLIP)
    owner = fingerprint(load_dense(EMBEDDED_CLIP)) if shipped else said.get("weights", weights)
    if owner != weights:
        raise CheckpointError(
            f"{path} holds components of the teacher {said.get('teacher', EMBEDDED_CLIP)!r} "
            f"(weights {owner}), now features are of {teacher!r} (weights {weights}); "
            "name that teacher, or leave --pca out and give another --out: they are fitted anew"
        )
    if "teacher" not in said:
        return Components.of(teacher, dense, pca)
    semantics = dataclasses.replace(Components.load(path).semantics, clip=teacher)
    return Components(semantics, weights)


def check_width(pca: Pca, dense: DenseFeatures, name: str, teacher: str) -> None:
    """Refuse components of features of another width.

    Raises:
        CheckpointError: names both widths.
    """
    width = pca.basis.shape[1]
    if width != dense.width:
        raise CheckpointError(
            f"{name} were fitted on features of width {width}, but {teacher!r} gives {dense.width}"
            ": they are of another teacher; name that one, or leave --pca out to fit anew"
        )


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata() or {}


@torch.inference_mode()
def fit_components(
    dense: DenseFeatures,
    images: Iterable[Float[Tensor, "3 H W"]],
    count: int,
    components: int,
    seed: int,
) -> Pca:
    """Components of a sample of features, taken as the images pass by.

    Args:
        dense: the teacher.
        images: RGB in 0..1.
        count: how many images there are: each gives as many vectors as all others.
        components: C.
        seed: which vectors of an image are taken.

    Raises:
        TrainingError: fewer vectors than components.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(dense.parameters()).device
    share = max(1, MOST_SAMPLES // max(count, 1))
    taken = [torch.zeros(0, dense.width)]
    for image in images:
        vectors = dense(image[None].to(device))[0].flatten(1).T
        pick = torch.randperm(len(vectors), generator=generator)[:share]
        taken.append(vectors[pick.to(vectors.device)].float().cpu())
    return Pca.fit(torch.cat(taken), components)
