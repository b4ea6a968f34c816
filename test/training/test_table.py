"""The printed table: every figure finds its place, missing ones are dashes."""

import dataclasses

import numpy as np

from distillnerf_ros.training.figures import figures
from distillnerf_ros.training.metrics import SCORE_LEVELS
from distillnerf_ros.training.scoring import SceneScores
from distillnerf_ros.training.table import summary


def one_scene() -> SceneScores:
    """One frame with a depth and a novel view, without labels and features."""
    nan, matrix, rays = np.full(1, np.nan), np.zeros((18, 18), int), np.zeros((5, 17), int)
    grid, ranked = np.zeros((2, 2, 2), int), np.zeros((17, SCORE_LEVELS), int)
    errors = np.array([[0.125, 1.0, 2.0, 0.25, 0.75, 0.875, 1.0]])
    features = ("squared", "mean_squared", "low", "high")
    return SceneScores(
        tokens=np.array(["token"]),
        **{name: errors for name in ("depth", "every_depth", "flat_depth")},
        dense_depth=np.full((1, 7), np.nan),
        **{name: nan for name in ("dense_no_hit", "dense_sky_hit")},
        **{name: nan for name in ("no_hit", "psnr", "ssim", "lpips", "next_ssim", "next_lpips")},
        next_psnr=np.array([17.256]),
        still_psnr=np.array([14.0]),
        still_ssim=nan,
        still_lpips=nan,
        seconds=np.array([[0.25, 0.15, 0.1]]),
        **{f"feature_{name}": np.zeros((1, 0)) for name in features},
        best=np.zeros((1, 17)),
        best_absent=np.zeros((1, 0)),
        presence=np.full((1, 17), -1, np.int8),
        truth_frame=np.zeros(1, int),
        truth_cells=np.zeros(1, int),
        truth_depth_m=np.ones(1),
        **{name: matrix for name in ("confusion", "flat_confusion")},
        **{name: rays for name in ("rays", "flat_rays")},
        **{name: grid for name in ("seen", "occupied")},
        **{name: ranked for name in ("ranked", "ranked_true")},
    )


def test_summary_of_one_scene() -> None:
    lines = summary(figures({"street": one_scene()}, (1, 1, 1))).splitlines()
    rows = {line[:34].strip(): line[34:].split() for line in lines}
    assert rows["depth AbsRel (lower is better)"][0] == "0.125"
    assert rows["depth AbsRel (lower is better)"][-2:] == ["flat_road", "0.125"]
    assert rows["novel view PSNR, dB"] == ["17.26", "still_picture", "14.00"]
    for title in ("occupancy RayIoU", "text query mAP, class names", "feature PSNR, dB"):
        assert rows[title][0] == "-"
    assert rows["speed, frames per second"][0] == "2.00"
    scene = dict(zip(lines[-2].split()[1:], lines[-1].split()[1:], strict=True))
    assert scene["frames"] == "1"
    assert scene["d1"] == "0.750"
    assert scene["next"] == "17.26"
    assert scene["RayIoU"] == scene["feature"] == "-"


def test_lpips_is_a_figure_where_it_was_judged() -> None:
    scene = one_scene()
    assert "lpips" not in figures({"street": scene}, (1, 1, 1))["reconstruction"]
    judged = dataclasses.replace(scene, lpips=np.array([0.25]), next_lpips=np.array([0.5]))
    content = figures({"street": judged}, (1, 1, 1))
    assert content["reconstruction"]["lpips"] == 0.25
    assert (
        content["novel_view"]["lpips"] == content["scenes"]["street"]["novel_view"]["lpips"] == 0.5
    )


def test_depth_of_every_pixel_is_a_figure_where_it_was_judged() -> None:
    scene = one_scene()
    plain = figures({"street": scene}, (1, 1, 1))
    assert "dense" not in plain["depth"]
    assert "every pixel" not in summary(plain)
    errors = np.array([[0.375, 1.0, 2.0, 0.25, 0.625, 0.875, 1.0]])
    shares = {"dense_no_hit": np.array([0.01]), "dense_sky_hit": np.array([0.25])}
    content = figures(
        {"street": dataclasses.replace(scene, dense_depth=errors, **shares)}, (1, 1, 1)
    )
    dense = content["depth"]["dense"]
    assert (dense["abs_rel"], dense["no_hit"], dense["sky_hit"]) == (0.375, 0.01, 0.25)
    rows = {line[:34].strip(): line[34:].split() for line in summary(content).splitlines()}
    assert rows["depth of every pixel, AbsRel"] == ["0.375"]
    assert rows["sky taken for a surface"] == ["0.250"]
