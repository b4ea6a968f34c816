"""Colours of depth, relevancy and prompts."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from distillnerf_ros.demo.snapshot import Picture

DEPTH_RANGE_M = (1.0, 80.0)
"""Ends of the depth scale, which is logarithmic."""
DEPTH_TICKS_M = (1, 2, 5, 10, 20, 40, 80)
NOTHING = (24, 26, 34)
"""Colour of pixels where nothing is hit."""
NEUTRAL_RELEVANCY = 0.5
"""Relevancy of what looks as much like the prompt as like anything."""
CERTAIN_RELEVANCY = 0.8
"""Relevancy from which a pixel glows at full strength."""


def turbo(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape 3"]:
    """The turbo colours of values 0..1; `NOTHING` for NaN."""
    levels = (np.nan_to_num(values).clip(0, 1) * 255).round().astype(np.uint8)
    colors = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_TURBO)[:, 0, ::-1]
    colors = colors.reshape(*values.shape, 3).copy()
    colors[np.isnan(values)] = NOTHING
    return colors


def depth_position(depth_m: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Place of a depth on the scale, 0 = near, 1 = far; NaN stays NaN."""
    near, far = DEPTH_RANGE_M
    return np.log(np.clip(depth_m, near, far) / near) / np.log(far / near)


def depth_picture(depth_m: Float[np.ndarray, "h w"]) -> Picture:
    """Depth in turbo colours: near red, far blue, nothing dark."""
    return turbo(1 - depth_position(depth_m))


def depth_scale() -> tuple[Picture, list[tuple[float, str]]]:
    """Colours and marks of the depth scale, for a colour bar."""
    places = depth_position(np.array(DEPTH_TICKS_M, np.float64)).tolist()
    ticks = [(place, f"{m} m") for place, m in zip(places, DEPTH_TICKS_M, strict=True)]
    return turbo(1 - np.linspace(0, 1, 256))[None], ticks


def relevancy_of_heat(heat: Picture) -> Float[np.ndarray, "h w"]:
    """Relevancy of a heat picture in turbo colours, as the node publishes it; black is NaN."""
    palette = turbo(np.arange(256) / 255.0).astype(np.int32)
    keys = palette @ (1 << 16, 1 << 8, 1)
    order = np.argsort(keys)
    wanted = heat.astype(np.int32) @ np.array((1 << 16, 1 << 8, 1))
    at = np.searchsorted(keys[order], wanted).clip(max=255)
    known = keys[order][at] == wanted
    return np.where(known, order[at] / 255.0, np.nan)


def heat_overlay(picture: Picture, relevancy: Float[np.ndarray, "H W"]) -> Picture:
    """A darkened grey picture that glows where relevancy is above neutral.

    Args:
        picture: RGB of the same size as the relevancy.
        relevancy: 0..1; NaN glows nowhere.
    """
    grey = picture.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.55
    above = (relevancy - NEUTRAL_RELEVANCY) / (CERTAIN_RELEVANCY - NEUTRAL_RELEVANCY)
    strength = np.nan_to_num(above).clip(0, 1)
    glow = turbo(0.35 + 0.6 * strength).astype(np.float32)
    alpha = np.sqrt(strength)[..., None] * 0.9
    return (grey * (1 - alpha) + glow * alpha).round().astype(np.uint8)


def label_overlay(picture: Picture, shown: Picture) -> Picture:
    """A darkened picture under colours; black covers nothing."""
    dark = picture * 0.6
    covered = np.where(shown.any(axis=2, keepdims=True), 0.4 * dark + 0.6 * shown, dark)
    return covered.round().astype(np.uint8)


def prompt_color(index: int, count: int) -> tuple[int, int, int]:
    """A bright colour per prompt, evenly spread over the hues."""
    red, green, blue = colorsys.hsv_to_rgb(index / max(count, 1), 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
