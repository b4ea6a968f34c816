"""Clusters against a flood fill, boxes in closed form."""

import itertools

import pytest
import torch

from distillnerf_ros.errors import QueryError
from distillnerf_ros.query.clusters import (
    cells_of,
    find_clusters,
    gather_hits,
    label_components,
)


def flood_fill(cells: torch.Tensor) -> list[int]:
    """Obvious oracle: grow each component from its first cell."""
    coords = [tuple(c) for c in cells.tolist()]
    labels: dict[tuple[int, ...], int] = {}
    for start in coords:
        if start in labels:
            continue
        label = len(set(labels.values()))
        stack = [start]
        while stack:
            here = stack.pop()
            if here in labels or here not in coords:
                continue
            labels[here] = label
            steps = itertools.product((-1, 0, 1), repeat=3)
            stack += [tuple(h + s for h, s in zip(here, step, strict=True)) for step in steps]
    return [labels[c] for c in coords]


@pytest.mark.parametrize("count", [1, 2, 30, 120])
def test_components_equal_flood_fill(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    cells = torch.randint(-6, 6, (count, 3), generator=generator)
    assert label_components(cells).tolist() == flood_fill(cells)


def test_no_cell_no_component() -> None:
    assert label_components(torch.zeros(0, 3, dtype=torch.long)).shape == (0,)


def test_cells_at_opposite_borders_do_not_touch() -> None:
    # One row's end and the next row's start are neighbours in memory, not in space.
    cells = torch.tensor([[0, 0, 9], [0, 1, 0], [0, 3, 9], [1, 0, 0]])
    assert label_components(cells).tolist() == [0, 1, 2, 1]


def test_negative_points_fall_into_lower_cells() -> None:
    points = torch.tensor([[-0.1, 0.1, 0.5]])
    assert cells_of(points, 0.5).tolist() == [[-1, 0, 1]]


def test_two_things_of_one_prompt_have_their_boxes() -> None:
    points = torch.tensor([[0.25, 0.25, 0.25], [0.75, 0.25, 0.25], [8.25, 0.25, 1.25]])
    scores = torch.tensor([[0.9, 0.1], [0.7, 0.1], [0.95, 0.65]])
    clusters = find_clusters(points, scores, threshold=0.6, cell_m=0.5)
    assert [c.prompt for c in clusters] == [0, 0, 1]
    single, pair, other = clusters
    assert single.center_m == (8.25, 0.25, 1.25)
    assert single.size_m == (0.5, 0.5, 0.5)
    assert pair.center_m == (0.5, 0.25, 0.25)
    assert pair.size_m == (1.0, 0.5, 0.5)
    assert pair.count == 2
    assert pair.score == pytest.approx(0.8)
    assert other.score == pytest.approx(0.65)


def test_hits_keep_points_of_any_prompt() -> None:
    points = torch.arange(9.0).reshape(3, 3)
    scores = torch.tensor([[0.7, 0.0], [0.2, 0.3], [0.0, 0.8]])
    hits = gather_hits(("a", "b"), points, scores, torch.tensor([0.5, 0.6, 0.7]), 0.6)
    torch.testing.assert_close(hits.points_m, points[[0, 2]])
    torch.testing.assert_close(hits.probability, torch.tensor([0.5, 0.7]))
    assert len(hits.clusters) == 2


def test_nothing_above_the_threshold_gives_empty_hits() -> None:
    hits = gather_hits(("a",), torch.rand(4, 3), torch.zeros(4, 1), torch.rand(4), 0.6)
    assert hits.points_m.shape == (0, 3)
    assert hits.clusters == ()


@pytest.mark.parametrize("threshold", [float("nan"), 5.0, -0.1])
def test_a_threshold_that_is_no_score_is_refused(threshold):
    with pytest.raises(QueryError, match="expected one of these"):
        gather_hits(("a",), torch.rand(4, 3), torch.zeros(4, 1), torch.rand(4), threshold)
