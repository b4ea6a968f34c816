"""Keypoints and labels go where the likeness is: by hand, and against a slow search."""

import pytest
import torch

from distillnerf_ros.errors import QueryError
from distillnerf_ros.query import correspondence as module
from distillnerf_ros.query.correspondence import Places, carry_labels, match_keypoints
from distillnerf_ros.teachers.pca import Pca

WIDTH, COMPONENTS = 8, 5


@pytest.fixture
def pca() -> Pca:
    basis = torch.linalg.qr(torch.randn(WIDTH, COMPONENTS))[0].T.contiguous()
    return Pca(0.3 * torch.randn(WIDTH), basis, torch.ones(COMPONENTS), 1.0)


def places(count: int) -> Places:
    return Places(10 * torch.randn(count, 3), torch.randn(count, COMPONENTS))


def cosines(one: torch.Tensor, other: torch.Tensor, pca: Pca) -> torch.Tensor:
    """One pair at a time, in the teacher's own space."""
    return torch.tensor(
        [
            [torch.cosine_similarity(pca.reconstruct(a), pca.reconstruct(b), dim=0) for b in other]
            for a in one
        ]
    )


def test_keypoints_are_found_where_the_likeness_is(pca, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 64)  # several parts
    first, second = places(30), places(20)
    keypoints = first.points_m[[3, 17, 4]] + 0.01
    got = match_keypoints(keypoints, first, second, pca)
    like = cosines(first.features[[3, 17, 4]], second.features, pca)
    torch.testing.assert_close(got.scores, like.amax(dim=1))
    assert torch.equal(got.points_m, second.points_m[like.argmax(dim=1)])
    back = cosines(second.features[like.argmax(dim=1)], first.features, pca).argmax(dim=1)
    apart = (first.points_m[back] - first.points_m[[3, 17, 4]]).norm(dim=1)
    torch.testing.assert_close(got.return_m, apart)


def test_a_field_that_moved_is_found_where_it_moved_to(pca):
    first = places(40)
    order = torch.randperm(40)
    second = Places(first.points_m[order] + torch.tensor([5.0, 0, 0]), first.features[order])
    got = match_keypoints(first.points_m[:7], first, second, pca)
    torch.testing.assert_close(got.points_m, first.points_m[:7] + torch.tensor([5.0, 0, 0]))
    torch.testing.assert_close(got.scores, torch.ones(7))
    assert not got.return_m.any()


def test_the_way_back_of_what_looks_like_something_else_ends_there(pca):
    """The keypoint's own place looks a little less like what is found than another one does."""
    first = Places(torch.tensor([[0.0, 0, 0], [0, 3.0, 4.0]]), torch.eye(COMPONENTS)[:2])
    second = Places(torch.ones(1, 3), torch.tensor([[0.4, 0.6, 0, 0, 0]]))
    got = match_keypoints(torch.zeros(1, 3), first, second, pca)
    assert got.return_m.item() == pytest.approx(5.0)


def test_labels_are_voted_for_by_the_most_alike(pca, monkeypatch):
    monkeypatch.setattr(module, "NEIGHBORS", 3)
    kinds = torch.eye(COMPONENTS)[:3] * 4
    examples = kinds.repeat_interleave(6, dim=0) + 0.1 * torch.randn(18, COMPONENTS)
    labels = torch.arange(3).repeat_interleave(6)
    features = kinds[[2, 0, 1]] + 0.1 * torch.randn(3, COMPONENTS)
    got = carry_labels(examples, labels, features, pca, least=0.5)
    assert got.labels.tolist() == [2, 0, 1]
    like = cosines(features, examples, pca)
    torch.testing.assert_close(got.scores, like.topk(3, dim=1).values.mean(dim=1))


def test_one_wrong_example_is_outvoted_and_ties_go_to_the_more_alike(pca, monkeypatch):
    feature = torch.tensor([[3.0, 0, 0, 0, 0]])
    near, nearer = feature + 0.3 * torch.eye(COMPONENTS)[1], feature
    monkeypatch.setattr(module, "NEIGHBORS", 3)
    examples, labels = torch.cat([nearer, near, near]), torch.tensor([1, 0, 0])
    assert carry_labels(examples, labels, feature, pca, 0.0).labels.item() == 0
    assert carry_labels(examples[:2], labels[:2], feature, pca, 0.0).labels.item() == 1


def test_what_resembles_no_example_has_no_label(pca):
    examples, labels = torch.randn(1, COMPONENTS), torch.zeros(1, dtype=torch.long)
    unlike = -3 * examples
    got = carry_labels(examples, labels, unlike, pca, least=0.9)
    assert got.labels.item() == -1
    assert got.scores.item() == pytest.approx(cosines(unlike, examples, pca).item(), abs=1e-5)


def test_of_many_examples_some_of_each_label_are_asked(monkeypatch):
    monkeypatch.setattr(module, "MOST_EXAMPLES", 4)
    labels = torch.tensor([0] * 50 + [7] * 3)
    kept = module._some_of_each(labels)
    assert labels[kept].tolist().count(0) == 4
    assert labels[kept].tolist().count(7) == 3
    assert len(kept.unique()) == 7


def test_where_nothing_is_nothing_can_be_pointed_at(pca):
    nothing, something = places(0), places(3)
    with pytest.raises(QueryError, match="nothing is there to point at"):
        match_keypoints(torch.zeros(1, 3), nothing, something, pca)
    with pytest.raises(QueryError, match="nothing is there to be found"):
        match_keypoints(torch.zeros(1, 3), something, nothing, pca)
    with pytest.raises(QueryError, match="no example"):
        carry_labels(
            nothing.features, torch.zeros(0, dtype=torch.long), something.features, pca, 0.0
        )
