"""Colour scales are monotone, reversible where they must be, and honest about nothing."""

import cv2
import numpy as np
import pytest

from distillnerf_ros.demo import colors


def test_depth_runs_from_red_to_blue_and_nothing_is_dark():
    red, _, blue = colors.depth_picture(np.array([[1.5, 60.0, np.nan]], np.float32))[0].T
    assert red[0] > 150 > blue[0]
    assert blue[1] > red[1]
    assert (red[2], blue[2]) == (colors.NOTHING[0], colors.NOTHING[2])


def test_depth_scale_is_logarithmic_and_clipped():
    positions = colors.depth_position(np.array([0.1, 1.0, np.sqrt(80.0), 80.0, 500.0]))
    np.testing.assert_allclose(positions, [0, 0, 0.5, 1, 1], atol=1e-9)


def test_marks_of_the_scale_are_where_their_depth_is():
    bar, ticks = colors.depth_scale()
    assert [text for _, text in ticks] == ["1 m", "2 m", "5 m", "10 m", "20 m", "40 m", "80 m"]
    for position, text in ticks:
        depth = np.array([[float(text.split()[0])]])
        distance = np.abs(bar[0].astype(int) - colors.depth_picture(depth)[0, 0]).sum(axis=1)
        assert abs(distance.argmin() / 255 - position) < 0.01


def test_heat_pictures_can_be_read_back():
    values = np.linspace(0, 1, 256).reshape(16, 16)
    levels = np.round(values * 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    heat[0, 0] = 0  # nothing hit
    read = colors.relevancy_of_heat(heat)
    assert np.isnan(read[0, 0])
    np.testing.assert_allclose(read.ravel()[1:], values.ravel()[1:], atol=1 / 255)


def test_overlay_glows_only_above_neutral():
    picture = np.full((1, 4, 3), 100, np.uint8)
    glow = colors.heat_overlay(picture, np.array([[0.2, 0.5, np.nan, 1.0]]))[0].astype(int)
    np.testing.assert_array_equal(glow[:3], 55)
    assert glow[3, 0] > glow[3, 2] + 50


@pytest.mark.parametrize("count", [1, 3, 8])
def test_prompt_colours_differ(count):
    found = {colors.prompt_color(index, count) for index in range(count)}
    assert len(found) == count
    assert all(max(color) == 255 for color in found)
