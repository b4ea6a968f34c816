"""Scores of the frames of one scene: everything the figures of a data set are computed from."""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.lidar import project
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.data.occ3d import OccupancyTruth, read_labels
from distillnerf_ros.errors import QueryError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.occupancy import Occupancy, voxel_centers_m
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.query.text import relevancy_in_pca
from distillnerf_ros.taxonomy import FREE_LABEL
from distillnerf_ros.training.baselines import VoxelCounts, flat_road_depth, flat_road_occupancy
from distillnerf_ros.training.metrics import Confusion, RankingCounts, depth_errors, psnr, ssim
from distillnerf_ros.voxels.field import VoxelField

STAGES = ("encode", "depth", "occupancy")
"""What is timed of each frame."""


@dataclasses.dataclass(frozen=True)
class LidarTruth:
    """Lidar points of one sweep as they fall into the cells of rendered depth images.

    Every point in an image counts on its own, also where several fall into one cell.

    Attributes:
        cells: (P,) flat index into images of shape (N, h, w).
        depth_m: (P,) along the optical axis.
    """

    cells: Int[np.ndarray, " P"]
    depth_m: Float[np.ndarray, " P"]


def lidar_truth(
    points_m: Float[Tensor, "P 3"], rig: CameraRig, grid_size: tuple[int, int]
) -> LidarTruth:
    """Project points into every camera that is there.

    Args:
        points_m: ego metres, without returns from the vehicle.
        rig: the cameras.
        grid_size: rows and columns of the depth images.
    """
    (rows, cols), (height, width) = grid_size, rig.image_size
    cells, depths = [], []
    for camera in rig.valid.nonzero()[:, 0].tolist():
        uv, depth = project(points_m, rig, camera)
        col, row = (uv[:, 0] * (cols / width)).floor(), (uv[:, 1] * (rows / height)).floor()
        inside = (depth > 0) & (col >= 0) & (col < cols) & (row >= 0) & (row < rows)
        cells.append(((camera * rows + row) * cols + col)[inside].long().numpy())
        depths.append(depth[inside].numpy())
    return LidarTruth(np.concatenate(cells), np.concatenate(depths))


@dataclasses.dataclass(frozen=True)
class Frame:
    """One keyframe and its truths.

    Attributes:
        token: sample token.
        rig: images at the model's size.
        lidar: depth truth.
        occupancy: Occ3D truth; None where the data set has none.
    """

    token: str
    rig: CameraRig
    lidar: LidarTruth
    occupancy: OccupancyTruth | None


def load_frame(nusc: NuScenes, token: str, pipeline: Pipeline) -> Frame:
    """Read one keyframe.

    Raises:
        DatasetError: a file is missing or damaged.
        ImageError: an image is.
    """
    rig = nuscenes.load_glance(nusc, token, pipeline.image_size)
    lidar = lidar_truth(nuscenes.lidar_points(nusc, token), rig, pipeline.depth_size)
    path = nuscenes.occ3d_path(nusc, token)
    return Frame(token, rig, lidar, read_labels(path) if path.is_file() else None)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says about one frame, and how long each stage took."""

    field: VoxelField
    depth_m: Float[np.ndarray, "N h w"]
    rgb: Float[np.ndarray, "N 3 H W"]
    occupancy: Occupancy
    seconds: tuple[float, float, float]


def answer(pipeline: Pipeline, rig: CameraRig) -> Answer:
    """Encode one glance, then render its depth and colour and fill its occupancy."""
    marks_s = [_now_s(pipeline)]
    field = pipeline.encode(rig)
    marks_s.append(_now_s(pipeline))
    depth = pipeline.depth(field, rig)
    marks_s.append(_now_s(pipeline))
    occupancy = pipeline.occupancy(field)
    marks_s.append(_now_s(pipeline))
    encode_s, depth_s, occupancy_s = np.diff(marks_s).tolist()
    rgb = pipeline.render(field, rig).rgb
    return Answer(
        field, depth.cpu().numpy(), rgb.cpu().numpy(), occupancy, (encode_s, depth_s, occupancy_s)
    )


def _now_s(pipeline: Pipeline) -> float:
    if pipeline.device.type == "cuda":
        torch.cuda.synchronize(pipeline.device)
    return time.perf_counter()


def predicted_labels(occupancy: Occupancy) -> np.ndarray:
    """(200, 200, 16) class of each voxel; weights without semantics call all of it class 0."""
    if occupancy.labels is not None:
        return occupancy.labels.cpu().numpy()
    return np.where(occupancy.occupied.cpu().numpy(), 0, FREE_LABEL).astype(np.uint8)


def class_scores(
    pipeline: Pipeline, semantics: Semantics, field: VoxelField, points_m: Float[Tensor, "P 3"]
) -> Float[np.ndarray, "P 17"]:
    """LERF relevancy, 0..1, of points to the 17 class names asked as prompts."""
    features = pipeline.voxel_features(field, points_m.to(pipeline.device))
    scores = relevancy_in_pca(features, semantics.pca, semantics.classes, semantics.negatives)
    return scores.cpu().numpy()


@dataclasses.dataclass(frozen=True)
class SceneScores:
    """Scores of one scene; a part that an interrupted evaluation goes on from.

    F frames; depth errors in the order of `metrics.DepthErrors`, NaN where a frame has no truth.

    Attributes:
        tokens: (F,) sample tokens.
        depth: (F, 7) errors of the rendered depth.
        flat_depth: (F, 7) errors of the flat road's depth.
        no_hit: (F,) share of the lidar points at which nothing was hit.
        psnr: (F,) of the rendered colour, all cameras together, dB.
        ssim: (F,) mean over the cameras.
        seconds: (F, 3) of the stages.
        truth_frame: (P,) frame of each lidar point.
        truth_cells: (P,) cell of each lidar point.
        truth_depth_m: (P,) depth of each lidar point.
        occupancy_frames: (1,) frames that have Occ3D truth.
        confusion: (18, 18) voxels, [truth, predicted].
        flat_confusion: (18, 18) the same of the flat road.
        seen: (200, 200, 16) frames in which each voxel was seen.
        occupied: (200, 200, 16) frames in which it was seen and occupied.
        ranked: (17, levels) visible occupied voxels by score for each class name.
        ranked_true: (17, levels) those of the class itself.
    """

    tokens: np.ndarray
    depth: np.ndarray
    flat_depth: np.ndarray
    no_hit: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    seconds: np.ndarray
    truth_frame: np.ndarray
    truth_cells: np.ndarray
    truth_depth_m: np.ndarray
    occupancy_frames: np.ndarray
    confusion: np.ndarray
    flat_confusion: np.ndarray
    seen: np.ndarray
    occupied: np.ndarray
    ranked: np.ndarray
    ranked_true: np.ndarray

    def save(self, path: Path) -> None:
        """Write the part whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            np.savez_compressed(file, **dataclasses.asdict(self))
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> "SceneScores":
        """Read a part."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{field.name: file[field.name] for field in dataclasses.fields(cls)})


class SceneScorer:
    """Collects the frames of one scene."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._rows: list[dict[str, object]] = []
        self._lidar: list[LidarTruth] = []
        self._confusion, self._flat_confusion = Confusion(), Confusion()
        self._voxels = VoxelCounts.empty()
        self._ranking = RankingCounts()
        self._occupancy_frames = 0
        try:
            self._semantics: Semantics | None = pipeline.semantics
        except QueryError:
            self._semantics = None

    def add(self, frame: Frame) -> Answer:
        """Judge one frame."""
        said = answer(self._pipeline, frame.rig)
        grid_size = self._pipeline.depth_size
        predicted = said.depth_m.reshape(-1)[frame.lidar.cells]
        flat = flat_road_depth(frame.rig, grid_size).reshape(-1)[frame.lidar.cells]
        images = frame.rig.images.numpy()
        there = frame.rig.valid.nonzero()[:, 0].tolist()
        self._rows.append(
            {
                "tokens": frame.token,
                "depth": dataclasses.astuple(depth_errors(predicted, frame.lidar.depth_m)),
                "flat_depth": dataclasses.astuple(depth_errors(flat, frame.lidar.depth_m)),
                "no_hit": np.isnan(predicted).mean() if len(predicted) else np.nan,
                "psnr": psnr(said.rgb[there], images[there]),
                "ssim": np.mean([ssim(said.rgb[camera], images[camera]) for camera in there]),
                "seconds": said.seconds,
            }
        )
        self._lidar.append(frame.lidar)
        if frame.occupancy is not None:
            self._add_occupancy(said, frame.occupancy)
        return said

    def _add_occupancy(self, said: Answer, truth: OccupancyTruth) -> None:
        mask = truth.mask_camera
        self._occupancy_frames += 1
        self._confusion.add(truth.semantics, predicted_labels(said.occupancy), mask)
        self._flat_confusion.add(truth.semantics, flat_road_occupancy(), mask)
        self._voxels.add(truth.occupied, mask)
        if self._semantics is not None:
            visible = truth.occupied & mask
            points = voxel_centers_m(torch.device("cpu"))[torch.from_numpy(visible)]
            scores = class_scores(self._pipeline, self._semantics, said.field, points)
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
            occupancy_frames=np.array([self._occupancy_frames]),
            confusion=self._confusion.counts,
            flat_confusion=self._flat_confusion.counts,
            seen=self._voxels.seen.astype(np.uint16),
            occupied=self._voxels.occupied.astype(np.uint16),
            ranked=self._ranking.every.astype(np.int32),
            ranked_true=self._ranking.positive.astype(np.int32),
        )


def score_scene(
    nusc: NuScenes, tokens: Sequence[str], pipeline: Pipeline, advance: Callable[[], object]
) -> SceneScores:
    """Judge keyframes of one scene.

    Args:
        nusc: the data set.
        tokens: sample tokens of the scene, at least one.
        pipeline: what is judged.
        advance: called after each frame.

    Raises:
        DatasetError: a file of the data set is missing or damaged.
        ImageError: an image is.
    """
    scorer = SceneScorer(pipeline)
    for token in tokens:
        scorer.add(load_frame(nusc, token, pipeline))
        advance()
    return scorer.finish()
