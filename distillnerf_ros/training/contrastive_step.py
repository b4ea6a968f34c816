"""One step of the contrastive training: regions of windows against texts."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from distillnerf_ros.teachers.open_clip import DenseClip
from distillnerf_ros.training.contrastive_loss import (
    absolute_margins,
    generic_level,
    kinds_apart,
    multi_positive_nce,
)
from distillnerf_ros.training.phrases import (
    FALSE,
    TRUE,
    UNKNOWN,
    Phrase,
    PhraseBook,
    dressed,
)
from distillnerf_ros.training.windows import Windows, window_positions

KIND_PATCHES = 6
"""Patches of a window from which on a thing shows its kind ("a delivery van") and colour."""

_START, _END = 49406, 49407  # of CLIP's byte-pair vocabulary


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """How much of what meets in one step.

    Attributes:
        patches: single patches drawn from all windows.
        phrases_per_thing: true phrases per thing that is seen.
        other_phrases: phrases about anything the world can show.
        absent: texts about things the world never holds.
        babble: texts of random words, so that unknown words resemble nothing.
        margin_weight, generic_weight, scene_weight, kind_weight: of the losses beside the regions'
            InfoNCE.
        half: whether the image tower multiplies in bfloat16.
    """

    patches: int = 1024
    phrases_per_thing: int = 2
    other_phrases: int = 64
    absent: int = 48
    babble: int = 48
    margin_weight: float = 2.0
    generic_weight: float = 2.0
    scene_weight: float = 0.1
    kind_weight: float = 1.0
    half: bool = False


@dataclasses.dataclass(frozen=True)
class Regions:
    """S image regions: single patches and whole things of one window.

    Attributes:
        features: (S, E) unit length.
        things: (S,) index of the thing each shows.
        shown: (S,) number of patches of its window that show that thing.
    """

    features: Float[Tensor, "S E"]
    things: Int[Tensor, " S"]
    shown: Int[Tensor, " S"]


class TextSampler:
    """Draws tokenised texts; keeps the vocabulary that phrases use out of the babble."""

    def __init__(self, tokenizer: Callable[[list[str]], Tensor], book: PhraseBook) -> None:
        """Tokenise every phrase once."""
        self._tokenizer = tokenizer
        self.book = book
        known = {_START, _END, 0}
        for start in range(0, len(book.present), 512):
            nouns = [p.noun for p in book.present[start : start + 512]]
            known |= set(tokenizer([*nouns, *book.generic]).unique().tolist())
        self._unknown = np.array(sorted(set(range(_START)) - known))
        self._cache: dict[str, Tensor] = {}

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "Q L"]:
        """Token ids of texts."""
        new = [t for t in dict.fromkeys(texts) if t not in self._cache]
        if new:
            self._cache.update(zip(new, self._tokenizer(new), strict=True))
        return torch.stack([self._cache[t] for t in texts])

    def babble(self, count: int, rng: np.random.Generator) -> Int[Tensor, "Q L"]:
        """Texts of one to three random words, half of them after a usual beginning."""
        rows = self.tokens(["a", "a photo of a", "", "the"] * count)[:count].clone()
        for row in rows:
            end = int(row.argmax())
            words = rng.choice(self._unknown, size=rng.integers(1, 4))
            row[end : end + len(words)] = torch.from_numpy(words)
            row[end + len(words)] = _END
        return rows


def region_features(
    features: Float[Tensor, "B E rows cols"],
    things: Int[Tensor, "B rows cols"],
    labels: Int[Tensor, " T"],
    patches: int,
) -> Regions:
    """Average the features over each thing of each window, and draw single patches.

    Half of the patches are drawn evenly over the picture, half evenly over the classes.

    Args:
        features: dense features before normalisation.
        things: thing that each patch shows.
        labels: (T,) class of each thing.
        patches: number of single patches.
    """
    flat, thing = features.permute(0, 2, 3, 1).flatten(0, 2), things.flatten()
    window = torch.arange(len(things)).repeat_interleave(things[0].numel())
    keys, group = (window * len(labels) + thing).unique(return_inverse=True)
    sums = flat.new_zeros(len(keys), flat.shape[1]).index_add(0, group, flat)
    counts = torch.bincount(group, minlength=len(keys))
    classes = labels[thing]
    frequency = torch.bincount(classes, minlength=int(labels.max()) + 1).float()
    weights = 1 / len(thing) + 1 / frequency[classes] / (frequency > 0).sum()
    drawn = torch.multinomial(weights, min(patches, len(thing)))
    return Regions(
        F.normalize(torch.cat([flat[drawn], sums / counts[:, None]]), dim=1),
        torch.cat([thing[drawn], keys % len(labels)]),
        torch.cat([counts[group[drawn]], counts]),
    )


def region_truth(
    regions: Regions,
    seen: Int[Tensor, " T"],
    row: Int[Tensor, " S"],
    phrases: Sequence[Phrase],
    book: PhraseBook,
) -> Int[Tensor, "S Q"]:
    """Truth of every phrase for every region; ``seen[row]`` are the regions' things.

    A glimpse of a car does not tell a sedan from a hatchback: what is false of a thing for its
    kind or colour alone is unknown where less than :data:`KIND_PATCHES` show it. Patches of
    things that show more know what they belong to, by attention.
    """
    truth = torch.from_numpy(book.truths(seen.tolist(), phrases))[row]
    near = torch.from_numpy(book.within_class(seen.tolist(), phrases))[row]
    glimpsed = (regions.shown < KIND_PATCHES)[:, None]
    return truth.masked_fill((truth == FALSE) & near & glimpsed, UNKNOWN)


def _kind_loss(
    model: Any, regions: Regions, sampler: TextSampler, rng: np.random.Generator
) -> Float[Tensor, ""]:
    """How far the kinds of each class are told apart, where enough of a thing is seen."""
    book = sampler.book
    if not book.kinds:
        return regions.features.new_zeros(())
    phrases = book.draw_kinds(rng)
    texts = model.encode_text(
        sampler.tokens([dressed(p.noun, rng) for p in phrases]), normalize=True
    )
    seen, row = regions.things.unique(return_inverse=True)
    truth = torch.from_numpy(book.truths(seen.tolist(), phrases))[row]
    near = torch.from_numpy(book.within_class(seen.tolist(), phrases))[row]
    asked = near & (regions.shown >= KIND_PATCHES)[:, None]
    kind = torch.tensor(book.kind_of)[regions.things]
    cosines = regions.features @ texts.T
    return kinds_apart(cosines, truth.masked_fill(~asked, UNKNOWN), kind, model.logit_scale.exp())


def step_loss(
    model: Any,
    windows: Windows,
    sampler: TextSampler,
    config: StepConfig,
    rng: np.random.Generator,
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Loss of one batch of windows, and its parts for the log."""
    dense, book = DenseClip.of(model.visual), sampler.book
    positions = window_positions(
        model.visual.positional_embedding,
        model.visual.grid_size,
        windows.boxes,
        (windows.things.shape[1], windows.things.shape[2]),
    )
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=config.half),
        _attention(windows, config.half),
    ):
        features = dense.unnormalised(windows.images, positions).float()
    labels = torch.tensor([thing.label for thing in book.things])
    regions = region_features(features, windows.things, labels, config.patches)
    seen, row = regions.things.unique(return_inverse=True)
    phrases = book.draw(seen.tolist(), rng, config.phrases_per_thing, config.other_phrases)
    names = [p.noun if i < 17 else dressed(p.noun, rng) for i, p in enumerate(phrases)]
    scenes, scene_truth = scene_captions(windows.things, book, rng)
    absent = book.draw_absent(rng, config.absent)
    tokens = sampler.tokens([*names, *absent, *book.generic, *scenes])
    tokens = torch.cat([tokens, sampler.babble(config.babble, rng)])
    counts = [len(names), len(absent), len(book.generic), len(scenes), config.babble]
    named, gone, generic, scene, babble = model.encode_text(tokens, normalize=True).split(counts)
    truth = region_truth(regions, seen, row, phrases, book)
    never = torch.full((len(row), len(gone) + len(babble)), FALSE, dtype=truth.dtype)
    cosines = regions.features @ torch.cat([named, gone, babble]).T
    truth = torch.cat([truth, never], dim=1)
    scale = model.logit_scale.exp()
    whole = F.normalize(features.mean((2, 3)), dim=1)
    parts = {
        "nce": multi_positive_nce(cosines, truth, scale),
        "kind": config.kind_weight * _kind_loss(model, regions, sampler, rng),
        "margin": config.margin_weight * absolute_margins(cosines, truth),
        "generic": config.generic_weight * generic_level(regions.features @ generic.T),
        "scene": config.scene_weight * multi_positive_nce(whole @ scene.T, scene_truth, scale),
    }
    total = torch.stack(list(parts.values())).sum()
    return total, {name: float(value.detach()) for name, value in parts.items()}


def _attention(windows: Windows, half: bool) -> AbstractContextManager[None]:
    """Plain matrix products where there are few patches, in bfloat16.

    The CPU's fused attention is slow backwards: a step of 112 patches a window takes 0.62 s with
    it and 0.46 s without, but in float32 0.86 s and 0.92 s.
    """
    few = windows.things[0].numel() < 256
    return sdpa_kernel(SDPBackend.MATH) if half and few else nullcontext()


def scene_captions(
    things: Int[Tensor, "B rows cols"], book: PhraseBook, rng: np.random.Generator
) -> tuple[list[str], Int[Tensor, "B B"]]:
    """A caption per window naming one to three of its things, and the windows it is true of."""
    captions: list[str] = []
    truth = np.full((len(things), len(things)), FALSE, dtype=np.int8)
    shown = [set(window.unique().tolist()) for window in things]
    for column, inside in enumerate(shown):
        picked = rng.permutation(sorted(inside))[: rng.integers(1, 4)].tolist()
        phrases = [p for i in picked for p in book.draw_true(i, rng)]
        captions.append(" and ".join(dressed_plain(p.noun) for p in phrases) or "a street")
        for other, there in enumerate(shown):
            holds = all(any(p.truth(book.things[t]) == TRUE for t in there) for p in phrases)
            truth[other, column] = TRUE if holds else FALSE
    return captions, torch.from_numpy(truth)


def dressed_plain(noun: str) -> str:
    """A noun with an indefinite article where one may stand."""
    return noun if noun.endswith("s") or noun.split()[0] in {"a", "the"} else f"a {noun}"


def batch_statistics(parts: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Mean of every part over some steps."""
    return {name: float(np.mean([p[name] for p in parts])) for name in parts[0]}
