"""Teaches a small OpenCLIP model what the procedural world looks like and what it is called.

Regions of rendered views (single patches, and whole things averaged over their patches) and
texts are put into one space by InfoNCE in both directions (Radford et al., ICML 2021), with many
wordings per thing, several true texts per region, texts about absent things, and random words.
The words come first (see ``words``); then the texts are fixed and the image tower is trained. The
dense features of the result are the targets the voxel field is distilled from.
"""

import argparse
import copy
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from distillnerf_ros.errors import CheckpointError, ConfigError, TrainingError
from distillnerf_ros.teachers.open_clip import EMBEDDED_CLIP, DenseClip, load_clip
from distillnerf_ros.teachers.pca import WEIGHTS_FOLDER, Pca
from distillnerf_ros.training.cache import make_folder_of
from distillnerf_ros.training.contrastive_step import (
    StepConfig,
    TextSampler,
    batch_statistics,
    step_loss,
)
from distillnerf_ros.training.dense_eval import score_dense
from distillnerf_ros.training.evaluate import write_json
from distillnerf_ros.training.growth import grown
from distillnerf_ros.training.phrases import PhraseBook
from distillnerf_ros.training.view_cache import load_views, render_views
from distillnerf_ros.training.windows import Places, Views, Windows, cut_windows, patch_things
from distillnerf_ros.training.words import teach_words

VERB_HELP = "teach the small CLIP the words and looks of the procedural world"
EXAMPLE = (
    "distillnerf train-clip --out runs/clip --views runs/views --glances 400 --steps 1600 "
    "--json runs/clip.json"
)

_SHIPPED = WEIGHTS_FOLDER / f"{EMBEDDED_CLIP}.safetensors"
_VIEWS_FOR_COMPONENTS = 400
_SAMPLES_FOR_COMPONENTS = 20_000


@dataclasses.dataclass(frozen=True)
class TeachConfig:
    """Schedule of the contrastive training.

    Attributes:
        word_steps: optimiser steps of the text tower, before any picture is seen.
        word_rate: their first learning rate.
        steps: optimiser steps of the image tower.
        batch: windows per step.
        window: height and width of a window in pixels; small ones cost little attention.
        zoom: least and most magnification of a window's view.
        wide_every: each time after so many steps, a quarter as many windows of the size and zoom
            the model is used at.
        wide_zoom: their magnification.
        learning_rate: peak, reached after ``warmup`` steps, then a cosine to zero.
        warmup: steps.
        weight_decay: of matrices.
        average: decay of the moving average of the weights that is kept.
        log_every, save_every: steps.
        components: C of the principal components.
        keep_texts: start from this file of weights and leave its texts as they are, so that
            fields distilled from it keep their meaning; "" starts from random ones. An image
            tower with fewer layers, or narrower ones, is grown.
    """

    word_steps: int = 500
    word_rate: float = 2e-3
    steps: int = 1600
    batch: int = 32
    window: tuple[int, int] = (64, 112)
    zoom: tuple[float, float] = (2.0, 4.2)
    wide_every: int = 4
    wide_zoom: tuple[float, float] = (1.2, 2.2)
    learning_rate: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.05
    average: float = 0.995
    log_every: int = 25
    save_every: int = 200
    components: int = 24
    keep_texts: str = ""


class Teaching:
    """The state of a training: model, moving average, optimiser and step; saved and resumed."""

    def __init__(self, config: TeachConfig, folder: Path, seed: int) -> None:
        """Start from random (or given) weights, or from what the folder holds."""
        torch.manual_seed(seed)
        self.config, self.folder, self.seed = config, folder, seed
        self.model, self.tokenizer = load_clip(EMBEDDED_CLIP, pretrained=False)
        if config.keep_texts:
            given = _weights(config.keep_texts)
            self.model.load_state_dict(grown(given, self.model.state_dict()))
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        decayed: list[nn.Parameter] = []
        free: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            if not name.startswith("visual."):
                continue
            if parameter.ndim < 2 or "embedding" in name:
                free.append(parameter)
            else:
                decayed.append(parameter)
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
        self.step = 0
        self._words_known = bool(config.keep_texts)
        if self._state_path.exists():
            self._resume()

    def learn_words(self, views: Views, step_config: StepConfig) -> None:
        """Put the texts in order, unless that is done or the shipped ones are to be kept."""
        if self._words_known:
            return
        sampler, c = TextSampler(self.tokenizer, PhraseBook(views.table)), self.config
        teach_words(self.model, sampler, step_config, c.word_steps, c.word_rate, self.seed)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        self._words_known = True
        self.save()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.safetensors"

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine."""
        c = self.config
        if self.step < c.warmup:
            return c.learning_rate * (self.step + 1) / c.warmup
        done = (self.step - c.warmup) / max(c.steps - c.warmup, 1)
        return c.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def windows(self, views: Views, places: Places, rng: np.random.Generator) -> Windows:
        """The windows of the current step."""
        c, visual = self.config, self.model.visual
        wide = self.step % c.wide_every == c.wide_every - 1
        count = max(c.batch // 4, 1) if wide else c.batch
        size, zoom = (visual.image_size, c.wide_zoom) if wide else (c.window, c.zoom)
        where = places.draw(count, len(views.images), rng)
        return cut_windows(views, where, tuple(size), visual.patch_size[0], zoom, rng)

    def update(self, loss: Tensor) -> None:
        """One optimiser step, and one of the moving average.

        Raises:
            TrainingError: the loss is not a number.
        """
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.step}; the last good state is in "
                f"{self.folder}: lower the learning rate and run again to go on from there"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            # Early averages would otherwise remember the random start.
            decay = min(self.config.average, (1 + self.step) / (10 + self.step))
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        self.step += 1

    def averaged(self) -> Any:
        """A model with the moving average as weights."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.average)
        return model.eval()

    def save(self) -> None:
        """Write everything a resume needs (no pickle)."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors["step"] = torch.tensor(self.step)
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self._state_path.with_suffix(".new")
        save_file({k: v.contiguous() for k, v in tensors.items()}, fresh)
        fresh.replace(self._state_path)

    def _resume(self) -> None:
        tensors = load_file(self._state_path)
        self._words_known = True  # nothing is saved before
        self.step = int(tensors.pop("step"))
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for key, value in tensors.items():
            kind, _, name = key.partition(".")
            parts[kind][name] = value
        self.model.load_state_dict(parts["model"])
        self.average = parts["average"]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimizer"].items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _weights(path: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); --keep-texts takes weights that train-clip wrote"
        ) from error


def teach(
    teaching: Teaching, views: Views, curve: list[dict[str, float | int]], step_config: StepConfig
) -> None:
    """Train until the configured number of steps, logging to the console and to the curve."""
    config = teaching.config
    teaching.learn_words(views, step_config)
    teaching.model.requires_grad_(False).visual.requires_grad_(True)
    sampler = TextSampler(teaching.tokenizer, PhraseBook(views.table))
    places = Places.of(views)
    parts: list[dict[str, float]] = []
    began = time.perf_counter()
    while teaching.step < config.steps:
        rng = np.random.default_rng([teaching.seed, teaching.step])
        torch.manual_seed(int(rng.integers(2**31)))
        windows = teaching.windows(views, places, rng)
        loss, part = step_loss(teaching.model, windows, sampler, step_config, rng)
        teaching.update(loss)
        parts.append(part)
        if teaching.step % config.log_every == 0:
            seconds = (time.perf_counter() - began) / len(parts)
            row = {"step": teaching.step, "seconds_per_step": seconds, **batch_statistics(parts)}
            curve.append(row)
            print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
            parts, began = [], time.perf_counter()
        if teaching.step % config.save_every == 0:
            teaching.save()
    teaching.save()


@torch.no_grad()
def fit_components(dense: DenseClip, views: Views, components: int, seed: int) -> Pca:
    """Principal components of the dense features of whole views.

    All classes count alike, and so do the kinds of a class: by area alone the sky and the road
    would take most components, and cones, riders and what parts a van from a taxi none.
    """
    torch.manual_seed(seed)
    height, width = (
        size // p * p for size, p in zip(views.things.shape[1:], dense.patch, strict=True)
    )
    kinds, numbers = views.kinds()
    number = torch.from_numpy(numbers)
    label = torch.tensor([label for label, _ in kinds])
    features, kind = [], []
    for view in torch.randperm(len(views.images))[:_VIEWS_FOR_COMPONENTS].tolist():
        image = torch.from_numpy(views.images[view, :height, :width]).permute(2, 0, 1)[None]
        things = torch.from_numpy(views.things[view, :height, :width])[None].long()
        features.append(dense(image.float() / 255)[0].flatten(1).T)
        kind.append(number[patch_things(things, views.table, dense.patch[0]).flatten()])
    every, shown = torch.cat(features), torch.cat(kind)
    alike = torch.bincount(label[shown.unique()])[label[shown]]  # kinds of the same class
    weights = 1.0 / (torch.bincount(shown)[shown] * alike)
    drawn = torch.multinomial(weights, _SAMPLES_FOR_COMPONENTS, replacement=True)
    return Pca.fit(every[drawn], components)


def components_beside(weights: str) -> Pca | None:
    """The components that ``export`` wrote beside a file of weights; None where there are none.

    Raises:
        CheckpointError: they cannot be read.
    """
    if not weights:
        return None
    path = Path(weights)
    path = path.with_name(f"{path.stem}_pca.safetensors")
    return Pca.load(path) if path.is_file() else None


def export(model: Any, pca: Pca, folder: Path) -> None:
    """Write the weights as fp16 and the components, under the names the package ships."""
    half = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    save_file(half, folder / f"{EMBEDDED_CLIP}.safetensors")
    pca.save(folder / f"{EMBEDDED_CLIP}_pca.safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf train-clip``."""
    default = TeachConfig()
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes there")
    parser.add_argument("--views", type=Path, required=True, help="folder of rendered views")
    parser.add_argument("--samples", type=Path, help="cache of 'distillnerf train' to use as well")
    parser.add_argument("--glances", type=int, default=400, help="glances to train on")
    parser.add_argument("--seed", type=int, default=1000, help="first world seed to train on")
    parser.add_argument("--eval-seed", type=int, default=9000, help="first world seed to judge on")
    parser.add_argument("--eval-glances", type=int, default=16, help="glances to judge on")
    parser.add_argument("--steps", type=int, default=default.steps, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=default.batch, help="windows per step")
    parser.add_argument(
        "--learning-rate", type=float, default=default.learning_rate, help="its peak"
    )
    parser.add_argument(
        "--keep-texts", metavar="FILE", nargs="?", default="", const=str(_SHIPPED),
        help="start from these weights (default: the shipped ones) and leave their texts as they "
        "are: fields distilled earlier keep their meaning; a smaller image tower is grown",
    )  # fmt: skip
    parser.add_argument(
        "--fit-components", action="store_true",
        help="fit the components anew even where some lie beside those weights; 'train "
        "--start-from' carries a field over to them",
    )  # fmt: skip
    parser.add_argument("--half", action="store_true", help="multiply in bfloat16")
    parser.add_argument("--json", type=Path, help="write the curve and the scores here")


def run(args: argparse.Namespace) -> int:
    """Render what is missing, train, judge on unseen seeds, export.

    Raises:
        ConfigError: an option does not fit.
        CheckpointError: weights, or the components beside them, cannot be read.
        DatasetError: a rendered glance is damaged.
        TeacherError: a rendered glance cannot be written.
        TrainingError: the loss is not a number.
    """
    if min(args.glances, args.eval_glances) < 1:
        raise ConfigError(
            f"--glances {args.glances} and --eval-glances {args.eval_glances}; expected one or "
            "more to train on and one or more to judge on"
        )
    for file in filter(None, (args.out / f"{EMBEDDED_CLIP}.safetensors", args.json)):
        make_folder_of(file)
    config = TeachConfig(
        steps=args.steps, batch=args.batch, learning_rate=args.learning_rate,
        keep_texts=args.keep_texts,
    )  # fmt: skip
    pca = None if args.fit_components else components_beside(config.keep_texts)
    render_views(args.views, args.seed, args.glances)
    render_views(args.views, args.eval_seed, args.eval_glances)
    views = load_views(args.views, args.seed, args.glances, args.samples)
    teaching = Teaching(config, args.out, args.seed)
    curve: list[dict[str, float | int]] = []
    teach(teaching, views, curve, StepConfig(half=args.half))
    model = teaching.averaged()
    if pca is None:
        pca = fit_components(DenseClip.of(model.visual), views, config.components, args.seed)
    export(model, pca, args.out)
    unseen = load_views(args.views, args.eval_seed, args.eval_glances)
    scores = score_dense(model, teaching.tokenizer, unseen, pca)
    print(scores.table())
    if args.json:
        told = {"config": dataclasses.asdict(config), "curve": curve}
        write_json(args.json, told | {"scores": dataclasses.asdict(scores)})
    return 0
