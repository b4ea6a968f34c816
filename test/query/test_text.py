"""Relevancy against LERF's formula written out."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F

from distillnerf_ros.errors import QueryError
from distillnerf_ros.query.text import (
    TEMPLATES,
    embed_prompts,
    relevancy,
    relevancy_in_pca,
)
from distillnerf_ros.teachers.pca import Pca


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def lerf(feature: torch.Tensor, positive: torch.Tensor, negatives: torch.Tensor) -> float:
    """Min over negatives of softmax(10 [cos_pos, cos_neg])[0], as written in the paper."""
    pairs = [torch.stack([feature @ positive, feature @ n]) for n in negatives]
    return min(float(torch.softmax(10 * pair, dim=0)[0]) for pair in pairs)


def test_equals_the_formula() -> None:
    features, positives, negatives = unit(5, 8), unit(3, 8, seed=1), unit(4, 8, seed=2)
    scores = relevancy(features, positives, negatives)
    expected = [[lerf(f, p, negatives) for p in positives] for f in features]
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_a_prompt_equal_to_its_only_negative_is_neutral() -> None:
    prompt = unit(1, 8)
    torch.testing.assert_close(
        relevancy(unit(7, 8, seed=3), prompt, prompt), torch.full((7, 1), 0.5)
    )


def test_length_of_a_feature_does_not_matter() -> None:
    features, positives, negatives = unit(5, 8), unit(3, 8, seed=1), unit(4, 8, seed=2)
    torch.testing.assert_close(
        relevancy(7 * features, positives, negatives), relevancy(features, positives, negatives)
    )


@pytest.mark.parametrize("components", [3, 8])
def test_in_pca_equals_reconstruct_then_ask(components: int) -> None:
    pca = Pca.fit(unit(100, 8) + 0.5, components)
    coordinates = pca.project(unit(2, 6, 8, seed=5))
    positives, negatives = unit(3, 8, seed=1), unit(4, 8, seed=2)
    torch.testing.assert_close(
        relevancy_in_pca(coordinates, pca, positives, negatives),
        relevancy(pca.reconstruct(coordinates), positives, negatives),
    )


def test_wordings_of_a_prompt_are_averaged() -> None:
    vectors: dict[str, torch.Tensor] = {}

    def tower(texts: Sequence[str]) -> torch.Tensor:
        for text in texts:
            vectors.setdefault(text, unit(8, seed=len(vectors)))
        return torch.stack([vectors[t] for t in texts])

    embedded = embed_prompts(tower, ["bus", " tree "])
    assert set(vectors) == {t.format(p) for t in TEMPLATES for p in ("bus", "tree")}
    mean = sum(vectors[t.format("tree")] for t in TEMPLATES)
    torch.testing.assert_close(embedded[1], mean / mean.norm())


@pytest.mark.parametrize("prompts", [[], [""], ["bus", "  "], "bus"])
def test_empty_prompts_are_refused(prompts: Sequence[str]) -> None:
    with pytest.raises(QueryError, match="expected a list of texts"):
        embed_prompts(lambda texts: unit(len(texts), 8), prompts)
