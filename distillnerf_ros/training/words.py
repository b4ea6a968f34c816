"""First the words: texts are put in order before any picture is seen.

Each thing gets a free vector that stands for what a perfect eye would see of it. The text tower is
trained against these by the same losses that pictures meet later, so words for things that an
untrained eye confuses (truck and trailer, bicycle and motorcycle) still end up apart. After that
the texts are fixed and the image tower learns to see what they say.
"""

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.training.contrastive_loss import (
    absolute_margins,
    generic_level,
    multi_positive_nce,
)
from distillnerf_ros.training.contrastive_step import StepConfig, TextSampler
from distillnerf_ros.training.phrases import FALSE, UNKNOWN, Thing, dressed

WORDS_SCALE = 20.0
"""Inverse temperature while words are put in order, and after."""

_THINGS = 96  # per step
_KIND_SHARE, _COLOR_SHARE = 0.6, 0.4


class Prototypes(nn.Module):
    """A unit vector per thing: its class's, plus a share for its kind and its colour."""

    def __init__(self, things: tuple[Thing, ...], width: int) -> None:
        """Draw random vectors for all classes, kinds and colours that occur."""
        super().__init__()
        self._index = torch.tensor(
            [
                _numbers([str(t.label) for t in things]),
                _numbers([f"{t.label} {t.kind}" for t in things]),
                _numbers([t.color for t in things]),
            ]
        )
        self._known = torch.tensor([[1, bool(t.kind), bool(t.color)] for t in things])
        self.tables = nn.ModuleList(nn.Embedding(int(i.max()) + 1, width) for i in self._index)

    def forward(self) -> Float[Tensor, "T E"]:
        """Unit vectors of all things."""
        shares = self._known * torch.tensor([1.0, _KIND_SHARE, _COLOR_SHARE])
        parts = [
            share[:, None] * F.normalize(table(index), dim=1)
            for table, index, share in zip(self.tables, self._index, shares.T, strict=True)
        ]
        return F.normalize(torch.stack(parts).sum(0), dim=1)


def _numbers(names: list[str]) -> list[int]:
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [known[name] for name in names]


def words_loss(
    model: Any,
    prototypes: Prototypes,
    sampler: TextSampler,
    config: StepConfig,
    rng: np.random.Generator,
) -> Float[Tensor, ""]:
    """Loss of some things' prototypes, classes drawn evenly, against texts."""
    book = sampler.book
    labels = np.array([thing.label for thing in book.things])
    weights = 1 / np.bincount(labels)[labels]
    count = min(_THINGS, len(labels))
    seen = rng.choice(len(labels), size=count, replace=False, p=weights / weights.sum()).tolist()
    phrases = book.draw(seen, rng, config.phrases_per_thing, config.other_phrases)
    names = [p.noun if i < 17 else dressed(p.noun, rng) for i, p in enumerate(phrases)]
    absent = book.draw_absent(rng, config.absent)
    generic = [*book.generic, *(dressed(noun, rng) for noun in book.generic)]
    tokens = sampler.tokens([*names, *absent, *generic])
    tokens = torch.cat([tokens, sampler.babble(config.babble, rng)])
    counts = [len(names), len(absent), len(generic), config.babble]
    named, gone, neutral, babble = model.encode_text(tokens, normalize=True).split(counts)
    eyes = prototypes()[seen]
    truth = torch.from_numpy(book.truths(seen, phrases))
    near = torch.from_numpy(book.within_class(seen, phrases))
    never = torch.full((count, len(gone) + len(babble)), FALSE, dtype=truth.dtype)
    cosines = eyes @ torch.cat([named, gone, babble]).T
    exact = torch.cat([truth, never], dim=1)
    # Kinds of one class may resemble each other: they are told apart, not driven apart.
    loose = torch.cat([truth.masked_fill((truth == FALSE) & near, UNKNOWN), never], dim=1)
    return (
        multi_positive_nce(cosines, exact, torch.tensor(WORDS_SCALE))
        + config.margin_weight * absolute_margins(cosines, loose)
        + config.generic_weight * generic_level(eyes @ neutral.T)
    )


def teach_words(
    model: Any, sampler: TextSampler, config: StepConfig, steps: int, rate: float, seed: int
) -> list[float]:
    """Train the text tower (in place) and fix the temperature.

    Args:
        model: the CLIP.
        sampler: texts about the things.
        config: how many texts meet in a step.
        steps: optimiser steps; the rate falls to zero by a cosine.
        rate: first learning rate.
        seed: of every draw.

    Returns:
        The loss of each step.
    """
    torch.manual_seed(seed)
    prototypes = Prototypes(sampler.book.things, model.visual.output_dim)
    own = [p for name, p in model.named_parameters() if not name.startswith("visual.")]
    optimizer = torch.optim.AdamW([*own, *prototypes.parameters()], lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses: list[float] = []
    began = time.perf_counter()
    for step in range(steps):
        rng = np.random.default_rng([seed, step, 5])
        loss = words_loss(model, prototypes, sampler, config, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(own, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 50 == 0:
            seconds = (time.perf_counter() - began) / 50
            print(f"words: step {step + 1}  seconds_per_step {seconds:.3f}  loss {losses[-1]:.3f}")
            began = time.perf_counter()
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(WORDS_SCALE)))
    return losses
