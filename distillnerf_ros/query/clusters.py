"""Groups hit points into things: connected cells and their boxes."""

import itertools

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from distillnerf_ros.errors import QueryError
from distillnerf_ros.query.hits import Cluster, Hits

CELL_M = 0.5
"""Edge of the cells that are connected; a little more than an Occ3D voxel."""

# One of each pair of opposite neighbours among the 26.
_FORWARD = [o for o in itertools.product((-1, 0, 1), repeat=3) if o > (0, 0, 0)]


def cells_of(points_m: Float[Tensor, "P 3"], cell_m: float = CELL_M) -> Int[Tensor, "P 3"]:
    """Integer cell of each point."""
    return torch.floor(points_m / cell_m).long()


def label_components(cells: Int[Tensor, "P 3"]) -> Int[Tensor, " P"]:
    """Number the connected components (26-neighbourhood) of a set of cells.

    Args:
        cells: (P, 3) integer cells; a cell may appear more than once.

    Returns:
        (P,) component of each cell, from 0, in the order of first appearance.
    """
    if len(cells) == 0:
        return torch.zeros(0, dtype=torch.long, device=cells.device)
    coords = cells.cpu().numpy()
    coords = coords - coords.min(0) + 1  # neighbours of the border stay inside
    shape = coords.max(0) + 2
    keys = np.ravel_multi_index(tuple(coords.T), tuple(shape))
    unique, inverse = np.unique(keys, return_inverse=True)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    rows, cols = [], []
    for offset in _FORWARD:
        wanted = unique + int(np.dot(offset, strides))
        at = np.searchsorted(unique, wanted).clip(max=len(unique) - 1)
        found = np.flatnonzero(unique[at] == wanted)
        rows.append(found)
        cols.append(at[found])
    row, col = np.concatenate(rows), np.concatenate(cols)
    graph = coo_matrix((np.ones(len(row), bool), (row, col)), shape=(len(unique), len(unique)))
    labels = connected_components(graph, directed=False)[1][inverse]
    _, first, order = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return torch.from_numpy(rank[order]).to(cells.device)


def find_clusters(
    points_m: Float[Tensor, "P 3"],
    scores: Float[Tensor, "P Q"],
    threshold: float,
    cell_m: float = CELL_M,
) -> tuple[Cluster, ...]:
    """Group, for every prompt, the points whose score reaches the threshold.

    Args:
        points_m: (P, 3) points in any one frame.
        scores: (P, Q) score of each point for each prompt.
        threshold: least score of a hit.
        cell_m: points in the same or touching cells of this edge belong together.

    Returns:
        Clusters, best score first. A box reaches from the lowest to the highest point, plus half a
        cell on each side.
    """
    clusters = []
    for prompt in range(scores.shape[1]):
        hit = scores[:, prompt] >= threshold
        points, values = points_m[hit], scores[hit, prompt]
        labels = label_components(cells_of(points, cell_m))
        for label in range(int(labels.max()) + 1 if len(labels) else 0):
            mine = labels == label
            clusters.append(_cluster(prompt, points[mine], values[mine], cell_m))
    return tuple(sorted(clusters, key=lambda c: (-c.score, c.prompt, c.center_m)))


def _cluster(
    prompt: int, points_m: Float[Tensor, "K 3"], scores: Float[Tensor, " K"], cell_m: float
) -> Cluster:
    low, high = points_m.amin(0), points_m.amax(0)
    x, y, z = ((low + high) / 2).tolist()
    length, width, height = (high - low + cell_m).tolist()
    return Cluster(prompt, (x, y, z), (length, width, height), float(scores.mean()), len(points_m))


def gather_hits(
    prompts: tuple[str, ...],
    points_m: Float[Tensor, "P 3"],
    scores: Float[Tensor, "P Q"],
    probability: Float[Tensor, " P"],
    threshold: float,
    cell_m: float = CELL_M,
) -> Hits:
    """Keep the points that reach the threshold for some prompt, and group them.

    Args:
        prompts: Q texts.
        points_m: (P, 3) candidate points, ego frame.
        scores: (P, Q) score of each point for each prompt.
        probability: (P,) probability that the point is occupied.
        threshold: least score of a hit, 0..1; nothing above it gives empty hits, not an error.
        cell_m: see ``find_clusters``.

    Raises:
        QueryError: the threshold is outside 0..1.
    """
    if not 0 <= threshold <= 1:  # NaN, too, is not inside
        raise QueryError(f"threshold {threshold}; scores are from 0 to 1, expected one of these")
    keep = (scores >= threshold).any(dim=1)
    clusters = find_clusters(points_m[keep], scores[keep], threshold, cell_m)
    best = scores.amax(0) if len(scores) else scores.new_full((len(prompts),), torch.nan)
    return Hits(prompts, points_m[keep], scores[keep], probability[keep], clusters, best)
