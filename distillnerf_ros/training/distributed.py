"""Data-parallel training: several processes, each with its share of every batch.

Started by ``torchrun --nproc-per-node P -m distillnerf_ros.cli train ...``. Gradients are summed
with one call per step; a wrapper around the model would not see the objective's many entrances.
"""

import dataclasses
import os
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Processes:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "Processes":
        """Meet the other processes that ``torchrun`` started; alone without it."""
        if "WORLD_SIZE" not in os.environ:
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(device)  # what NCCL works on
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Part from the other processes."""
        if self.count > 1:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def sum_gradients(self, model: nn.Module) -> None:
        """Add up every parameter's gradient over the processes; None where no process has one."""
        if self.count == 1:
            return
        parameters = list(model.parameters())
        has = torch.tensor([p.grad is not None for p in parameters]).to(parameters[0])
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        self.sum_([has, *grads])
        for parameter, grad, count in zip(parameters, grads, has.tolist(), strict=True):
            parameter.grad = grad if count else None

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Add tensors up over the processes, in place, in one call."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


class RunningStatistics:
    """Makes BatchNorm's running statistics of a step the mean over its glances.

    Each glance is normalised by its own statistics. Updating the running ones glance after glance
    would depend on their order and on how many processes share them.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [
            buffer
            for name, buffer in model.named_buffers()
            if name.endswith(("running_mean", "running_var"))
        ]
        self._before = [buffer.clone() for buffer in self._buffers]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers]

    def take(self) -> None:
        """Note what one glance made of them, and go back to what they were."""
        for buffer, before, total in zip(self._buffers, self._before, self._sums, strict=True):
            total += buffer
            buffer.copy_(before)

    def settle(self, processes: Processes, batch: int) -> None:
        """Set them to the mean over all glances of all processes."""
        processes.sum_(self._sums)
        for buffer, total in zip(self._buffers, self._sums, strict=True):
            buffer.copy_(total / batch)
