"""The trainer: steps, averaged weights, and states that resume to the bit."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from distillnerf_ros.errors import TrainingError
from distillnerf_ros.files import AGAIN, whole_file
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.training.augment import augment, disguised
from distillnerf_ros.training.distributed import Processes, RunningStatistics
from distillnerf_ros.training.objective import IMAGE_TERMS, Objective
from distillnerf_ros.training.samples import TrainSample
from distillnerf_ros.training.schedule import Schedule


class Trainer:
    """Owns the model, its average, the optimiser and the step count."""

    def __init__(
        self,
        model: DistillNeRF,
        objective: Objective,
        schedule: Schedule,
        device: torch.device,
        seed: int = 0,
        processes: Processes | None = None,
        half: bool = False,
    ) -> None:
        """Take a model over; it moves to the device.

        Args:
            model: with its first weights, the same in every process.
            objective: what a step is judged by.
            schedule: how long and how fast.
            device: where to compute.
            seed: of all chance.
            processes: who shares the work; None = nobody.
            half: whether to multiply in bfloat16, where the machine can do that.
        """
        self.device, self.objective, self.schedule, self.seed = device, objective, schedule, seed
        self.processes, self.half = processes or Processes(), half
        self.model = model.to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=schedule.weight_decay
        )
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step = 0

    def train_step(
        self, share: Sequence[TrainSample], image_share: Sequence[TrainSample] = ()
    ) -> dict[str, float]:
        """One optimisation step; returns the unweighted terms, averaged over the share.

        Args:
            share: this process's glances of the batch.
            image_share: more glances, for the image network and the lift alone.

        Raises:
            TrainingError: a loss is not a number; says which, at which step and glance. Or the
                gradient is not; the model is as it was then.
        """
        glances = len(share) + len(image_share)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        statistics = RunningStatistics(self.model)
        sums: dict[str, float] = {}
        for place, sample in enumerate([*share, *image_share]):
            terms = self._terms(sample, self.processes.rank * glances + place, place < len(share))
            mean = {k: v / (glances if k in IMAGE_TERMS else len(share)) for k, v in terms.items()}
            (self.objective.total(mean) / self.processes.count).backward()
            for key, value in mean.items():
                sums[key] = sums.get(key, 0.0) + float(value.detach())
            statistics.take()
        statistics.settle(self.processes, glances * self.processes.count)
        self.processes.sum_gradients(self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip_norm)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"the gradient is not finite at step {self.step}; go on from the last state with "
                "a lower --learning-rate, or without --half"
            )
        self.optimizer.step()
        self._update_average()
        self.step += 1
        return sums

    def _terms(self, sample: TrainSample, place: int, whole: bool) -> dict[str, Tensor]:
        """The terms of one glance of the batch, changed by chance first."""
        chance = (self.seed * 7919 + self.step) * 4096 + place
        generator = torch.Generator().manual_seed(chance)
        sample = sample.through(self.objective.views, generator)
        if self.schedule.augment:
            sample = augment(sample, generator, self.schedule.drop_camera)
            sample = sample if whole else disguised(sample, generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            terms = self.objective(self.model, sample.to(self.device), generator, whole)
        values = {k: float(v.detach()) for k, v in terms.items()}
        if broken := {k: v for k, v in values.items() if not abs(v) < float("inf")}:
            raise TrainingError(
                f"loss is not finite at step {self.step}: {broken}, glance {sample.name!r}; look "
                "at that glance, or go on from the last checkpoint with a lower --learning-rate"
            )
        return terms

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
        """Write everything that resuming needs, whole or not at all.

        Raises:
            TrainingError: it cannot be written.
        """
        from safetensors.torch import save_file

        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = torch.as_tensor(value)
        contiguous = {k: v.detach().contiguous().cpu().clone() for k, v in tensors.items()}
        advice = f"{AGAIN}: it goes on from the last state"
        with whole_file(path, TrainingError, advice) as part:
            save_file(contiguous, part, {"step": str(self.step)})

    def load_state(self, path: Path) -> None:
        """Continue from :meth:`save_state`.

        Raises:
            TrainingError: the file is damaged or of another model.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                self.step = int(file.metadata()["step"])
            self.model.load_state_dict(_strip(tensors, "model."))
        except (SafetensorError, KeyError, RuntimeError) as error:
            raise TrainingError(
                f"{path} does not hold the state of this training ({error}); train with the same "
                "preset and switches as before, or into another folder"
            ) from error
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
