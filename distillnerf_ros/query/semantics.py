"""What a field's features mean: the teacher's components and the classes' directions in them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from distillnerf_ros.errors import CheckpointError
from distillnerf_ros.query.kinds import Usual
from distillnerf_ros.query.occupancy import OCCUPIED_PROBABILITY
from distillnerf_ros.query.text import DEFAULT_NEGATIVES, embed_prompts, relevancy_of_cosines
from distillnerf_ros.taxonomy import OCC3D_CLASSES, THINGS
from distillnerf_ros.teachers.pca import Pca

TENSORS = ("classes", "negatives", "caution", "occupied_from")
"""What weights hold of `Semantics` beside the components, in its order."""
UNLIKE = 0.3
"""A class name whose cosine to a prompt is lower names something else. Of the shipped CLIP, class
names are at most 0.28 alike, "a tree" and "vegetation" 0.74, "a tall building" and "manmade" 0.42.
Where all texts are more alike than that, as in most pretrained CLIPs (none was run here), no class
name counts."""
ALIKE = 0.7
"""A prompt that is more like a class name than this means the class: "a parked car" is 0.97 alike,
"a tree" 0.74. "a child" (0.56) and "a red car" (0.36) are kinds within one."""

SAME = 0.99
"""Text towers whose class names are more alike than this are one, read in whatever precision."""


@dataclasses.dataclass(frozen=True)
class Semantics:
    """Travels with the weights, so that voxels can be labelled without loading a text tower.

    Attributes:
        clip: which teacher the features were distilled from (see ``teachers.dense``).
        pca: the components that the field carries.
        classes: (17, E) unit vectors of the Occ3D class names; zero, which resembles nothing, of
            a teacher that knows no texts.
        negatives: (M, E) unit vectors of LERF's canonical phrases; zero likewise.
        caution: (17,) logits that are taken off each class name's score: what is often seen where
            it is not must be surer (``distillnerf calibrate``).
        occupied_from: (17,) probability from which a voxel counts as occupied, by the class it
            looks like. The less sure a class is, the lower is the best place to cut (Lipton et
            al. 2014): how far off a crown is, is spread over many voxels, few of which reach 0.5.
        usual: what voxels of each class show, by which kinds within a class are found; None where
            nobody has looked.
    """

    clip: str
    pca: Pca
    classes: Float[Tensor, "17 E"]
    negatives: Float[Tensor, "M E"]
    caution: Float[Tensor, " 17"] = dataclasses.field(
        default_factory=lambda: torch.zeros(len(OCC3D_CLASSES))
    )
    occupied_from: Float[Tensor, " 17"] = dataclasses.field(
        default_factory=lambda: torch.full((len(OCC3D_CLASSES),), OCCUPIED_PROBABILITY)
    )
    usual: Usual | None = None

    @classmethod
    def of(cls, clip: str, pca: Pca, tower: Callable[[Sequence[str]], Tensor]) -> "Semantics":
        """Embed the class names and the canonical phrases with a text tower."""
        classes = embed_prompts(tower, OCC3D_CLASSES)
        return cls(clip, pca, classes, embed_prompts(tower, DEFAULT_NEGATIVES))

    @classmethod
    def without_texts(cls, teacher: str, pca: Pca) -> "Semantics":
        """Of a teacher that knows no texts: features can be asked with other features alone."""
        width = pca.basis.shape[1]
        classes = torch.zeros(len(OCC3D_CLASSES), width)
        return cls(teacher, pca, classes, torch.zeros(len(DEFAULT_NEGATIVES), width))

    @functools.cached_property
    def has_texts(self) -> bool:
        """Whether the features can be asked with words."""
        return bool(self.classes.any())

    def to(self, device: torch.device | str) -> "Semantics":
        """Move every tensor to a device."""
        tensors = {name: getattr(self, name).to(device) for name in TENSORS}
        usual = None if self.usual is None else self.usual.to(device)
        return Semantics(self.clip, self.pca.to(device), usual=usual, **tensors)

    def require(self, tower: Callable[[Sequence[str]], Tensor]) -> None:
        """Make sure that a text tower is the teacher's: other weights may lie under its name.

        Args:
            tower: maps texts to (Q, E) unit vectors.

        Raises:
            CheckpointError: it says of class names what the teacher does not.
        """
        said = embed_prompts(tower, OCC3D_CLASSES).to(self.classes.device)
        if said.shape != self.classes.shape:
            found = f"vectors of {said.shape[1]} numbers, not {self.classes.shape[1]}"
        else:
            alike, worst = F.cosine_similarity(said, self.classes).min(dim=0)
            if alike > SAME:
                return
            found = f"{OCC3D_CLASSES[int(worst)]!r} with a cosine of {alike:.3f}, not over {SAME}"
        raise CheckpointError(
            f"the text tower that {self.clip!r} names here is not the one that these weights were "
            f"distilled from: it says {found}; put that teacher's file back, or load weights that "
            "were distilled from this one"
        )

    def without_caution(self) -> "Semantics":
        """The same with the bare LERF scores."""
        return dataclasses.replace(self, caution=torch.zeros_like(self.caution), usual=None)

    def labels(self, features: Float[Tensor, "*shape C"]) -> UInt8[Tensor, "*shape"]:
        """Occ3D class whose name is nearest to each feature."""
        return self.pca.cosine(features, self.classes).argmax(dim=-1).to(torch.uint8)

    def relevancy(
        self, features: Float[Tensor, "*shape C"], prompts: Float[Tensor, "Q E"]
    ) -> Float[Tensor, "*shape Q"]:
        """LERF score, 0..1, against the canonical phrases and the names of other classes.

        A car resembles "a bus" more than it resembles "an object": what tells them apart is that
        it resembles "car" still more. That raised the mean average precision of the class names
        on unseen streets from 0.428 to 0.442 (weights 2720 steps before the shipped ones).
        A prompt is met with the caution of the class name it resembles most, or with that of the
        average class if it is unlike all of them. A kind within a class of things is also met by
        what stands out from that class (``Usual``).

        Args:
            features: in the components that the field carries.
            prompts: (Q, E) unit vectors.
        """
        others = torch.cat([self.classes, self.negatives])
        like = prompts @ others.T
        against = like < UNLIKE
        against[:, len(self.classes) :] = True
        closest, name = like[:, : len(self.classes)].max(dim=-1)
        caution = torch.where(closest < UNLIKE, self.caution.mean(), self.caution[name])
        cosines = self.pca.cosine(features, torch.cat([prompts, others]))
        positive, negative = cosines.split([len(prompts), len(others)], dim=-1)
        scores = relevancy_of_cosines(positive, negative, against=against, caution=caution)
        if self.usual is None:
            return scores
        kind: Int[Tensor, " Q"] = torch.where(
            (closest >= UNLIKE) & (closest < ALIKE) & (name < THINGS), name, -1
        )
        labels = negative[..., : len(self.classes)].argmax(dim=-1)
        asked = self.pca.asked(prompts)
        return torch.maximum(scores, self.usual.stand_out(positive, asked, kind, labels))
