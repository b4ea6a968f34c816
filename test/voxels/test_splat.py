"""Mean pooling against a loop."""

import torch

from distillnerf_ros.voxels.splat import splat_mean


def loop_mean(values: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    means = torch.zeros(count, values.shape[1], dtype=values.dtype)
    for row in range(count):
        mine = [v for v, r in zip(values, rows.tolist(), strict=True) if r == row]
        if mine:
            means[row] = sum(mine) / len(mine)
    return means


def test_one_point_is_its_voxel():
    value = torch.tensor([[1.0, -2.0, 3.0]])
    expected = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 3.0]])
    assert (splat_mean(value, torch.tensor([1]), 2) == expected).all()


def test_means_against_a_loop_with_empty_voxels_and_homeless_points():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    rows = torch.randint(0, 31, (200,), generator=generator)
    rows[rows == 7] = 30  # voxel 7 is empty, and row 30 means none
    means = splat_mean(values, rows, 30)
    torch.testing.assert_close(means, loop_mean(values, rows, 30))
    assert (means[7] == 0).all()


def test_order_of_points_does_not_matter():
    values, rows = torch.randn(100, 3, dtype=torch.float64), torch.randint(0, 9, (100,))
    order = torch.randperm(100)
    torch.testing.assert_close(
        splat_mean(values[order], rows[order], 9), splat_mean(values, rows, 9)
    )


def test_no_voxels():
    rows = torch.zeros(4, dtype=torch.long)
    assert splat_mean(torch.randn(4, 3), rows, 0).shape == (0, 3)


def test_gradient_is_one_over_the_number_of_points():
    values = torch.randn(4, 1, requires_grad=True)
    splat_mean(values, torch.tensor([0, 0, 1, 2]), 2).sum().backward()
    assert values.grad[:, 0].tolist() == [0.5, 0.5, 1.0, 0.0]
    double = values.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: splat_mean(v, torch.tensor([0, 0, 1, 2]), 2), double)
