"""How long and how fast to train, and in what order samples come."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch.utils.data import Sampler


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: optimisation steps in all.
        learning_rate: its peak.
        decay: "cosine" falls to 2 % over the steps; "step" falls to a tenth after 60 % of them and
            to a hundredth after 85 %.
        warmup_steps: steps of linear rise.
        weight_decay: AdamW's.
        clip_norm: ceiling on the norm of all gradients together.
        average_decay: of the exponential moving average of the weights.
        drop_camera: probability that one camera is missing.
        augment: whether glances are changed by chance.
        save_every: steps between checkpoints.
    """

    steps: int
    learning_rate: float = 1e-3
    decay: Literal["cosine", "step"] = "cosine"
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    average_decay: float = 0.998
    drop_camera: float = 0.1
    augment: bool = True
    save_every: int = 250

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        if self.decay == "step":
            return self.learning_rate * 0.1 ** ((done >= 0.6) + (done >= 0.85))
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class ShuffledForever(Sampler[int]):
    """Every index once per epoch, in an order that depends on seed and epoch alone.

    Several processes share one order: of each batch every process takes its own part.
    """

    def __init__(
        self, count: int, seed: int, start_step: int, batch: int, part: tuple[int, int] = (0, 1)
    ) -> None:
        """Start anywhere.

        Args:
            count: number of samples.
            seed: of the order.
            start_step: steps taken already.
            batch: samples per step, of all processes together.
            part: this process and the number of processes.
        """
        self.count, self.seed, self.batch, self.part = count, seed, batch, part
        self.start = start_step * batch

    def __iter__(self) -> Iterator[int]:
        """Indices of this process from the first step on."""
        position = self.start
        own, processes = self.part
        while True:
            epoch, offset = divmod(position, self.count)
            generator = torch.Generator().manual_seed(self.seed * 1000003 + epoch)
            for index in torch.randperm(self.count, generator=generator)[offset:].tolist():
                if position % self.batch * processes // self.batch == own:
                    yield index
                position += 1
