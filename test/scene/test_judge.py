"""Figures of pictures made by hand."""

import dataclasses

import pytest
import torch

from distillnerf_ros.scene.judge import depth_errors, judge, overlap, psnr
from distillnerf_ros.scene.truth import KeyframeTruth
from distillnerf_ros.scene.views import Picture


def test_psnr():
    assert psnr(torch.zeros(3, 2, 2), torch.full((3, 2, 2), 0.1)) == pytest.approx(20.0)


def test_overlap():
    said, truth = torch.tensor([[True, True, False]]), torch.tensor([[True, False, True]])
    assert overlap(said, truth) == (1, 3)


def test_a_ray_that_hits_nothing_counts_as_far():
    depth = torch.tensor([[12.0, torch.inf, 3.0]])
    seen = Picture(torch.zeros(3, 1, 3), depth, torch.ones(1, 3), torch.zeros(1, 3))
    errors = depth_errors(seen, torch.tensor([[10.0, 50.0, torch.nan]]), 100.0)
    assert errors.tolist() == pytest.approx([0.2, 1.0])


def test_unknown_figures_are_none(scene_field, scene_log):
    log = dataclasses.replace(scene_log, held_out=torch.zeros(8, dtype=torch.bool))
    figures = judge(scene_field, log, [])
    assert figures.psnr is not None
    assert (figures.psnr_heldout, figures.abs_rel, figures.dynamic_iou) == (None, None, None)


def test_figures_of_a_field(scene_field, scene_log):
    scene_field.proposals.candidate.zero_()
    half = torch.zeros(2, 12, 16, dtype=torch.bool)
    half[:, :6] = True
    truth = KeyframeTruth((0, 1), torch.full((2, 12, 16), 6.0), half)
    figures = judge(scene_field, scene_log, [truth])
    assert figures.dynamic_iou == 0
    assert figures.abs_rel is not None
    assert figures.abs_rel > 0
    assert figures.psnr_heldout is not None
