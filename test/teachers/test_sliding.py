"""Windows over large images: one window is the image itself, many are averaged."""

import itertools

import pytest
import torch
from torch import nn

from distillnerf_ros.errors import ConfigError, ImageError
from distillnerf_ros.teachers.sliding import Sliding, starts


class PlaceKnowing(nn.Module):
    """Mean colour of a patch, and its place in the picture that it is shown: windows differ."""

    patch, width, native = (4, 2), 5, (3, 4)

    def unnormalised(self, images: torch.Tensor) -> torch.Tensor:
        color = nn.functional.avg_pool2d(images, self.patch)
        rows, cols = color.shape[2:]
        row = torch.arange(rows).reshape(1, 1, rows, 1).expand(len(images), 1, rows, cols)
        col = torch.arange(cols).reshape(1, 1, 1, cols).expand(len(images), 1, rows, cols)
        return torch.cat([color, 1.0 + row, 1.0 + 10 * col], dim=1)


def slow_mean(images: torch.Tensor, overlap: float) -> torch.Tensor:
    """For each patch of each image: the mean over the windows that hold it."""
    dense = PlaceKnowing()
    (height, width), (high, wide) = dense.patch, dense.native
    rows, cols = images.shape[2] // height, images.shape[3] // width
    high, wide = min(high, rows), min(wide, cols)
    out = torch.zeros(len(images), dense.width, rows, cols)
    for row in range(rows):
        for col in range(cols):
            seen = []
            for top in starts(rows, high, overlap):
                for left in starts(cols, wide, overlap):
                    if top <= row < top + high and left <= col < left + wide:
                        part = images[:, :, top * height : (top + high) * height]
                        part = part[:, :, :, left * width : (left + wide) * width]
                        seen.append(dense.unnormalised(part)[:, :, row - top, col - left])
            out[:, :, row, col] = torch.stack(seen).mean(0)
    return out


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("grid", [(3, 4), (7, 10), (2, 9), (8, 3), (4, 5)])
def test_overlapping_windows_are_averaged(grid: tuple[int, int], overlap: float) -> None:
    images = torch.rand(2, 3, grid[0] * 4, grid[1] * 2)
    got = Sliding(PlaceKnowing(), overlap).unnormalised(images)
    torch.testing.assert_close(got, slow_mean(images, overlap))


@pytest.mark.parametrize("size", [(12, 8), (8, 8), (12, 4), (11, 7)])
def test_what_fits_into_one_window_is_looked_at_as_a_whole(size: tuple[int, int]) -> None:
    class Recording(PlaceKnowing):
        def unnormalised(self, images: torch.Tensor) -> torch.Tensor:
            self.shown = images
            return torch.ones(len(images), 5, 1, 1)

    images, dense = torch.rand(1, 3, *size), Recording()
    assert Sliding(dense)(images).shape == (1, 5, 1, 1)
    assert dense.shown is images


def test_any_size_gives_unit_features() -> None:
    features = Sliding(PlaceKnowing())(torch.rand(1, 3, 30, 21))
    assert features.shape == (1, 5, 8, 10)  # 21 / 2 = 10.5, rounded to even
    torch.testing.assert_close(features.norm(dim=1), torch.ones(1, 8, 10))


@pytest.mark.parametrize(
    ("length", "window", "overlap", "expected"),
    [
        (14, 14, 0.5, [0]),
        (15, 14, 0.5, [0, 1]),
        (28, 14, 0.5, [0, 7, 14]),
        (28, 14, 0.0, [0, 14]),
        (30, 14, 0.5, [0, 5, 11, 16]),
        (3, 1, 0.9, [0, 1, 2]),
    ],
)
def test_windows_cover_a_side_evenly(length, window, overlap, expected) -> None:
    assert starts(length, window, overlap) == expected


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
def test_neighbours_overlap_as_much_as_asked(overlap: float) -> None:
    for window in (1, 5, 16):
        for length in range(window, 4 * window):
            firsts = starts(length, window, overlap)
            assert firsts[0] == 0
            assert firsts[-1] + window == length
            steps = [b - a for a, b in itertools.pairwise(firsts)]
            assert all(0 < step <= max(1, window * (1 - overlap)) for step in steps)


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_out_of_range_is_refused(overlap: float) -> None:
    with pytest.raises(ConfigError, match="from 0 to below 1"):
        Sliding(PlaceKnowing(), overlap)


def test_errors_of_the_model_pass_through() -> None:
    class Small(PlaceKnowing):
        def unnormalised(self, images: torch.Tensor) -> torch.Tensor:
            raise ImageError("smaller than a patch")

    with pytest.raises(ImageError, match="smaller than a patch"):
        Sliding(Small())(torch.rand(1, 3, 1, 1))
