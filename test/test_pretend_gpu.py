"""The pretended GPU takes what a GPU takes, and refuses what a GPU refuses."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

THREE = torch.arange(3.0)
LOCK = Path(__file__).parents[1] / "requirements" / "base.txt"


def test_the_locked_pytorch_can_pretend():
    """With another one everything that asks for the device is skipped."""
    locked = f"torch=={torch.__version__.partition('+')[0]}" in LOCK.read_text().split()
    if not locked:
        pytest.skip(f"torch {torch.__version__} is not that of {LOCK.name}")
    assert importlib.import_module("pretend_gpu").DEVICE.type == "pretend"


def test_what_moves_there_computes_there_and_comes_back(gpu):
    layer = torch.nn.Linear(3, 2).to(gpu)
    out = layer(torch.ones(5, 3, device=gpu)).square().mean()
    out.backward()
    assert {t.device for t in (out, *layer.parameters(), layer.weight.grad)} == {gpu}
    assert all(isinstance(p, torch.nn.Parameter) for p in layer.parameters())
    before = layer.weight.detach().cpu().clone()
    torch.optim.AdamW(layer.parameters(), lr=0.1).step()
    assert not torch.equal(layer.weight.detach().cpu(), before)


def test_views_and_work_in_place_share_memory(gpu):
    whole = torch.zeros(4, device=gpu)
    whole[1:3] += 1
    whole[torch.tensor([True, False, False, False])] = 7  # a mask may lie on the CPU
    assert whole.tolist() == [7, 1, 1, 0]
    assert whole[1:3].device == gpu


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    "mix",
    [
        lambda there: there + THREE,
        lambda there: torch.cat([there, THREE]),
        lambda there: THREE[there.long()],
        lambda there: torch.nn.functional.linear(there, torch.eye(3)),
        lambda there: THREE.clone().index_put_((there.long(),), torch.tensor(1.0)),
    ],
)
def test_two_devices_do_not_mix(gpu, mix, inference):
    with torch.inference_mode(inference), pytest.raises(RuntimeError, match="on two devices"):
        mix(torch.zeros(3, device=gpu))


def test_numbers_of_the_host_join_and_masks_of_it_choose(gpu):
    there = THREE.to(gpu)
    assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4]
    assert there[torch.tensor([2, 0])].tolist() == [2, 0]
    assert there.new_tensor([1.5]).device == torch.tensor([1.5], device=gpu).device == gpu


@pytest.mark.parametrize("read", [np.asarray, lambda tensor: tensor.numpy()])
def test_numpy_reads_nothing_there(gpu, read):
    with pytest.raises(TypeError, match="to numpy"):
        read(torch.zeros(3, device=gpu))


def test_integers_have_no_matrix_product(gpu):
    whole = torch.ones(2, 2, dtype=torch.long)
    assert (whole @ whole).sum() == 8
    with pytest.raises(RuntimeError, match=r"mm is not implemented for torch\.int64"):
        whole.to(gpu) @ whole.to(gpu)


def test_chance_of_the_host_is_drawn_on_the_host(gpu):
    chance = torch.Generator().manual_seed(0)
    with pytest.raises(RuntimeError, match="a generator of the CPU"):
        torch.rand(3, generator=chance, device=gpu)
    with pytest.raises(RuntimeError, match="a generator of the CPU"):
        torch.zeros(3, device=gpu).uniform_(generator=chance)
    assert torch.rand(3, generator=chance).to(gpu).device == gpu
