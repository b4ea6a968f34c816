"""Windows of rendered views and what each of their patches shows."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from distillnerf_ros.taxonomy import FREE_LABEL, OCC3D_CLASSES, SKY_LABEL
from distillnerf_ros.training.phrases import Thing

# A thin thing fills little of a patch, yet is what the patch is asked for.
_THIN = {"barrier", "bicycle", "motorcycle", "pedestrian", "traffic cone", "others"}
_THIN_WEIGHT = 2.0

# Small or easily taken for another: looked at more often.
_HARD = {"bicycle", "motorcycle", "pedestrian", "trailer", "truck"}
_HARD_WEIGHT = 3.0


@dataclasses.dataclass(frozen=True)
class Views:
    """V views and, per pixel, the thing it shows.

    Attributes:
        images: (V, H, W, 3) RGB.
        things: (V, H, W) index into ``table``.
        table: every thing that occurs.
    """

    images: UInt8[np.ndarray, "V H W 3"]
    things: Int[np.ndarray, "V H W"]
    table: tuple[Thing, ...]

    def kinds(self) -> tuple[tuple[tuple[int, str], ...], Int[np.ndarray, " T"]]:
        """Every class and kind that occurs, and which of them each thing of the table is."""
        pairs = [(thing.label, thing.kind) for thing in self.table]
        numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        return tuple(numbers), np.array([numbers[pair] for pair in pairs])


@dataclasses.dataclass(frozen=True)
class Windows:
    """B windows cut from views, resampled to one size.

    Attributes:
        images: (B, 3, h, w) RGB in 0..1.
        things: (B, rows, cols) index of the thing each patch shows.
        boxes: (B, 4) left, top, right, bottom of the window as fractions of its view.
    """

    images: Float[Tensor, "B 3 h w"]
    things: Int[Tensor, "B rows cols"]
    boxes: Float[Tensor, "B 4"]


def patch_things(
    things: Int[Tensor, "B H W"], table: Sequence[Thing], patch: int
) -> Int[Tensor, "B rows cols"]:
    """The thing that stands for each patch: a pixel of the class with most (weighted) pixels.

    Args:
        things: (B, H, W) thing of each pixel; H and W are multiples of the patch.
        table: what the indices mean.
        patch: edge of a patch in pixels.
    """
    classes = torch.tensor([FREE_LABEL if t.label == SKY_LABEL else t.label for t in table])
    weights = torch.ones(FREE_LABEL + 1)
    weights[[i for i, name in enumerate(OCC3D_CLASSES) if name in _THIN]] = _THIN_WEIGHT
    pixels = F.unfold(things[:, None].float(), patch, stride=patch).long()  # (B, patch^2, cells)
    labels = classes[pixels]
    votes = F.one_hot(labels, FREE_LABEL + 1).sum(1) * weights  # (B, cells, classes)
    winner = votes.argmax(-1)
    # Among the winning class's pixels, the middle one of the scan stands for the patch.
    mine = labels == winner[:, None]
    rank = mine.long().cumsum(1)
    middle = (mine & (rank == (rank[:, -1:] + 1) // 2)).float().argmax(1, keepdim=True)
    chosen = pixels.gather(1, middle)[:, 0]
    return chosen.unflatten(1, (things.shape[1] // patch, things.shape[2] // patch))


@dataclasses.dataclass(frozen=True)
class Places:
    """Where to look for each kind of a class: some pixels of it in every view that shows it.

    Attributes:
        by_kind: per kind that occurs, (P, 3) view, row and column of pixels; the things of a
            class whose kind nobody knows count as one kind.
        chances: of each of them to be looked at; the kinds of a class share its chance evenly.
    """

    by_kind: tuple[Int[np.ndarray, "_ 3"], ...]
    chances: Float[np.ndarray, " L"]

    @classmethod
    def of(cls, views: Views, per_view: int = 4, seed: int = 0) -> "Places":
        """Draw a few pixels of every kind from every view."""
        rng = np.random.default_rng(seed)
        kinds, number = views.kinds()
        found: dict[int, list[tuple[int, int, int]]] = {}
        for view, things in enumerate(views.things):
            shown = number[things].ravel()
            order = rng.permutation(shown.size)
            shuffled = shown[order]
            for kind in np.unique(shown).tolist():
                for pixel in order[np.flatnonzero(shuffled == kind)[:per_view]].tolist():
                    row, col = divmod(pixel, things.shape[1])
                    found.setdefault(kind, []).append((view, row, col))
        hard = {OCC3D_CLASSES.index(name) for name in _HARD}
        labels = [kinds[kind][0] for kind in found]
        share = np.array([labels.count(label) for label in labels])
        weights = np.array([_HARD_WEIGHT if label in hard else 1.0 for label in labels]) / share
        pixels = tuple(np.array(places) for places in found.values())
        return cls(pixels, weights / weights.sum())

    def draw(self, count: int, views: int, rng: np.random.Generator) -> Int[np.ndarray, "B 3"]:
        """Half pixels of kinds drawn by chance, half views drawn evenly (row and column -1)."""
        chosen = np.full((count, 3), -1)
        chosen[:, 0] = rng.integers(views, size=count)
        for i in range(count // 2):
            pixels = self.by_kind[rng.choice(len(self.by_kind), p=self.chances)]
            chosen[i] = pixels[rng.integers(len(pixels))]
        return chosen


def cut_windows(
    views: Views,
    places: Int[np.ndarray, "B 3"],
    size: tuple[int, int],
    patch: int,
    zoom: tuple[float, float],
    rng: np.random.Generator,
) -> Windows:
    """Cut windows from views, sometimes mirrored, with jittered brightness.

    Args:
        views: the views.
        places: (B, 3) view, and row and column of a pixel to hold, or -1 for anywhere.
        size: height and width of the windows in pixels.
        patch: edge of a patch in pixels.
        zoom: least and most magnification; 1 is the whole view.
        rng: draws places, zooms and brightness.
    """
    height, width = views.things.shape[1:]
    images, things, boxes = [], [], []
    for view, row, col in places.tolist():
        share = 1 / rng.uniform(*zoom)
        rows, cols = max(round(height * share), 1), max(round(width * share), 1)
        top, left = _start(row, rows, height, rng), _start(col, cols, width, rng)
        part = (slice(top, top + rows), slice(left, left + cols))
        image = torch.from_numpy(views.images[view][part]).permute(2, 0, 1)[None].float() / 255
        image = F.interpolate(image, size, mode="bilinear", antialias=True)
        shown = torch.from_numpy(views.things[view][part].astype(np.float32))[None, None]
        shown = F.interpolate(shown, size, mode="nearest-exact")[0, 0]
        if rng.random() < 0.5:
            image, shown = image.flip(-1), shown.flip(-1)
        images.append(_jitter(image, rng))
        things.append(shown.long())
        boxes.append([left / width, top / height, (left + cols) / width, (top + rows) / height])
    shows = patch_things(torch.stack(things), views.table, patch)
    return Windows(torch.cat(images), shows, torch.tensor(boxes, dtype=torch.float32))


def _start(pixel: int, length: int, limit: int, rng: np.random.Generator) -> int:
    """First row (or column) of a window of some length that holds a pixel, -1 for any."""
    low = 0 if pixel < 0 else max(pixel - length + 1, 0)
    high = limit - length if pixel < 0 else min(pixel, limit - length)
    return int(rng.integers(low, high + 1))


def _jitter(image: Float[Tensor, "1 3 h w"], rng: np.random.Generator) -> Tensor:
    gain, gamma = rng.uniform(0.75, 1.3), rng.uniform(0.8, 1.25)
    tint = torch.tensor(rng.uniform(0.94, 1.06, size=(1, 3, 1, 1)), dtype=torch.float32)
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    bright = (image.clamp(min=1e-4) ** gamma) * gain * tint
    return (bright + noise * float(rng.uniform(0, 0.02))).clamp(0, 1)


def window_positions(
    table: Float[Tensor, "P D"],
    grid: tuple[int, int],
    boxes: Float[Tensor, "B 4"],
    size: tuple[int, int],
) -> Float[Tensor, "B Q D"]:
    """Position embeddings of windows: the view's own, interpolated at the windows' patches.

    So a magnified window sees what a larger view would see there.

    Args:
        table: (1 + rows * cols, D) position embeddings, the class token's first.
        grid: rows and columns of the table.
        boxes: (B, 4) see ``Windows``.
        size: rows and columns of patches of a window.
    """
    rows, cols = size
    y = (torch.arange(rows) + 0.5) / rows
    x = (torch.arange(cols) + 0.5) / cols
    left, top, right, bottom = boxes.unbind(1)
    v = (top[:, None] + y * (bottom - top)[:, None])[:, :, None].expand(-1, rows, cols)
    u = (left[:, None] + x * (right - left)[:, None])[:, None, :].expand(-1, rows, cols)
    places = torch.stack([u, v], dim=-1) * 2 - 1
    planes = table[1:].T.unflatten(1, grid)[None].expand(len(boxes), -1, -1, -1)
    inside = F.grid_sample(planes, places.to(planes), padding_mode="border", align_corners=False)
    first = table[:1].expand(len(boxes), 1, -1)
    return torch.cat([first, inside.flatten(2).transpose(1, 2)], dim=1)
