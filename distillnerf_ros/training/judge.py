"""What the model says about one keyframe, and how wrong that is."""

import dataclasses
import functools
import time
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.errors import CheckpointError, QueryError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.occupancy import Occupancy, voxel_centers_m
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.render.renderer import Rendered
from distillnerf_ros.taxonomy import FREE_LABEL
from distillnerf_ros.training.baselines import flat_road_depth
from distillnerf_ros.training.dense_depth import DenseTeacher
from distillnerf_ros.training.dense_eval import UNSEEN_ABSENT
from distillnerf_ros.training.feature_error import FeatureErrors, Maps, load_teacher
from distillnerf_ros.training.lpips import Lpips
from distillnerf_ros.training.metrics import DEPTH_LIMIT_M, depth_errors, psnr, ssim
from distillnerf_ros.training.truth import Frame, LidarTruth
from distillnerf_ros.voxels.field import VoxelField

STAGES = ("encode", "depth", "occupancy")
"""What is timed of each frame."""
Row = Mapping[str, object]
"""Values of one frame by the name of their column in `scoring.SceneScores`."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model says about one frame, and how long each stage took."""

    field: VoxelField
    depth_m: Float[np.ndarray, "N h w"]
    rendered: Rendered
    occupancy: Occupancy
    seconds: tuple[float, float, float]

    @property
    def rgb(self) -> Float[np.ndarray, "N 3 H W"]:
        """Rendered colour in 0..1."""
        return self.rendered.rgb.cpu().numpy()


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
    rendered = pipeline.render(field, rig)
    seconds = (encode_s, depth_s, occupancy_s)
    return Answer(field, depth.cpu().numpy(), rendered, occupancy, seconds)


def _now_s(pipeline: Pipeline) -> float:
    if pipeline.device.type == "cuda":
        torch.cuda.synchronize(pipeline.device)
    return time.perf_counter()


def predicted_labels(occupancy: Occupancy) -> UInt8[np.ndarray, "X Y Z"]:
    """Class of each voxel; weights without semantics call all that is occupied class 0."""
    if occupancy.labels is not None:
        return occupancy.labels.cpu().numpy()
    return np.where(occupancy.occupied.cpu().numpy(), 0, FREE_LABEL).astype(np.uint8)


def picture_errors(
    predicted: Float[np.ndarray, "N 3 H W"],
    truth: CameraRig,
    there: list[int],
    lpips: Lpips | None = None,
) -> tuple[float, float, float]:
    """PSNR over all cameras together, in dB, and the mean of the cameras' SSIM and LPIPS.

    Args:
        predicted: colour in 0..1.
        truth: holds the true images.
        there: cameras to judge; NaN where there is none.
        lpips: the third of them; NaN where it is None.
    """
    if not there:
        return float("nan"), float("nan"), float("nan")
    images = truth.images.numpy()
    each = [ssim(predicted[camera], images[camera]) for camera in there]
    apart = float("nan")
    if lpips is not None:
        given = torch.from_numpy(predicted[there]), truth.images[there]
        with torch.inference_mode():
            apart = float(lpips(*(x.to(lpips.shift) for x in given)).mean())
    return psnr(predicted[there], images[there]), float(np.mean(each)), apart


def _cameras(rig: CameraRig) -> list[int]:
    return rig.valid.nonzero()[:, 0].tolist()


class Judge:
    """A model and what is needed to judge it, loaded once for all scenes."""

    def __init__(
        self, pipeline: Pipeline, lpips: Lpips | None = None, dense: DenseTeacher | None = None
    ) -> None:
        self.pipeline, self._lpips, self.dense = pipeline, lpips, dense

    @functools.cached_property
    def semantics(self) -> Semantics | None:
        """Meaning of the weights' features to texts; None where they have none."""
        features = self._features
        return features if features is not None and features.has_texts else None

    @functools.cached_property
    def _features(self) -> Semantics | None:
        try:
            return self.pipeline.semantics
        except QueryError:
            return None

    @functools.cached_property
    def teacher(self) -> Maps | None:
        """What features are judged by; None where they cannot be."""
        if self._features is None:
            return None
        return load_teacher(self._features, self.pipeline.device)

    def views(self, frame: Frame, said: Answer) -> Row:
        """Errors of depth and colour in the frame's own views and in the next keyframe's."""
        truth, grid_size = frame.lidar, self.pipeline.depth_size
        flat = flat_road_depth(frame.rig, grid_size).reshape(-1)[truth.cells]
        predicted = said.depth_m.reshape(-1)
        here = picture_errors(said.rgb, frame.rig, _cameras(frame.rig), self._lpips)
        return {
            "depth": _depth_row(predicted, truth),
            "every_depth": _depth_row(predicted, frame.every_lidar),
            "flat_depth": dataclasses.astuple(depth_errors(flat, truth.depth_m)),
            "no_hit": np.isnan(predicted[truth.cells]).mean() if len(truth.cells) else np.nan,
            **_dense_row(said.depth_m, frame.dense_m),
            "psnr": here[0],
            "ssim": here[1],
            "lpips": here[2],
            "seconds": said.seconds,
            **self._next_view(frame, said),
        }

    def _next_view(self, frame: Frame, said: Answer) -> Row:
        rig = frame.next_rig
        if rig is None:
            kinds = ("psnr", "ssim", "lpips")
            return {f"{view}_{kind}": np.nan for view in ("next", "still") for kind in kinds}
        rgb = self.pipeline.render(said.field, rig).rgb.cpu().numpy()
        moved = picture_errors(rgb, rig, _cameras(rig), self._lpips)
        both = [camera for camera in _cameras(rig) if frame.rig.valid[camera]]
        still = picture_errors(frame.rig.images.numpy(), rig, both, self._lpips)
        return {
            "next_psnr": moved[0],
            "next_ssim": moved[1],
            "next_lpips": moved[2],
            "still_psnr": still[0],
            "still_ssim": still[1],
            "still_lpips": still[2],
        }

    def features(self, frame: Frame, said: Answer) -> FeatureErrors:
        """Errors of the rendered features of the cameras that are there."""
        if self.teacher is None:
            return FeatureErrors.none()
        there = _cameras(frame.rig)
        taught = self.teacher(frame.rig.images[there].to(self.pipeline.device))
        return FeatureErrors.of(said.rendered.features[there], taught)

    @functools.cached_property
    def absent_things(self) -> Float[Tensor, "A E"]:
        """Unit vectors of things that are in no street; none where no text can be read."""
        if self.semantics is None:
            return torch.zeros(0, 0)
        try:
            return self.pipeline.embed(UNSEEN_ABSENT)
        except CheckpointError as error:
            warnings.warn(f"absent things are not asked for: {error}", stacklevel=2)
            return self.semantics.classes[:0]

    def best_scores(
        self, said: Answer
    ) -> tuple[Float[np.ndarray, " 17"], Float[np.ndarray, " A"]]:
        """Best relevancy of all occupied voxels to class names and to absent things.

        These are the scores by which ``Pipeline.query_text`` finds hits; 0 where nothing is
        occupied.
        """
        if self.semantics is None:
            return np.zeros(FREE_LABEL), np.zeros(0)
        prompts = torch.cat([self.semantics.classes, self.absent_things])
        points = voxel_centers_m(self.pipeline.device)[said.occupancy.occupied]
        scores = self._relevancy(self.semantics, said.field, points, prompts)
        best = scores.max(axis=0, initial=0.0).astype(np.float64)
        return best[:FREE_LABEL], best[FREE_LABEL:]

    def class_scores(
        self, semantics: Semantics, field: VoxelField, points_m: Float[Tensor, "P 3"]
    ) -> Float[np.ndarray, "P 17"]:
        """LERF relevancy, 0..1, of points to the 17 class names asked as prompts."""
        return self._relevancy(semantics, field, points_m, semantics.classes)

    def _relevancy(
        self,
        semantics: Semantics,
        field: VoxelField,
        points_m: Float[Tensor, "P 3"],
        prompts: Float[Tensor, "Q E"],
    ) -> Float[np.ndarray, "P Q"]:
        features = self.pipeline.voxel_features(field, points_m.to(self.pipeline.device))
        return semantics.relevancy(features, prompts).cpu().numpy()


def _depth_row(predicted_m: Float[np.ndarray, " C"], truth: LidarTruth) -> tuple[float, ...]:
    return dataclasses.astuple(depth_errors(predicted_m[truth.cells], truth.depth_m))


def _dense_row(
    predicted_m: Float[np.ndarray, "N h w"], dense_m: Float[np.ndarray, "N h w"] | None
) -> Row:
    """Errors in every pixel that shows a surface, and of which of both is sky."""
    if dense_m is None:
        dense_m = np.full_like(predicted_m, np.nan)
    surface, sky = dense_m < DEPTH_LIMIT_M, np.isinf(dense_m)
    taken_for_sky = np.isnan(predicted_m)
    errors = depth_errors(predicted_m[surface], dense_m[surface])
    return {
        "dense_depth": dataclasses.astuple(errors),
        "dense_no_hit": taken_for_sky[surface].mean() if surface.any() else np.nan,
        "dense_sky_hit": (~taken_for_sky[sky]).mean() if sky.any() else np.nan,
    }
