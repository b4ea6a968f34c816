"""Cells that place samples."""

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
    cells.restrict(torch.zeros_like(cells.candidate))
    assert cells.density(HERE, LATE).item() == 1.0
    assert not cells.may_move(HERE, LATE).item()


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
