"""Cells that place samples."""

import pytest
import torch

from distillnerf_ros.scene.proposals import DECAY, ProposalGrid


def grid() -> ProposalGrid:
    made = ProposalGrid((4, 4, 2), (2, 2, 2, 1))
    made.static.zero_()
    made.moving.zero_()
    return made


HERE = torch.tensor([[0.3, 0.6, 0.9]])
EARLY, LATE = torch.tensor([0.1]), torch.tensor([0.9])


def test_the_largest_density_found_is_kept_in_its_cell_and_time():
    cells = grid()
    for static, moving in ((1.0, 5.0), (2.0, 3.0)):
        cells.raise_to(HERE, LATE, torch.tensor([static]), torch.tensor([moving]))
    assert cells.density(HERE, None).item() == 2.0
    assert cells.density(HERE, EARLY).item() == 2.0
    assert cells.density(HERE, LATE).item() == 5.0
    assert cells.density(1 - HERE, LATE).item() == 0.0


def test_nothing_moves_where_nothing_may():
    cells = grid()
    cells.raise_to(HERE, LATE, torch.tensor([1.0]), torch.tensor([5.0]))
    cells.restrict(torch.empty(0, 4, dtype=torch.long))
    assert cells.density(HERE, LATE).item() == 1.0
    assert not cells.may_move(HERE, LATE).item()
    cells.raise_to(HERE, LATE, torch.tensor([1.0]), torch.tensor([5.0]))
    assert cells.density(HERE, LATE).item() == 1.0  # nor can it be taught to


def test_memory_is_taken_where_something_may_move_and_says_what_a_dense_grid_would():
    shape = (9, 10, 7, 3)
    cells = ProposalGrid((4, 4, 2), shape)
    generator = torch.Generator().manual_seed(1)
    unit, share = torch.rand(4000, 3, generator=generator), torch.rand(4000, generator=generator)
    found = torch.rand(4000, generator=generator) + 0.1
    place = [(share * 9).long(), *((unit[:, i] * n).long() for i, n in enumerate(shape[1:]))]
    dense = torch.full(shape, 0.02).view(-1)
    flat = ((place[0] * 10 + place[1]) * 7 + place[2]) * 3 + place[3]
    dense.scatter_reduce_(0, flat, found, "amax")
    cells.raise_to(unit, share, 0 * found, found)
    assert torch.equal(cells.moving.view(-1)[cells.moving_cell(unit, share)], dense[flat])
    chosen = torch.rand(shape, generator=generator) < 0.02
    cells.restrict(chosen.nonzero())
    may = chosen.view(-1)[flat]
    assert torch.equal(cells.may_move(unit, share), may)
    kept = cells.moving.view(-1)[cells.moving_cell(unit, share)]
    assert torch.equal(kept, torch.where(may, dense[flat], 0.0))
    corner = torch.zeros(1, 4, dtype=torch.long)
    cells.restrict(corner)
    assert cells.moving.shape == (2, 256)


def test_a_state_brings_its_own_number_of_blocks():
    cells = grid()
    cells.restrict(torch.tensor([[1, 0, 1, 0]]))
    cells.raise_to(HERE, LATE, torch.tensor([1.0]), torch.tensor([5.0]))
    fresh = ProposalGrid((4, 4, 2), (8, 8, 2, 1))
    with pytest.raises(RuntimeError, match="rows"):
        fresh.load_state_dict(cells.state_dict())
    fresh = grid()
    fresh.load_state_dict(cells.state_dict())
    assert torch.equal(fresh.density(HERE, LATE), cells.density(HERE, LATE))
    assert cells.density(HERE, LATE).item() == 5.0


def test_what_is_not_found_again_fades():
    cells = grid()
    cells.raise_to(HERE, LATE, torch.tensor([1.0]), torch.tensor([0.0]))
    cells.fade()
    assert abs(cells.density(HERE, None).item() - DECAY) < 1e-6


def test_half_of_the_drawn_points_lie_in_dense_cells():
    cells = grid()
    cells.raise_to(HERE, LATE, torch.tensor([1.0]), torch.tensor([0.0]))
    unit, share = cells.draw(100, torch.Generator().manual_seed(0))
    dense = cells.cell(unit) == cells.cell(HERE)
    assert 50 <= int(dense.sum()) < 70
    assert (unit >= 0).all()
    assert (unit < 1).all()
    assert share.shape == (100,)
