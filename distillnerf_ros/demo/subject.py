"""What `query` and `edit` work on: a glance's field, or a fitted scene at a keyframe."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.config import RenderConfig
from distillnerf_ros.data import nuscenes
from distillnerf_ros.data.nuscenes import NuScenes
from distillnerf_ros.demo.glance import choose_keyframe
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import CheckpointError, QueryError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.occupancy import GRID_ORIGIN_M, GRID_SHAPE, VOXEL_M
from distillnerf_ros.query.region import occupied_cells
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.query.text import embed_prompts, relevancy_in_pca
from distillnerf_ros.render.picture import render_field
from distillnerf_ros.render.renderer import Rendered, march_edges
from distillnerf_ros.scene.features import description_of, name_of
from distillnerf_ros.scene.field import Moment
from distillnerf_ros.scene.fit import STATE_FILE
from distillnerf_ros.scene.log import scene_frame
from distillnerf_ros.scene.state import load_field, read_tensors
from distillnerf_ros.scene.views import HIT_OPACITY
from distillnerf_ros.teachers.open_clip import TextTower
from distillnerf_ros.training.components import Components
from distillnerf_ros.training.feature_store import COMPONENTS_FILE
from distillnerf_ros.voxels.field import Field

SCENE_SIZE_PX = (128, 224)
"""Height and width of the pictures of a fitted scene."""
SCENE_CELL_M = 0.2
"""Edge of the cells in which a fitted scene is searched."""
_SCENE_SAMPLES = 32
"""Per ray; 64 take twice as long for 0.1 dB."""

Relevancy = Callable[
    [Float[Tensor, "*shape C"], Sequence[str], Sequence[str] | None], Float[Tensor, "*shape Q"]
]
"""Scores, 0..1, of features for texts, weighed against phrases (None = the canonical ones)."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A field that can be asked, and where it is looked at from.

    Attributes:
        name: scene and keyframe.
        field: in the vehicle's frame at the keyframe.
        rig: the keyframe's cameras, at the size of the pictures.
        file_sizes: height and width in pixels of each camera's image file.
        edges_m: of the first pass of rendering.
        samples: per ray in the second pass.
        hit_opacity: share of a ray from which on it has hit something.
        at_surface: whether colours are known where rays end alone.
        cell_m: edge of the cells that are searched.
        cells: centres (P, 3) of the cells that hold something, and their features (P, C).
        relevancy: how to ask with texts; None where there are no features.
        semantics: what the features mean; None where there are none.
    """

    name: str
    field: Field
    rig: CameraRig
    file_sizes: tuple[tuple[int, int], ...]
    edges_m: Tensor
    samples: int
    hit_opacity: float
    at_surface: bool
    cell_m: float
    cells: Callable[[], tuple[Tensor, Tensor]]
    relevancy: Relevancy | None
    semantics: Semantics | None

    def render(self, field: Field) -> Rendered:
        """What the cameras see of the field, or of what was made of it."""
        return render_field(
            field,
            self.rig,
            self.rig.image_size,
            self.edges_m,
            self.samples,
            self.hit_opacity,
            self.at_surface,
        )

    def asked(self) -> tuple[Relevancy, Semantics]:
        """How to ask.

        Raises:
            QueryError: there are no features.
        """
        if self.relevancy is None or self.semantics is None:
            raise QueryError(
                f"{self.name} carries no features to ask: give --features, the folder that the "
                "scene was fitted with (distillnerf scene --features), or choose with --box"
            )
        return self.relevancy, self.semantics


def add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that put a fitted scene in the place of the model's glance."""
    fitted = parser.add_argument_group("a fitted scene instead of the model's glance")
    fitted.add_argument(
        "--fit", type=Path, metavar="O", help="folder of 'distillnerf scene --out O'"
    )
    fitted.add_argument(
        "--features", type=Path, metavar="DIR", help="what it was fitted with, to ask it"
    )


def glance_subject(args: argparse.Namespace) -> Subject:
    """What the model makes of a keyframe.

    Raises:
        CheckpointError: the weights cannot be loaded.
        DatasetError: the data set, scene or keyframe is not there.
        QueryError: the weights carry no features to ask.
    """
    pipeline = Pipeline.load(args.weights, args.device)
    nusc, scene, sample = choose_keyframe(args)
    rig = nuscenes.load_glance(nusc, sample, pipeline.image_size).present().to(pipeline.device)
    field, render = pipeline.encode(rig), pipeline.config.render

    def cells() -> tuple[Tensor, Tensor]:
        points, _, features = pipeline.occupied_voxels(field)
        return points, features

    return Subject(
        name=f"{scene['name']}, keyframe {args.frame}",
        field=field,
        rig=rig,
        file_sizes=_file_sizes(nusc, sample, rig),
        edges_m=pipeline.model.edges_m,
        samples=render.fine_samples,
        hit_opacity=render.hit_opacity,
        at_surface=True,
        cell_m=VOXEL_M,
        cells=cells,
        relevancy=pipeline.relevancy,
        semantics=pipeline.semantics,
    )


def scene_subject(args: argparse.Namespace) -> Subject:
    """A fitted scene at the moment of a keyframe.

    Raises:
        CheckpointError: the fit cannot be read, is of another scene, or learned other features.
        ConfigError: the device is unknown or not there.
        DatasetError: the data set, scene or keyframe is not there, or no features are.
    """
    path, device = args.fit / STATE_FILE, resolve_device(args.device)
    said, _ = read_tensors(path)
    nusc, scene, sample = choose_keyframe(args, said["scene"])
    if scene["name"] != said["scene"]:
        raise CheckpointError(
            f"{path} was fitted to {said['scene']}, asked for is {scene['name']}; leave out "
            "--scene, or give the folder of that scene's fit"
        )
    scene_from_map, begin_us = scene_frame(nusc, scene)
    record = nuscenes.reference_record(nusc, sample)
    low = torch.tensor(GRID_ORIGIN_M, device=device)
    high = low + low.new_tensor(GRID_SHAPE) * VOXEL_M
    pose = torch.from_numpy(scene_from_map @ nuscenes.map_from_ego(nusc, record))
    scene_field = load_field(path).to(device)
    moment = scene_field.at((record["timestamp"] - begin_us) * 1e-6).seen_from(pose.to(low))
    semantics = None
    if args.features is not None:
        semantics = _semantics(args.features, said.get("features", "")).to(device)
    rig = nuscenes.load_glance(nusc, sample, SCENE_SIZE_PX).present().to(device)
    config = scene_field.config

    def cells() -> tuple[Tensor, Tensor]:
        points = occupied_cells(moment, low, high, SCENE_CELL_M)
        return points, _features(moment, points)

    return Subject(
        name=f"{scene['name']} as fitted, keyframe {args.frame}",
        field=moment,
        rig=rig,
        file_sizes=_file_sizes(nusc, sample, rig),
        edges_m=march_edges(RenderConfig(), config.alpha, config.inner_m[0]).to(device),
        samples=_SCENE_SAMPLES,
        hit_opacity=HIT_OPACITY,
        at_surface=False,
        cell_m=SCENE_CELL_M,
        cells=cells,
        relevancy=None if semantics is None else _relevancy(semantics),
        semantics=semantics,
    )


def _file_sizes(nusc: NuScenes, sample: str, rig: CameraRig) -> tuple[tuple[int, int], ...]:
    data = nusc.get("sample", sample)["data"]
    records = [nusc.get("sample_data", data[name]) for name in rig.names]
    return tuple((record["height"], record["width"]) for record in records)


def _semantics(folder: Path, learned: str) -> Semantics:
    components = Components.load(folder / COMPONENTS_FILE)
    name = name_of(description_of(folder) or {})
    if name != learned:
        raise CheckpointError(
            f"the scene was fitted with features {learned}, {folder} holds {name}; give the "
            "folder that 'distillnerf scene --features' was given"
        )
    return components.semantics


def _relevancy(semantics: Semantics) -> Relevancy:
    def relevancy(
        features: Tensor, prompts: Sequence[str], negatives: Sequence[str] | None
    ) -> Tensor:
        if not semantics.has_texts:
            raise QueryError(
                f"these features are of {semantics.clip!r}, which knows no texts; choose with "
                "--patch or --click"
            )
        tower = TextTower(semantics.clip)
        semantics.require(tower)
        asked = embed_prompts(tower, list(prompts)).to(features)
        if not negatives:
            return semantics.relevancy(features, asked)
        weighed = embed_prompts(tower, list(negatives)).to(features)
        return relevancy_in_pca(features, semantics.pca, asked, weighed)

    return relevancy


@torch.no_grad()
def _features(moment: Moment, points_m: Float[Tensor, "P 3"]) -> Float[Tensor, "P C"]:
    return torch.cat([moment(part).features for part in points_m.split(1 << 17)])
