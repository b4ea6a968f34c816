"""What of one field is what of another, by their features: keypoints and labels are carried over.

After FeatureNeRF (Ye et al. 2023): a point is found again where the most similar feature is, and
takes the label that the most similar points carry. Both fields' features must be in the same
teacher's components, but they may be of other moments, other streets, a glance or a fitted scene.
"""

import dataclasses

import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.errors import QueryError
from distillnerf_ros.teachers.pca import Pca

NEIGHBORS = 9
"""Labelled points that vote for a label."""
MOST_EXAMPLES = 2000
"""Labelled points per label that are compared; of more, so many by chance, the same each time."""
_CHUNK = 1 << 24
"""Cosines that are held at a time: 64 MB."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Where something is, and what it looks like there.

    Attributes:
        points_m: (P, 3) centres of what holds something, in the frame of their field.
        features: (P, C) in the teacher's components.
    """

    points_m: Float[Tensor, "P 3"]
    features: Float[Tensor, "P C"]

    def nearest(self, points_m: Float[Tensor, "K 3"]) -> Int[Tensor, " K"]:
        """The place next to each point.

        Raises:
            QueryError: there is no place at all.
        """
        if not len(self.points_m):
            raise QueryError("nothing is there to point at: no cell holds anything")
        return torch.cdist(points_m, self.points_m).argmin(dim=1)


@dataclasses.dataclass(frozen=True)
class Matches:
    """Where K keypoints are found again.

    Attributes:
        points_m: (K, 3) the most similar place, in the frame of the field that was searched.
        scores: (K,) cosine of both features, -1..1.
        return_m: (K,) how far from the keypoint the way back ends, which asks where in the first
            field the place found looks most like. Much more than a cell: something else looks
            as much like it.
    """

    points_m: Float[Tensor, "K 3"]
    scores: Float[Tensor, " K"]
    return_m: Float[Tensor, " K"]


@dataclasses.dataclass(frozen=True)
class Carried:
    """Labels that P places take over.

    Attributes:
        labels: (P,) of the examples that are most alike; -1 where nothing is alike enough.
        scores: (P,) mean cosine of those that voted for it, -1..1, whether enough or not.
    """

    labels: Int[Tensor, " P"]
    scores: Float[Tensor, " P"]


def match_keypoints(
    keypoints_m: Float[Tensor, "K 3"], first: Places, second: Places, pca: Pca
) -> Matches:
    """Find points of one field in another (FeatureNeRF's 3D keypoint transfer).

    Args:
        keypoints_m: in the frame of the first field; each stands for the place next to it.
        first: where they are.
        second: where they are looked for.
        pca: the components of both.

    Raises:
        QueryError: nothing is in one of the fields.
    """
    if not len(second.points_m):
        raise QueryError("nothing is there to be found: no cell of the other field holds anything")
    chosen = first.nearest(keypoints_m)
    scores, found = _most_alike(first.features[chosen], second.features, pca, 1)
    _, back = _most_alike(second.features[found[:, 0]], first.features, pca, 1)
    apart = first.points_m[back[:, 0]] - first.points_m[chosen]
    return Matches(second.points_m[found[:, 0]], scores[:, 0], apart.norm(dim=-1))


def carry_labels(
    examples: Float[Tensor, "S C"],
    labels: Int[Tensor, " S"],
    features: Float[Tensor, "P C"],
    pca: Pca,
    least: float,
) -> Carried:
    """Labels of the most similar examples (FeatureNeRF's part-label transfer, by a vote).

    Args:
        examples: features of places whose labels are known.
        labels: theirs, from 0.
        features: of places whose labels are asked for.
        pca: the components of all.
        least: cosine from which on a place is enough like those that vote for it.

    Raises:
        QueryError: there is no example.
    """
    if not len(examples):
        raise QueryError("no example: nothing that carries a label holds anything")
    kept = _some_of_each(labels)
    examples, labels = examples[kept], labels[kept]
    count = int(labels.max()) + 1
    scores, found = _most_alike(features, examples, pca, min(NEIGHBORS, len(examples)))
    voters = labels[found]
    votes = torch.zeros(len(features), count, device=features.device)
    sums = votes.scatter_add(1, voters, scores)
    votes = votes.scatter_add(1, voters, torch.ones_like(scores))
    # Of labels with as many votes the one whose voters are more alike.
    best = (votes + sums / (NEIGHBORS + 1)).argmax(dim=1)
    score = (sums / votes.clamp(min=1)).gather(1, best[:, None])[:, 0]
    return Carried(torch.where(score >= least, best, -1), score)


def _most_alike(
    features: Float[Tensor, "P C"], among: Float[Tensor, "S C"], pca: Pca, count: int
) -> tuple[Float[Tensor, "P count"], Int[Tensor, "P count"]]:
    """Cosines and rows of those that are most like each feature, best first."""
    known = pca.asked(pca.reconstruct(among)).T
    parts = pca.shown(features).split(max(1, _CHUNK // len(among)))
    best = [(part @ known).topk(count, dim=1) for part in parts]
    return torch.cat([b.values for b in best]), torch.cat([b.indices for b in best])


def _some_of_each(labels: Int[Tensor, " S"]) -> Int[Tensor, " K"]:
    """Rows of at most ``MOST_EXAMPLES`` of each label."""
    chance = torch.Generator().manual_seed(0)
    order = torch.randperm(len(labels), generator=chance).to(labels.device)
    rows = [order[labels[order] == label][:MOST_EXAMPLES] for label in labels.unique()]
    return torch.cat(rows)
