"""Scores of the frames of one scene: everything the figures of a data set are computed from."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.data.occ3d import OccupancyTruth
from distillnerf_ros.errors import ConfigError
from distillnerf_ros.files import whole_file
from distillnerf_ros.query.occupancy import voxel_centers_m
from distillnerf_ros.taxonomy import FREE_LABEL
from distillnerf_ros.training.absent import HIDDEN, presence
from distillnerf_ros.training.baselines import VoxelCounts, flat_road_occupancy
from distillnerf_ros.training.judge import Answer, Judge, answer, predicted_labels
from distillnerf_ros.training.metrics import Confusion, RankingCounts
from distillnerf_ros.training.ray_iou import RayCounts, RayTruth, choose_origins
from distillnerf_ros.training.truth import Frame, LidarTruth, load_frame


@dataclasses.dataclass(frozen=True)
class SceneScores:
    """Scores of one scene; a part that an interrupted evaluation goes on from.

    F frames; depth errors in the order of `metrics.DepthErrors`, NaN where a frame has no truth.

    Attributes:
        tokens: (F,) sample tokens.
        depth: (F, 7) errors of the rendered depth at the nearest lidar point of each cell.
        every_depth: (F, 7) the same at every lidar point.
        flat_depth: (F, 7) errors of the flat road's depth at the nearest ones.
        no_hit: (F,) share of the nearest lidar points at which nothing was hit.
        dense_depth: (F, 7) errors in every pixel whose depth is known; NaN where nobody says.
        dense_no_hit: (F,) share of them at which nothing was hit.
        dense_sky_hit: (F,) share of the pixels known to be sky at which something was.
        psnr: (F,) of the rendered colour, all cameras together, dB.
        ssim: (F,) mean over the cameras.
        lpips: (F,) mean over the cameras; NaN if not judged.
        next_psnr: (F,) of the colour rendered where the next keyframe's cameras are.
        next_ssim: (F,) the same.
        next_lpips: (F,) the same.
        still_psnr: (F,) of this keyframe's images held against the next one's.
        still_ssim: (F,) the same.
        still_lpips: (F,) the same.
        seconds: (F, 3) of the stages.
        feature_squared: (F, C) mean squared error of each component; C = 0 if not judged.
        feature_mean_squared: (F, C) the same of the components' mean.
        feature_low: (F, C) least value of the teacher's.
        feature_high: (F, C) greatest.
        best: (F, 17) best score of the frame's occupied voxels for each class name.
        best_absent: (F, A) the same for things that are in no street; A = 0 if not asked for.
        presence: (F, 17) see `absent.presence`.
        truth_frame: (P,) frame of each of the nearest lidar points.
        truth_cells: (P,) their cells.
        truth_depth_m: (P,) their depths.
        confusion: (18, 18) voxels, [truth, predicted].
        flat_confusion: (18, 18) the same of the flat road.
        rays: (5, 17) see `ray_iou.RayCounts`.
        flat_rays: (5, 17) the same of the flat road.
        seen: (200, 200, 16) frames in which each voxel was seen.
        occupied: (200, 200, 16) frames in which it was seen and occupied.
        ranked: (17, levels) visible occupied voxels by score for each class name.
        ranked_true: (17, levels) those of the class itself.
    """

    tokens: np.ndarray
    depth: np.ndarray
    every_depth: np.ndarray
    flat_depth: np.ndarray
    no_hit: np.ndarray
    dense_depth: np.ndarray
    dense_no_hit: np.ndarray
    dense_sky_hit: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    lpips: np.ndarray
    next_psnr: np.ndarray
    next_ssim: np.ndarray
    next_lpips: np.ndarray
    still_psnr: np.ndarray
    still_ssim: np.ndarray
    still_lpips: np.ndarray
    seconds: np.ndarray
    feature_squared: np.ndarray
    feature_mean_squared: np.ndarray
    feature_low: np.ndarray
    feature_high: np.ndarray
    best: np.ndarray
    best_absent: np.ndarray
    presence: np.ndarray
    truth_frame: np.ndarray
    truth_cells: np.ndarray
    truth_depth_m: np.ndarray
    confusion: np.ndarray
    flat_confusion: np.ndarray
    rays: np.ndarray
    flat_rays: np.ndarray
    seen: np.ndarray
    occupied: np.ndarray
    ranked: np.ndarray
    ranked_true: np.ndarray

    def save(self, path: Path) -> None:
        """Write the part whole or not at all.

        Raises:
            ConfigError: it cannot be written.
        """
        with whole_file(path, ConfigError) as part, part.open("wb") as file:
            np.savez_compressed(file, **dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> "SceneScores":
        """Read a part."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{field.name: file[field.name] for field in dataclasses.fields(cls)})


class SceneScorer:
    """Collects the frames of one scene."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._rows: list[dict[str, object]] = []
        self._lidar: list[LidarTruth] = []
        self._confusion, self._flat_confusion = Confusion(), Confusion()
        self._rays, self._flat_rays = RayCounts(), RayCounts()
        self._voxels = VoxelCounts.empty()
        self._ranking = RankingCounts()

    def add(self, frame: Frame) -> Answer:
        """Judge one frame."""
        said = answer(self._judge.pipeline, frame.rig)
        features = self._judge.features(frame, said)
        best, best_absent = self._judge.best_scores(said)
        there = np.full(FREE_LABEL, HIDDEN, np.int8)
        if frame.occupancy is not None:
            there = presence(frame.occupancy)
            self._add_occupancy(said, frame, frame.occupancy)
        self._rows.append(
            {
                "tokens": frame.token,
                **self._judge.views(frame, said),
                "feature_squared": features.squared,
                "feature_mean_squared": features.mean_squared,
                "feature_low": features.low,
                "feature_high": features.high,
                "best": best,
                "best_absent": best_absent,
                "presence": there,
            }
        )
        self._lidar.append(frame.lidar)
        return said

    def _add_occupancy(self, said: Answer, frame: Frame, truth: OccupancyTruth) -> None:
        mask, predicted, flat = truth.mask_camera, *_guesses(said)
        self._confusion.add(truth.semantics, predicted, mask)
        self._flat_confusion.add(truth.semantics, flat, mask)
        rays = RayTruth.of(truth.semantics, choose_origins(frame.lidar_origins_m))
        self._rays.add(rays, predicted)
        self._flat_rays.add(rays, flat)
        self._voxels.add(truth.occupied, mask)
        semantics = self._judge.semantics
        if semantics is not None:
            visible = truth.occupied & mask
            points = voxel_centers_m(torch.device("cpu"))[torch.from_numpy(visible)]
            scores = self._judge.class_scores(semantics, said.field, points)
            self._ranking.add(scores, truth.semantics[visible])

    def finish(self) -> SceneScores:
        """Everything of the scene as arrays."""
        columns = {name: np.array([row[name] for row in self._rows]) for name in self._rows[0]}
        return SceneScores(
            **columns,
            truth_frame=np.concatenate(
                [np.full(len(one.cells), i, np.int16) for i, one in enumerate(self._lidar)]
            ),
            truth_cells=np.concatenate([one.cells for one in self._lidar]).astype(np.int32),
            truth_depth_m=np.concatenate([one.depth_m for one in self._lidar]),
            confusion=self._confusion.counts,
            flat_confusion=self._flat_confusion.counts,
            rays=self._rays.counts,
            flat_rays=self._flat_rays.counts,
            seen=self._voxels.seen.astype(np.uint16),
            occupied=self._voxels.occupied.astype(np.uint16),
            ranked=self._ranking.every.astype(np.int32),
            ranked_true=self._ranking.positive.astype(np.int32),
        )


def _guesses(said: Answer) -> tuple[np.ndarray, np.ndarray]:
    """(200, 200, 16) classes that the model and the flat road say."""
    return predicted_labels(said.occupancy), flat_road_occupancy()


def score_scene(
    nusc: NuScenes, tokens: Sequence[str], judge: Judge, advance: Callable[[], object]
) -> SceneScores:
    """Judge keyframes of one scene.

    Args:
        nusc: the data set.
        tokens: sample tokens of the scene, at least one.
        judge: holds the model that is judged.
        advance: called after each frame.

    Raises:
        DatasetError: a file of the data set is missing or damaged.
        ImageError: an image is.
    """
    scorer, pipeline = SceneScorer(judge), judge.pipeline
    for token in tokens:
        sizes = (pipeline.image_size, pipeline.depth_size)
        scorer.add(load_frame(nusc, token, *sizes, judge.dense))
        advance()
    return scorer.finish()
