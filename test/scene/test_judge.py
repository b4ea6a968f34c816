"""Figures of pictures made by hand."""

import dataclasses

import pytest
import torch

from distillnerf_ros.scene import judge as judge_module
from distillnerf_ros.scene.judge import judge, overlap, psnr
from distillnerf_ros.scene.truth import KeyframeTruth
from distillnerf_ros.scene.views import Picture


def test_psnr():
    assert psnr(torch.zeros(3, 2, 2), torch.full((3, 2, 2), 0.1)) == pytest.approx(20.0)


def test_overlap():
    said, truth = torch.tensor([[True, True, False]]), torch.tensor([[True, False, True]])
    assert overlap(said, truth) == (1, 3)


@torch.no_grad()
def test_depth_is_judged_up_to_80_m_and_a_ray_that_hits_nothing_is_80_m_long(
    scene_field, scene_log, monkeypatch
):
    seen_m = torch.full((12, 16), torch.nan)
    seen_m[0, :4] = torch.tensor([12.0, torch.inf, 3.0, 9.0])
    seen_m[0, 4:8] = torch.tensor([torch.inf, torch.inf, 70.0, torch.inf])
    truth_m = torch.full((2, 12, 16), torch.nan)
    truth_m[0, 0, :4] = torch.tensor([10.0, 40.0, torch.nan, 90.0])
    truth_m[0, 0, 4:8] = torch.inf
    seen = Picture(torch.zeros(3, 12, 16), seen_m, torch.ones(12, 16), torch.zeros(12, 16))
    monkeypatch.setattr(judge_module, "take", lambda field, shot: seen)
    unknown_m = torch.full_like(truth_m, torch.nan)
    nobody = torch.full((2, 12, 16), -1)
    truths = [KeyframeTruth((0, 1), truth_m, nobody), KeyframeTruth((2, 3), unknown_m, nobody)]
    figures = judge(scene_field, scene_log, truths)
    assert figures.abs_rel == pytest.approx((0.2 + 1.0) / 2)
    assert (figures.no_hit, figures.sky_hit) == (0.5, 0.25)


@torch.no_grad()
@pytest.mark.parametrize(("known", "iou"), [(8, 0.5), (4, None), (0, None)])
def test_motion_is_judged_where_it_is_known(scene_field, scene_log, monkeypatch, known, iou):
    """Rows from 4 to 8 move, rows from 6 on are said to; what is known ends somewhere."""
    said = torch.zeros(12, 16)
    said[6:] = 1
    seen = Picture(torch.zeros(3, 12, 16), said + 1, torch.ones(12, 16), said)
    monkeypatch.setattr(judge_module, "take", lambda field, shot: seen)
    moving = torch.zeros(1, 12, 16, dtype=torch.int8)
    moving[:, 4:8] = 1
    moving[:, known:] = -1
    truths = [KeyframeTruth((0,), torch.full((1, 12, 16), torch.nan), moving)]
    assert judge(scene_field, scene_log, truths).dynamic_iou == iou


def test_unknown_figures_are_none(scene_field, scene_log):
    log = dataclasses.replace(scene_log, held_out=torch.zeros(8, dtype=torch.bool))
    figures = judge(scene_field, log, [])
    known = {key for key, value in dataclasses.asdict(figures).items() if value is not None}
    assert known == {"psnr"}


def test_figures_of_a_field(scene_field, scene_log):
    scene_field.proposals.candidate.zero_()
    half = torch.zeros(2, 12, 16, dtype=torch.int8)
    half[:, :6] = 1
    truth = KeyframeTruth((0, 1), torch.full((2, 12, 16), 6.0), half)
    figures = judge(scene_field, scene_log, [truth])
    assert figures.dynamic_iou == 0
    assert figures.abs_rel is not None
    assert figures.abs_rel > 0
    assert figures.psnr_heldout is not None
