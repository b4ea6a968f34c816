"""The verb: a folder that resumes, data-parallel work, messages."""

import argparse
import dataclasses
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distillnerf_ros.checkpoint import load_checkpoint
from distillnerf_ros.errors import ConfigError, TrainingError
from distillnerf_ros.training.train import add_arguments, loss_weights, run, train
from distillnerf_ros.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent))
from test_trainer import ground_glance, make_trainer

SCRIPT = """
import os, sys
sys.path[:0] = [{here!r}, {root!r}]
import torch
from safetensors.torch import save_file
from test_trainer import ground_glance, make_trainer
from distillnerf_ros.training.distributed import Processes
processes = Processes.join(torch.device("cpu"))
trainer = make_trainer()
trainer.processes = processes
batch = [ground_glance(), ground_glance()]
batch[1].rig.images.mul_(-1).add_(1)
share = batch if processes.count == 1 else [batch[processes.rank]]
for _ in range(2):
    trainer.train_step(share)
if processes.first:
    state = {{k: v.contiguous() for k, v in trainer.model.state_dict().items()}}
    save_file(state, sys.argv[1])
processes.leave()
"""


def weights_after(tmp_path: Path, processes: int) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    here = Path(__file__).parent
    script = tmp_path / "work.py"
    script.write_text(SCRIPT.format(here=str(here), root=str(here.parents[1])))
    out = tmp_path / f"{processes}.safetensors"
    command = [sys.executable, str(script), str(out)]
    if processes > 1:
        command[1:1] = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
        ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(out)


def test_two_processes_learn_what_one_with_the_double_batch_does(tmp_path: Path) -> None:
    alone, together = weights_after(tmp_path, 1), weights_after(tmp_path, 2)
    for key, value in alone.items():
        if value.is_floating_point():
            torch.testing.assert_close(together[key], value, rtol=1e-5, atol=1e-7, msg=key)


class Glances(torch.utils.data.Dataset):
    """The same glance under many numbers."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int):
        return dataclasses.replace(ground_glance(), name=f"number {index}")


def test_a_run_leaves_weights_curve_and_pictures_and_goes_on(tmp_path: Path) -> None:
    whole, first, second = make_trainer(), make_trainer(), make_trainer()
    for trainer in (whole, first, second):
        trainer.schedule = dataclasses.replace(trainer.schedule, steps=6, save_every=3)
    train(whole, Glances(), tmp_path / "whole", None, workers=0)

    def give_up(share, image_share):
        if first.step == 4:
            raise KeyboardInterrupt
        return type(first).train_step(first, share, image_share)

    first.train_step = give_up  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(first, Glances(), tmp_path / "cut", None, workers=0)
    train(second, Glances(), tmp_path / "cut", None, workers=0)
    assert second.step == 6
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    assert (tmp_path / "cut" / "pictures" / "glance_000003.png").stat().st_size > 1000
    loaded = load_checkpoint(str(tmp_path / "cut" / "weights.safetensors"))
    assert loaded.model.config == whole.model.config


def test_a_full_disk_keeps_the_last_state(tmp_path: Path, monkeypatch) -> None:
    def trained(steps: int) -> Trainer:
        trainer = make_trainer()
        trainer.schedule = dataclasses.replace(trainer.schedule, steps=steps)
        train(trainer, Glances(), tmp_path, None, workers=0)
        return trainer

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    trained(1)
    before = (tmp_path / "state.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(TrainingError, match=r"No space left.*make room"):
            trained(2)
    assert (tmp_path / "state.safetensors").read_bytes() == before
    assert trained(2).step == 2


@pytest.mark.parametrize(
    "words",
    [
        *("--steps -5", "--batch 0", "--scenes 0", "--per-scene 0", "--image-glances -1"),
        *("--workers -1", "--hold-back -2", "--hold-back 1", "--drop-camera 7"),
        *("--learning-rate nan", "--learning-rate 0", "--learning-rate inf"),
    ],
)
def test_numbers_are_checked_before_anything_else(tmp_path: Path, words: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    option = words.split()[0]
    with pytest.raises(ConfigError, match=f"{option} .*expected"):
        run(parser.parse_args([*words.split(), "--out", str(tmp_path / "run")]))
    assert not (tmp_path / "run").exists()


def test_loss_weights_are_changed_by_name() -> None:
    weights = loss_weights(["entropy=0", "rgb=2.5"])
    assert (weights.entropy, weights.rgb) == (0, 2.5)
    for wrong in ("nothing=1", "rgb=much", "rgb=-1", "rgb=nan"):
        with pytest.raises(ConfigError, match="a term among"):
            loss_weights([wrong])
