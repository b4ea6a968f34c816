"""What runs on the vehicle: one glance in; depth, occupancy, pictures and answers out. No ROS."""

import copy
import functools
import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.checkpoint import Checkpoint, load_checkpoint
from distillnerf_ros.config import ModelConfig, preset
from distillnerf_ros.device import multiplies_bfloat16, resolve_device
from distillnerf_ros.errors import ImageError, QueryError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.clusters import gather_hits
from distillnerf_ros.query.hits import Hits
from distillnerf_ros.query.occupancy import (
    OCCUPIED_PROBABILITY,
    Occupancy,
    label_grid,
    observed_voxels,
    occupancy_density,
    occupancy_probability,
    voxel_centers_m,
)
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.query.text import DEFAULT_THRESHOLD, embed_prompts, relevancy_in_pca
from distillnerf_ros.render.renderer import Rendered
from distillnerf_ros.teachers.open_clip import TextTower
from distillnerf_ros.voxels.field import VoxelField

IMAGE_THRESHOLD = 0.8
"""Cosine similarity from which something looks like the patch of an image query."""
_MOST_BRIGHT = 1.5
"""No picture in 0..1 comes near it, whatever resized it; one in 0..255 does."""


class Pipeline:
    """Encode once, ask many times. Fields are values: nothing of a glance is kept in here."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        """Copy a model to the device, frozen and evaluating."""
        self.device, self._half = device, multiplies_bfloat16(device)
        self.model = copy.deepcopy(checkpoint.model).eval().requires_grad_(False).to(device)
        _fold_batchnorm(self.model)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._semantics = checkpoint.semantics and checkpoint.semantics.to(device)

    @classmethod
    def load(cls, weights: str = "tiny", device: str = "auto") -> "Pipeline":
        """Load shipped weights by name, or a file.

        Raises:
            CheckpointError: the weights are missing, damaged or not ours.
            ConfigError: the device is unknown or not there.
        """
        return cls(load_checkpoint(weights), resolve_device(device))

    @classmethod
    def untrained(
        cls, preset_name: str = "tiny", seed: int = 0, device: str = "cpu"
    ) -> "Pipeline":
        """A model with random weights and no semantics, for tests and timing."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = DistillNeRF(preset(preset_name))
        return cls(Checkpoint(model, None), resolve_device(device))

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels that the model reads."""
        return self.config.backbone.image_height_px, self.config.backbone.image_width_px

    @property
    def depth_size(self) -> tuple[int, int]:
        """Rows and columns of rendered depth."""
        return self.config.render.ray_rows, self.config.render.ray_cols

    @torch.inference_mode()
    def encode(self, rig: CameraRig) -> VoxelField:
        """Turn a glance into a field; images of any size are resampled to the model's.

        Where the CPU can multiply in bfloat16: three quarters of the time, depth 0.2 % apart.

        Raises:
            ImageError: no camera is there, or an image is not in 0..1.
        """
        # Which cameras are there is asked before the upload: a GPU would be waited for.
        rig = rig.present()
        if rig.images.device.type == "cpu" and not (rig.images.abs() <= _MOST_BRIGHT).all():
            raise ImageError(
                f"images reach from {rig.images.min()} to {rig.images.max()}; expected 0 to 1 and "
                "no NaN: divide bytes by 255, and set valid = False for cameras without an image"
            )
        rig = rig.to(self.device).resized(*self.image_size)
        with self._multiplying_fast():
            return self.model.fuse(rig, *self.model.depth_stages(rig))

    @torch.inference_mode()
    def depth(self, field: VoxelField, rig: CameraRig) -> Float[Tensor, "N h w"]:
        """Depth of each view in metres along the optical axis, NaN where nothing is hit."""
        return self.model.render_depth(field, rig.to(self.device), self.depth_size)

    @torch.inference_mode()
    def render(self, field: VoxelField, rig: CameraRig) -> Rendered:
        """Colour, depth, opacity and features of each view; the rig's images are not looked at."""
        return self.model.render(field, rig.to(self.device))

    @torch.inference_mode()
    def occupancy(self, field: VoxelField) -> Occupancy:
        """Occupancy on the Occ3D grid around the vehicle."""
        probability = occupancy_probability(occupancy_density(field, self.device))
        grid = None
        if self._semantics is not None and self._semantics.has_texts:
            occupied, _, labels = self._named(field, probability)
            grid = label_grid(occupied, labels)
        return Occupancy(probability, grid, observed_voxels(field.visibility, self.device))

    @torch.inference_mode()
    def voxel_features(
        self, field: VoxelField, centers_m: Float[Tensor, "P 3"]
    ) -> Float[Tensor, "P C"]:
        """Foundation features of voxels (see ``FeatureFusion``)."""
        with self._multiplying_fast():
            return self.model.feature_fusion(field, centers_m)

    def _multiplying_fast(self) -> torch.autocast:
        """Multiplies in bfloat16 where the CPU can."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self._half)

    @property
    def semantics(self) -> Semantics:
        """Meaning of the features.

        Raises:
            QueryError: the weights carry none.
        """
        if self._semantics is None:
            raise QueryError(
                "these weights carry no features to ask; load trained ones (weights:=tiny)"
            )
        return self._semantics

    @functools.cached_property
    def _tower(self) -> TextTower:
        tower = TextTower(self.semantics.clip)
        self.semantics.require(tower)
        return tower

    def embed(self, prompts: Sequence[str]) -> Float[Tensor, "Q E"]:
        """Unit vectors of prompts in the space of the teacher.

        Raises:
            QueryError: no prompt, an empty prompt, or weights without features.
            CheckpointError: the teacher's text tower cannot be had, or is another one.
        """
        cleaned = [prompt.strip() for prompt in prompts]
        if not cleaned or not all(cleaned):
            raise QueryError(f"got the prompts {list(prompts)!r}; expected texts, none empty")
        if not self.semantics.has_texts:
            raise QueryError(
                f"these features are of {self.semantics.clip!r}, which knows no texts; ask with a "
                "patch of a picture, or load weights that were distilled from a CLIP"
            )
        return embed_prompts(self._tower, cleaned).to(self.device)

    def relevancy(
        self,
        features: Float[Tensor, "*shape C"],
        prompts: Sequence[str],
        negatives: Sequence[str] | None = None,
        cautious: bool = True,
    ) -> Float[Tensor, "*shape Q"]:
        """LERF relevancy, 0..1, of features to prompts; see ``Semantics`` for what is unlike them.

        Args:
            features: in the components that the field carries.
            prompts: what to look for.
            negatives: what to weigh them against instead.
            cautious: whether a thing must stand out as the weights were calibrated to ask for,
                where something is to be called found.
        """
        asked = self.embed(prompts)
        if not negatives:
            semantics = self.semantics if cautious else self.semantics.without_caution()
            return semantics.relevancy(features, asked)
        return relevancy_in_pca(features, self.semantics.pca, asked, self.embed(negatives))

    @torch.inference_mode()
    def query_text(
        self,
        field: VoxelField,
        prompts: Sequence[str],
        negatives: Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> Hits:
        """Occupied voxels that answer to at least one prompt.

        Raises:
            QueryError: no prompt, an empty prompt, a threshold outside 0..1, or weights without
                features.
        """
        points, probability, features = self.occupied_voxels(field)
        scores = self.relevancy(features, prompts, negatives)
        limit = DEFAULT_THRESHOLD if threshold is None else threshold
        return gather_hits(tuple(prompts), points, scores, probability, limit)

    @torch.inference_mode()
    def query_features(
        self,
        field: VoxelField,
        queries: Float[Tensor, "Q C"],
        names: Sequence[str],
        threshold: float,
    ) -> Hits:
        """Occupied voxels whose features look like the given ones (cosine, 0..1).

        The cosine is taken in the teacher's own space, clipped at 0.

        Raises:
            QueryError: a threshold outside 0..1, or weights without features.
        """
        points, probability, features = self.occupied_voxels(field)
        pca = self.semantics.pca
        scores = pca.cosine(features, pca.reconstruct(queries)).clamp(min=0)
        return gather_hits(tuple(names), points, scores, probability, threshold)

    def occupied_voxels(self, field: VoxelField) -> tuple[Tensor, Tensor, Tensor]:
        """Centres, probabilities and features of the voxels that ``occupancy`` calls occupied."""
        probability = occupancy_probability(occupancy_density(field, self.device))
        centers = voxel_centers_m(self.device)
        if self.semantics.has_texts:
            occupied, features, _ = self._named(field, probability)
        else:
            occupied = probability >= OCCUPIED_PROBABILITY
            features = self.voxel_features(field, centers[occupied])
        return centers[occupied], probability[occupied], features

    def _named(self, field: VoxelField, probability: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Occupied voxels as a grid; features and labels of each."""
        enough = self.semantics.occupied_from
        likely = probability >= enough.min()
        features = self.voxel_features(field, voxel_centers_m(self.device)[likely])
        labels = self.semantics.labels(features)
        kept = probability[likely] >= enough[labels.long()]
        return likely.masked_scatter(likely, kept), features[kept], labels[kept]

    @torch.inference_mode()
    def features_at_pixels(
        self,
        field: VoxelField,
        rig: CameraRig,
        camera: int,
        box_uv: tuple[float, float, float, float],
    ) -> Float[Tensor, " C"]:
        """Mean rendered feature of a patch (u0, v0, u1, v1), in pixels of the rig's images.

        Raises:
            QueryError: the patch is empty or outside the image, or nothing is hit in it.
        """
        if not 0 <= camera < len(rig.names):
            raise QueryError(f"camera {camera} asked for, expected 0..{len(rig.names) - 1}")
        height, width = rig.image_size
        u0, v0, u1, v1 = box_uv
        if not (0 <= u0 < u1 <= width and 0 <= v0 < v1 <= height):
            raise QueryError(
                f"patch (u0, v0, u1, v1) = {box_uv} is not inside the {width}x{height} image"
            )
        rendered = self.render(field, rig)
        rows, cols = self.depth_size
        top, left = int(v0 * rows / height), int(u0 * cols / width)
        bottom = max(top + 1, int(v1 * rows / height))
        right = max(left + 1, int(u1 * cols / width))
        hit = rendered.depth_m[camera, top:bottom, left:right].isfinite()
        if not hit.any():
            raise QueryError(f"nothing is hit in the patch {box_uv} of {rig.names[camera]} (sky?)")
        return rendered.features[camera, :, top:bottom, left:right][:, hit].mean(dim=1)

    @torch.inference_mode()
    def relevancy_image(
        self,
        rendered: Rendered,
        prompts: Sequence[str],
        negatives: Sequence[str] | None = None,
    ) -> Float[Tensor, "N h w"]:
        """Relevancy of the best prompt at each rendered pixel, NaN where nothing is hit.

        Without caution: a picture of what resembles the prompts, not of what is found.
        """
        features = rendered.features.permute(0, 2, 3, 1)
        best = self.relevancy(features, prompts, negatives, cautious=False).amax(dim=-1)
        return torch.where(rendered.depth_m.isfinite(), best, torch.nan)


def _fold_batchnorm(model: nn.Module) -> None:
    """Multiply each BatchNorm's scale into the convolution before it: a tenth of the backbone."""
    for block in model.modules():
        if not isinstance(block, nn.Sequential):
            continue
        for place, (first, second) in enumerate(itertools.pairwise(list(block))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                block[place] = fuse_conv_bn_eval(first, second)
                block[place + 1] = nn.Identity()
