"""Kinds and colours within a class: what stands out from its class towards a prompt.

A red car resembles "a red car" less than it resembles "an object": few of many cars are red, and
features that were learnt from few stay near the mean. What tells it apart is that it resembles the
prompt far more than cars usually do.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

STANDS_OUT = 4.0
"""By so many standard deviations a voxel must be more like the prompt than its class usually is.
In 90 frames "a yellow car" then has a hit in 0.74 of those with one and in none without, "a red
car" in 0.44 and 0.06, "a van" in 0.11 and 0.09; from 3.5 on it would be 0.84 and 0.03, 0.78 and
0.15, 0.51 and 0.30."""
FEWEST = 1000
"""Voxels of a class that its spread is estimated from; fewer tell nothing of what is rare."""


@dataclasses.dataclass(frozen=True)
class Usual:
    """What occupied voxels of each class show, on streets that the network was not trained on.

    Attributes:
        mean: (17, C + 1) of their features (see ``Pca.shown``).
        spread: (17, C + 1, C + 1) square root of their covariance: |asked @ spread| is the
            standard deviation of the class's cosines to a direction. Zero where hardly any were.
    """

    mean: Float[Tensor, "17 D"]
    spread: Float[Tensor, "17 D D"]

    @classmethod
    def of(
        cls,
        count: Int[Tensor, " 17"],
        first: Float[Tensor, "17 D"],
        second: Float[Tensor, "17 D D"],
    ) -> "Usual":
        """From the number of voxels of each class and the sums of x and of x x^T over them."""
        each = count.clamp(min=1).double()
        mean = first.double() / each[:, None]
        covariance = second.double() / each[:, None, None] - mean[:, :, None] * mean[:, None]
        variances, vectors = torch.linalg.eigh(covariance)
        spread = vectors * variances.clamp(min=0).sqrt()[:, None]
        return cls(mean.float(), (spread * (count >= FEWEST)[:, None, None]).float())

    def to(self, device: torch.device | str) -> "Usual":
        """Move both tensors to a device."""
        return Usual(self.mean.to(device), self.spread.to(device))

    def stand_out(
        self,
        cosines: Float[Tensor, "*shape Q"],
        asked: Float[Tensor, "Q D"],
        kind_of: Int[Tensor, " Q"],
        labels: Int[Tensor, "*shape"],
    ) -> Float[Tensor, "*shape Q"]:
        """Score, 0..1, of being of a kind; 0.5 at ``STANDS_OUT``, 0 for what is of another class.

        Args:
            cosines: of features to the prompts.
            asked: the prompts (see ``Pca.asked``).
            kind_of: class within which each prompt is a kind; -1 = none.
            labels: class of each feature.
        """
        mean = (self.mean[kind_of] * asked).sum(dim=-1)
        deviation = (asked[:, None] @ self.spread[kind_of])[:, 0].norm(dim=-1)
        known: Bool[Tensor, "*shape Q"] = (labels[..., None] == kind_of) & (deviation > 0)
        score = torch.sigmoid((cosines - mean) / deviation.clamp(min=1e-6) - STANDS_OUT)
        return torch.where(known, score, 0.0)
