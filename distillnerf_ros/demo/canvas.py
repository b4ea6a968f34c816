"""Small drawing aids: text, tiles, colour bars and legends on RGB pictures."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from distillnerf_ros.demo.snapshot import Picture
from distillnerf_ros.errors import DatasetError

BACKGROUND = (16, 18, 24)
PANEL = (30, 33, 42)
TEXT = (232, 234, 240)
FAINT = (150, 156, 170)


@functools.lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def blank(height: int, width: int, color: tuple[int, int, int] = BACKGROUND) -> Picture:
    """A picture of one colour."""
    return np.full((height, width, 3), color, np.uint8)


def write_text(
    picture: Picture,
    text: str,
    at_px: tuple[int, int],
    size_px: int = 14,
    color: tuple[int, int, int] = TEXT,
    anchor: str = "la",
) -> Picture:
    """The picture with a text in it.

    Args:
        picture: drawn on as a copy.
        text: one line.
        at_px: column and row of the anchor.
        size_px: height of the letters.
        color: R, G, B.
        anchor: which point of the text lies there, in Pillow's two letters (``la`` = left top,
            ``mm`` = middle).
    """
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(at_px, text, fill=color, font=_font(size_px), anchor=anchor)
    return np.array(image)


def write_tag(picture: Picture, text: str, at_px: tuple[int, int], size_px: int = 13) -> Picture:
    """The picture with a text on a dark plate, readable over anything."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    left, top, right, bottom = draw.textbbox(at_px, text, font=_font(size_px))
    draw.rounded_rectangle((left - 5, top - 4, right + 5, bottom + 4), 4, fill=(0, 0, 0, 150))
    draw.text(at_px, text, fill=(*TEXT, 255), font=_font(size_px))
    return np.array(image)


def mark(picture: Picture, text: str, at_px: tuple[int, int]) -> Picture:
    """The picture with a ring around a pixel (column, row) and a text beside it."""
    image = Image.fromarray(picture)
    col, row = at_px
    ImageDraw.Draw(image).ellipse((col - 4, row - 4, col + 4, row + 4), outline=TEXT, width=2)
    return write_tag(np.array(image), text, (col + 10, row - 7), 11)


def fit(picture: Picture, height: int, width: int) -> Picture:
    """The picture resized to fill a tile: averaged when shrinking, smooth when growing."""
    shrinking = height <= picture.shape[0] and width <= picture.shape[1]
    method = Image.Resampling.BOX if shrinking else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(picture).resize((width, height), method))


def fit_cells(picture: Picture, height: int, width: int) -> Picture:
    """The picture resized without mixing colours, for depth and labels."""
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST))


def paste(canvas: Picture, picture: Picture, row: int, col: int) -> None:
    """Put a picture on a canvas in place; what does not fit is cut."""
    height = min(picture.shape[0], canvas.shape[0] - row)
    width = min(picture.shape[1], canvas.shape[1] - col)
    canvas[row : row + height, col : col + width] = picture[:height, :width]


def legend(
    entries: Sequence[tuple[str, tuple[int, int, int]]], width: int, row_px: int = 22
) -> Picture:
    """Colour patches with names, wrapped to a width."""
    font = _font(14)
    lines: list[list[tuple[int, str, tuple[int, int, int]]]] = [[]]
    col = 4
    for name, color in entries:
        needed = 24 + int(font.getlength(name)) + 14
        if lines[-1] and col + needed > width:
            lines.append([])
            col = 4
        lines[-1].append((col, name, color))
        col += needed
    image = Image.fromarray(blank(row_px * len(lines), width))
    draw = ImageDraw.Draw(image)
    for index, line in enumerate(lines):
        middle = index * row_px + row_px // 2
        for left, name, color in line:
            draw.rectangle((left, middle - 7, left + 14, middle + 7), fill=color)
            draw.text((left + 22, middle), name, fill=TEXT, font=font, anchor="lm")
    return np.array(image)


def color_bar(
    colors: Picture, ticks: Sequence[tuple[float, str]], width: int, title: str
) -> Picture:
    """A horizontal scale.

    Args:
        colors: (1, S, 3) colours from left to right.
        ticks: position 0..1 and text of each mark.
        width: pixels.
        title: written at the left.
    """
    image = Image.fromarray(blank(34, width))
    draw = ImageDraw.Draw(image)
    font = _font(13)
    left = int(font.getlength(title)) + 14
    bar_px = width - left - 24
    draw.text((2, 10), title, fill=TEXT, font=font, anchor="lm")
    image.paste(Image.fromarray(colors).resize((bar_px, 12)), (left, 4))
    for position, text in ticks:
        col = left + position * (bar_px - 1)
        draw.line((col, 16, col, 19), fill=FAINT)
        draw.text((col, 20), text, fill=FAINT, font=font, anchor="ma")
    return np.array(image)


def save_png(picture: Picture, path: Path) -> Path:
    """Write a PNG.

    Raises:
        DatasetError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, format="PNG", optimize=True)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error}") from error
    return path
