"""Pipeline results become the same plain arrays that recorded messages become."""

import dataclasses

import numpy as np
import pytest
import torch

from distillnerf_ros.checkpoint import Checkpoint
from distillnerf_ros.demo.glance import Glance, answers, snapshot
from distillnerf_ros.demo.query import table
from distillnerf_ros.demo.render import pictures
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.hits import Cluster, Hits


@pytest.fixture
def glance(small_config, make_rig) -> Glance:
    torch.manual_seed(0)
    pipeline = Pipeline(Checkpoint(DistillNeRF(small_config), None), torch.device("cpu"))
    rig = make_rig()
    field = pipeline.encode(rig)
    return Glance("a scene", pipeline, rig, field, pipeline.render(field, rig))


def test_views_are_the_cameras_in_order(glance):
    shown = snapshot(glance)
    assert [view.name for view in shown.cameras] == list(glance.rig.names)
    front = shown.cameras[0]
    expected = glance.rig.images[0, :, 3, 5].mul(255).round()
    np.testing.assert_array_equal(front.picture[3, 5], expected.numpy())
    np.testing.assert_array_equal(front.depth_m, glance.rendered.depth_m[0].numpy())
    assert front.features.dtype == np.uint8
    assert front.heat is None


def test_voxels_are_those_of_the_occupancy(glance):
    shown, occupancy = snapshot(glance), glance.pipeline.occupancy(glance.field)
    assert len(shown.voxels.points_m) == int(occupancy.occupied.sum())
    assert shown.voxels.labels is None
    assert (shown.grid >= 0).sum() == int(occupancy.observed.any(dim=2).sum())


def test_every_picture_has_a_name(glance):
    shown = snapshot(glance)
    blind = dataclasses.replace(shown.cameras[0], rgb=None)
    named = pictures(dataclasses.replace(shown, cameras=(blind, *shown.cameras[1:])))
    assert "CAM_FRONT_rgb" not in named
    assert {"CAM_BACK_rgb", "CAM_FRONT_depth", "voxels", "birds_eye"} <= set(named)
    assert all(picture.dtype == np.uint8 for picture in named.values())


def test_answers_as_a_table():
    hits = Hits(
        ("a bus", "a tree"),
        torch.zeros(1, 3),
        torch.tensor([[0.8, 0.1]]),
        torch.ones(1),
        (Cluster(0, (10.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.75, 5),),
        torch.tensor([0.8, torch.nan]),
    )
    bus, tree = answers(hits)
    assert bus.found[0].prompt == "a bus"
    assert bus.score == pytest.approx(0.8)
    assert tree.found == ()
    lines = table([bus, tree]).splitlines()
    assert lines[1].split() == ["a", "bus", "0.80", "1", "10", "m", "ahead"]
    assert lines[2].split() == ["a", "tree", "-", "0", "not", "here"]
