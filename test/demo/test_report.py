"""The report is one well-formed file with every section, and nothing in it can break out."""

import base64
import html.parser
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from distillnerf_ros.demo.report import Answer, Contents, image_tag, number, report, where_is
from distillnerf_ros.demo.snapshot import Found
from distillnerf_ros.demo.truth import Judgement
from distillnerf_ros.training.metrics import DepthErrors

ERRORS = DepthErrors(0.181, 0.1, 4.25, 0.2, 0.742, 0.8, 0.9)


@pytest.fixture
def contents(snapshot) -> Contents:
    van = Found("a <van> & more", (20.0, 10.0, 0.0), (4.0, 2.0, 2.0), 0.81, 30)
    return Contents(
        title="a drive",
        snapshot=snapshot,
        snapshots=(snapshot,) * 3,
        queries=("a car",),
        answers=(Answer(van.prompt, 0.81, (van,)), Answer("an elephant", math.nan, ())),
        truth=snapshot.voxels,
        judgement=Judgement(3, {"CAM_FRONT": ERRORS}, ERRORS, ERRORS, 0.412, 3),
        stages_ms={"decode": 20.0, "encode": 180.0},
        memory_mib=812.0,
        counts={"/distillnerf/occupancy": 3},
        facts={"weights": "tiny"},
    )


class Balance(html.parser.HTMLParser):
    """Checks that every element that opens closes."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_file_is_balanced_and_self_contained(contents):
    text = report(contents)
    checker = Balance()
    checker.feed(text)
    assert checker.open == []
    assert set(re.findall(r'src="(.{11})', text)) == {"data:image/"}
    assert "http" not in text


def test_every_section_has_its_figures(contents):
    text = report(contents)
    for wanted in (
        "0.181",
        "0.742",
        "41.2%",
        "200 ms a glance",
        "812 MiB",
        "22 m ahead left",
        "3 glances",
        "/distillnerf/occupancy",
        "weights: tiny",
        "as far as the cameras can see",
    ):
        assert wanted in text


def test_words_of_the_user_are_escaped(contents):
    text = report(contents)
    assert "a &lt;van&gt; &amp; more" in text
    assert "<van>" not in text


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"judgement": None}, "No processed glance was a keyframe"),
        ({"answers": ()}, "None was answered"),
        ({"stages_ms": {}}, "published no timing"),
        ({"truth": None}, "<h2>Occupancy: 2 voxels"),
    ],
)
def test_what_is_missing_is_said(contents, changes, wanted):
    import dataclasses

    assert wanted in report(dataclasses.replace(contents, **changes))


def test_pictures_are_embedded_as_they_are():
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    tag = image_tag(picture, 'a "quoted" name')
    assert 'alt="a &quot;quoted&quot; name"' in tag
    data = base64.b64decode(re.search(r"base64,([^\"]+)", tag).group(1))
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(data))), picture)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((10.0, 0.0), "10 m ahead"),
        ((3.0, 4.0), "5 m ahead left"),
        ((0.0, -7.0), "7 m right"),
        ((-9.0, -0.5), "9 m behind"),
        ((-5.0, -5.0), "7 m behind right"),
    ],
)
def test_places_in_words(place, words):
    assert where_is(Found("x", (*place, 0.0), (1.0, 1.0, 1.0), 0.5, 1)) == words


def test_numbers():
    assert number(0.12345) == "0.123"
    assert number(math.nan) == "-"
