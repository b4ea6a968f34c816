"""The trainer and the verb ``train``: steps, schedule, averaging, checkpoints that resume."""

import argparse
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from distillnerf_ros.checkpoint import load_checkpoint, save_checkpoint
from distillnerf_ros.config import PRESETS, preset
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import TrainingError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.training.objective import Objective
from distillnerf_ros.training.samples import TrainSample, WorldSamples, augment
from distillnerf_ros.training.targets import embedded_teacher

VERB_HELP = "train the model on procedural scenes"
EXAMPLE = "distillnerf train --preset tiny --scenes 200 --steps 4000 --out runs/tiny"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: optimisation steps in all.
        learning_rate: peak of the cosine.
        warmup_steps: steps of linear rise.
        weight_decay: AdamW's.
        clip_norm: ceiling on the norm of all gradients together.
        average_decay: of the exponential moving average of the weights.
        drop_camera: probability that one camera is missing.
        save_every: steps between checkpoints.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    average_decay: float = 0.998
    drop_camera: float = 0.1
    save_every: int = 250

    def rate(self, step: int) -> float:
        """Learning rate at a step: linear rise, then half a cosine down to 2 %."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


class ShuffledForever(Sampler[int]):
    """Every index once per epoch, in an order that depends on seed and epoch alone."""

    def __init__(self, count: int, seed: int, start: int) -> None:
        self.count, self.seed, self.start = count, seed, start

    def __iter__(self) -> Iterator[int]:
        """Indices from the start-th on."""
        position = self.start
        while True:
            epoch, offset = divmod(position, self.count)
            generator = torch.Generator().manual_seed(self.seed * 1000003 + epoch)
            for index in torch.randperm(self.count, generator=generator)[offset:].tolist():
                yield index
                position += 1


class Trainer:
    """Owns the model, its average, the optimiser and the step count."""

    def __init__(
        self,
        model: DistillNeRF,
        objective: Objective,
        schedule: Schedule,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self.device, self.objective, self.schedule, self.seed = device, objective, schedule, seed
        self.model = model.to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=schedule.weight_decay
        )
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step = 0

    def train_step(self, sample: TrainSample) -> dict[str, float]:
        """One optimisation step; returns the unweighted terms.

        Raises:
            TrainingError: a loss is not a number; says which, and at which step.
        """
        generator = torch.Generator().manual_seed(self.seed * 7919 + self.step)
        sample = augment(sample, generator, self.schedule.drop_camera).to(self.device)
        self.model.train()
        terms = self.objective(self.model, sample, generator)
        total = self.objective.total(terms)
        if not torch.isfinite(total):
            broken = {k: float(v.detach()) for k, v in terms.items() if not torch.isfinite(v)}
            raise TrainingError(
                f"loss is not finite at step {self.step}: {broken}; lower the learning rate or "
                "look at the sample of this step"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip_norm)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        return {k: float(v.detach()) for k, v in terms.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.schedule.average_decay, (1 + self.step) / (10 + self.step))
        for key, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)
            else:
                self.average[key].copy_(value)

    def averaged_model(self) -> DistillNeRF:
        """A copy of the model with the averaged weights."""
        copy = DistillNeRF(self.model.config)
        copy.load_state_dict(self.average)
        return copy.eval()

    def save_state(self, path: Path) -> None:
        """Write everything that resuming needs, whole or not at all."""
        from safetensors.torch import save_file

        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = torch.as_tensor(value)
        temporary = path.with_suffix(".part")
        contiguous = {k: v.detach().contiguous().cpu().clone() for k, v in tensors.items()}
        save_file(contiguous, temporary, {"step": str(self.step)})
        os.replace(temporary, path)

    def load_state(self, path: Path) -> None:
        """Continue from :meth:`save_state`."""
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self.step = int(file.metadata()["step"])
        self.model.load_state_dict(_strip(tensors, "model."))
        self.average = {k: v.to(self.device) for k, v in _strip(tensors, "average.").items()}
        for name, parameter in self.model.named_parameters():
            state = {
                key: tensors[f"adam.{key}.{name}"]
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in tensors
            }
            for key, value in state.items():
                state[key] = value if key == "step" else value.to(parameter)
            if state:
                self.optimizer.state[parameter] = state


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def train(trainer: Trainer, samples: WorldSamples, out: Path, semantics: Semantics | None) -> None:
    """Run the remaining steps; log to ``curve.jsonl``, checkpoint to ``state.safetensors``."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "state.safetensors").is_file():
        trainer.load_state(out / "state.safetensors")
    loader = DataLoader(
        samples,
        batch_size=None,
        sampler=ShuffledForever(len(samples), trainer.seed, trainer.step),
        num_workers=1,
        prefetch_factor=4,
    )
    bar = tqdm(total=trainer.schedule.steps, initial=trainer.step, unit="step", smoothing=0.02)
    mean: dict[str, float] = {}
    started = time.monotonic()
    for sample in loader:
        if trainer.step >= trainer.schedule.steps:
            break
        for key, value in trainer.train_step(sample).items():
            mean[key] = value if key not in mean else 0.98 * mean[key] + 0.02 * value
        bar.update()
        bar.set_postfix({k: f"{v:.3f}" for k, v in mean.items()}, refresh=False)
        if trainer.step % 50 == 0:
            line = {"step": trainer.step, "seconds": time.monotonic() - started} | mean
            with (out / "curve.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        if trainer.step % trainer.schedule.save_every == 0:
            trainer.save_state(out / "state.safetensors")
            save_checkpoint(out / "weights.safetensors", trainer.averaged_model(), semantics)
    bar.close()
    trainer.save_state(out / "state.safetensors")
    save_checkpoint(
        out / "weights.safetensors", trainer.averaged_model(), semantics, torch.float16
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes")
    parser.add_argument("--first-seed", type=int, default=20_000, help="seed of the first scene")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--per-scene", type=int, default=4, help="glances per scene")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak of the cosine")
    parser.add_argument("--cache", type=Path, help="folder that keeps rendered glances")
    parser.add_argument("--start-from", help="weights (name or path) to start from")
    parser.add_argument("--no-features", action="store_true", help="geometry and colour only")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")


def run(args: argparse.Namespace) -> int:
    """Train from the world, and leave ``weights.safetensors`` in the run's folder."""
    torch.manual_seed(args.seed)
    device = resolve_device(args.device)
    config = preset(args.preset)
    model = DistillNeRF(config)
    if args.start_from:
        model.load_state_dict(load_checkpoint(args.start_from, config).model.state_dict())
    teacher, semantics = (None, None) if args.no_features else embedded_teacher()
    size = (config.backbone.image_height_px, config.backbone.image_width_px)
    samples = WorldSamples(args.first_seed, args.scenes, args.per_scene, size, teacher, args.cache)
    schedule = Schedule(steps=args.steps, learning_rate=args.learning_rate)
    objective = Objective(semantics=semantics and semantics.to(device))
    trainer = Trainer(model, objective, schedule, device, args.seed)
    train(trainer, samples, args.out, semantics)
    return 0
