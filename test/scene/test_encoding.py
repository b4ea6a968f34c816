"""Simplices and tables, against linear functions and loops."""

import pytest
import torch

from distillnerf_ros.scene.encoding import SimplexGrid, gather_sum, simplex


@pytest.mark.parametrize("dims", [3, 4])
def test_weights_are_barycentric(dims):
    position = torch.rand(dims, 200) * 7
    corners, weights = simplex(position)
    assert corners.shape == (dims + 1, dims, 200)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(0), torch.ones(200))
    torch.testing.assert_close((corners * weights[:, None]).sum(0), position)


def test_ties_step_through_distinct_corners():
    corners, weights = simplex(torch.tensor([[0.5], [0.5], [0.5]]))
    assert corners.sum(1)[:, 0].tolist() == [0, 1, 2, 3]
    assert weights[:, 0].tolist() == [0.5, 0, 0, 0.5]


def test_a_grid_with_rows_of_its_own_holds_linear_functions_exactly():
    grid = SimplexGrid([(4, 3, 2)], rows=1 << 10, channels=1)
    z, y, x = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(5), indexing="ij")
    grid.table.data = (2.0 * x - y + 3.0 * z + 1).reshape(-1, 1)
    unit = torch.rand(100, 3)
    expected = 8 * unit[:, 0] - 3 * unit[:, 1] + 6 * unit[:, 2] + 1
    torch.testing.assert_close(grid(unit)[:, 0], expected)


def test_levels_answer_side_by_side():
    grid = SimplexGrid([(2, 2, 2), (8, 8, 8)], rows=1 << 6, channels=3)
    grid.table.data[:27] = 1.0
    grid.table.data[27:] = 2.0
    assert grid.width == 6
    torch.testing.assert_close(grid(torch.rand(5, 3)), torch.tensor([[1.0] * 3 + [2.0] * 3] * 5))


def test_gather_sum_has_the_gradients_of_a_plain_sum():
    table = torch.rand(11, 2, dtype=torch.float64, requires_grad=True)
    index = torch.randint(11, (7, 4))
    weights = torch.rand(7, 4, dtype=torch.float64, requires_grad=True)
    plain = (table[index] * weights[..., None]).sum(1)
    torch.testing.assert_close(gather_sum(table, index, weights), plain)
    assert torch.autograd.gradcheck(lambda t, w: gather_sum(t, index, w), (table, weights))


def test_gradients_next_to_nothing_are_not_scattered_and_what_is_no_number_is():
    table = torch.rand(9, 2, requires_grad=True)
    index, weights = torch.arange(9).reshape(3, 3), torch.full((3, 3), 0.5, requires_grad=True)
    grad = torch.tensor([[1.0, 2.0], [0.0, 1e-3], [3.0, 0.0]])
    gather_sum(table, index, weights).backward(grad)
    expected = 0.5 * grad * torch.tensor([[1.0], [0.0], [1.0]])
    torch.testing.assert_close(table.grad, expected.repeat_interleave(3, dim=0))
    assert weights.grad.bool().tolist() == [[True] * 3, [False] * 3, [True] * 3]
    table.grad = None
    grad[1, 0] = torch.nan
    gather_sum(table, index, weights).backward(grad)
    assert table.grad[3:6, 0].isnan().all()
    torch.testing.assert_close(table.grad[:3], expected[:1].repeat(3, 1))


def test_no_point_has_no_gradient():
    table = torch.rand(9, 2, requires_grad=True)
    nothing = torch.zeros(0, 3)
    gather_sum(table, nothing.int(), nothing).sum().backward()
    assert not table.grad.any()


def test_beyond_the_cube_the_border_answers():
    grid = SimplexGrid([(4, 4, 4)], rows=1 << 8, channels=2)
    beyond, border = torch.tensor([[-1.0, 0.5, 2.0]]), torch.tensor([[0.0, 0.5, 1.0]])
    torch.testing.assert_close(grid(beyond), grid(border))
