"""Answers of a query: points that match, and the things they form."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Connected hits of one prompt.

    Attributes:
        prompt: index of the prompt.
        center_m: centre of the axis-aligned box, metres in the frame of the points.
        size_m: edges of the box along x, y and z.
        score: mean score of its points, 0..1.
        count: number of points.
    """

    prompt: int
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    score: float
    count: int


@dataclasses.dataclass(frozen=True)
class Hits:
    """Points that match at least one of Q prompts.

    Attributes:
        prompts: the texts (or names of query features) that were asked.
        points_m: (P, 3) points, ego frame.
        scores: (P, Q) score of each point for each prompt, 0..1.
        probability: (P,) probability that the point is occupied, 0..1.
        clusters: groups of points per prompt, best first.
        best: (Q,) best score of each prompt among all occupied points, under the threshold too;
            NaN where nothing is occupied.
    """

    prompts: tuple[str, ...]
    points_m: Float[Tensor, "P 3"]
    scores: Float[Tensor, "P Q"]
    probability: Float[Tensor, " P"]
    clusters: tuple[Cluster, ...]
    best: Float[Tensor, " Q"]

    @classmethod
    def none(cls) -> "Hits":
        """What there is where nothing is asked."""
        zero = torch.zeros(0)
        return cls((), zero.reshape(0, 3), zero.reshape(0, 0), zero, (), zero)
