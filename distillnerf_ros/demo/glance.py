"""One keyframe of a nuScenes folder through the pipeline, without ROS, as a snapshot."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.demo.report import Answer
from distillnerf_ros.demo.snapshot import CameraView, Found, Snapshot, Voxels
from distillnerf_ros.errors import DatasetError, QueryError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.hits import Hits
from distillnerf_ros.query.occupancy import Occupancy
from distillnerf_ros.render.renderer import Rendered
from distillnerf_ros.voxels.field import VoxelField

_FEATURE_STD = 2.5
"""Standard deviations of a principal component that are drawn at full brightness."""


@dataclasses.dataclass(frozen=True)
class Glance:
    """One encoded keyframe.

    Attributes:
        name: scene and number of the keyframe.
        pipeline: the model.
        rig: its cameras, at the size of the pictures.
        field: what the model made of it.
        rendered: what its cameras see of the field.
    """

    name: str
    pipeline: Pipeline
    rig: CameraRig
    field: VoxelField
    rendered: Rendered


def add_glance_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that choose a keyframe and a model."""
    nuscenes.add_dataset_arguments(parser)
    parser.add_argument("--frame", type=int, default=0, metavar="K", help="keyframe, from 0")
    parser.add_argument(
        "--weights", default="tiny", help="shipped weights by name, or a .safetensors file"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:K")


def choose_keyframe(
    args: argparse.Namespace, default: str | None = None
) -> tuple[NuScenes, dict[str, Any], str]:
    """The data set, scene and sample that the arguments choose.

    Args:
        args: of `add_glance_arguments`.
        default: name of the scene where none is asked for; None = the first.

    Raises:
        DatasetError: the data set, scene or keyframe is not there.
    """
    nusc = nuscenes.open_dataset(Path(args.dataroot), args.version)
    scene = nuscenes.find_scene(nusc, args.scene or default)
    samples = nuscenes.keyframes(nusc, scene)
    if not 0 <= args.frame < len(samples):
        raise DatasetError(f"--frame {args.frame}: {scene['name']} has 0..{len(samples) - 1}")
    return nusc, scene, samples[args.frame]


def look(args: argparse.Namespace, image_size: tuple[int, int] = (450, 800)) -> Glance:
    """Read and encode the keyframe that the arguments choose.

    Raises:
        CheckpointError: the weights cannot be loaded.
        DatasetError: the data set, scene or keyframe is not there.
    """
    pipeline = Pipeline.load(args.weights, args.device)
    nusc, scene, sample = choose_keyframe(args)
    rig = nuscenes.load_glance(nusc, sample, image_size).present()
    field = pipeline.encode(rig)
    rendered = pipeline.render(field, rig.resized(*pipeline.image_size))
    return Glance(f"{scene['name']}, keyframe {args.frame}", pipeline, rig, field, rendered)


def snapshot(glance: Glance, queries: Sequence[str] = ()) -> Snapshot:
    """Everything about the glance, ready to draw.

    Args:
        glance: the encoded keyframe.
        queries: what glows in the heat pictures; none = no heat.
    """
    pipeline, rendered = glance.pipeline, glance.rendered
    heat = pipeline.relevancy_image(rendered, queries) if queries else None
    try:
        std = pipeline.semantics.pca.std
    except QueryError:  # untrained features have no scale of their own
        std = torch.ones(3) / _FEATURE_STD
    occupancy = pipeline.occupancy(glance.field)
    views = camera_views(glance.rig, rendered, feature_colors(rendered.features, std), heat)
    return Snapshot(0, views, voxels_of(occupancy), _seen(occupancy))


def camera_views(
    rig: CameraRig,
    rendered: Rendered,
    features: np.ndarray | None,
    heat: Float[torch.Tensor, "N h w"] | None,
) -> tuple[CameraView, ...]:
    """What each camera saw and what is rendered for it.

    Args:
        rig: the cameras.
        rendered: what they see of a field.
        features: (N, h, w, 3) of ``feature_colors``; None where there are none.
        heat: what glows, NaN where nothing is hit; None = nothing is asked.
    """
    return tuple(
        CameraView(
            name,
            picture=_bytes(rig.images[index].permute(1, 2, 0)),
            rgb=_bytes(rendered.rgb[index].permute(1, 2, 0)),
            depth_m=rendered.depth_m[index].cpu().numpy(),
            features=None if features is None else features[index],
            heat=None if heat is None else heat[index].cpu().numpy(),
        )
        for index, name in enumerate(rig.names)
    )


def feature_colors(
    features: Float[torch.Tensor, "N C h w"], std: Float[torch.Tensor, " S"]
) -> np.ndarray:
    """(N, h, w, 3) the first three components as colours, the same for every camera.

    Args:
        features: in components.
        std: standard deviation of each.
    """
    span = _FEATURE_STD * std[:3]
    scaled = features[:, :3] / (2 * span.to(features)[:, None, None]) + 0.5
    return _bytes(scaled.permute(0, 2, 3, 1))


def voxels_of(occupancy: Occupancy) -> Voxels:
    """The occupied voxels as plain arrays."""
    occupied = occupancy.occupied
    labels = occupancy.labels
    return Voxels(
        occupancy.points_m().cpu().numpy(),
        None if labels is None else labels[occupied].cpu().numpy(),
        occupancy.probability[occupied].cpu().numpy(),
    )


def _seen(occupancy: Occupancy) -> np.ndarray:
    return np.where(occupancy.observed.any(dim=2).cpu().numpy(), 0, -1).astype(np.int8)


def _bytes(values: torch.Tensor) -> np.ndarray:
    return values.nan_to_num().clamp(0, 1).mul(255).round().byte().cpu().numpy()


def answers(hits: Hits) -> tuple[Answer, ...]:
    """What was found of every prompt, best first."""
    return tuple(
        Answer(
            prompt,
            float(hits.best[index]),
            tuple(
                Found(prompt, c.center_m, c.size_m, c.score, c.count)
                for c in hits.clusters
                if c.prompt == index
            ),
        )
        for index, prompt in enumerate(hits.prompts)
    )
