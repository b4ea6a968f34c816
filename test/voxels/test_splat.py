"""Mean pooling against a loop."""

import torch

from distillnerf_ros.voxels.splat import splat_mean


def loop_mean(
    table: torch.Tensor, index: torch.Tensor, weights: torch.Tensor, rows: torch.Tensor, count: int
) -> torch.Tensor:
    means = torch.zeros(count, table.shape[1], dtype=table.dtype)
    for row in range(count):
        points = (rows == row).nonzero()[:, 0].tolist()
        if points:
            means[row] = sum(weights[p] * table[index[p]] for p in points) / len(points)
    return means


def some_points(count: int, voxels: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(count // 4, 5, generator=generator, dtype=torch.float64)
    index = torch.randint(0, len(table), (count,), generator=generator)
    weights = torch.rand(count, generator=generator, dtype=torch.float64)
    return table, index, weights, torch.randint(0, voxels + 1, (count,), generator=generator)


def test_one_point_is_its_voxel():
    table = torch.tensor([[9.0, 9.0, 9.0], [1.0, -2.0, 3.0]])
    expected = torch.tensor([[0.0, 0.0, 0.0], [0.5, -1.0, 1.5]])
    one = torch.tensor([1])
    assert (splat_mean(table, one, torch.tensor([0.5]), one, 2) == expected).all()


def test_means_against_a_loop_with_empty_voxels_and_homeless_points():
    table, index, weights, rows = some_points(200, 30)
    rows[rows == 7] = 30  # voxel 7 is empty, and row 30 means none
    means = splat_mean(table, index, weights, rows, 30)
    torch.testing.assert_close(means, loop_mean(table, index, weights, rows, 30))
    assert (means[7] == 0).all()


def test_order_of_points_does_not_matter():
    table, *points = some_points(100, 9)
    order = torch.randperm(100)
    torch.testing.assert_close(
        splat_mean(table, *(part[order] for part in points), 9), splat_mean(table, *points, 9)
    )


def test_no_voxels():
    table, index, weights, _ = some_points(4, 9)
    rows = torch.zeros(4, dtype=torch.long)
    assert splat_mean(table, index, weights, rows, 0).shape == (0, 5)


def test_no_points():
    none = torch.zeros(0, dtype=torch.long)
    assert (splat_mean(torch.ones(3, 2), none, torch.zeros(0), none, 4) == torch.zeros(4, 2)).all()


def test_gradients():
    table, index, weights, rows = some_points(12, 3)
    table.requires_grad_()
    weights.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda t, w: splat_mean(t, index, w, rows, 3), (table, weights)
    )
