"""Model configuration: one frozen dataclass per stage, presets, and (de)serialisation.

Every default here is the paper's (preset ``base``); ``tiny`` is sized for two CPU cores.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from distillnerf_ros.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """Image features (one map at ``feature_stride``), shared by both depth stages."""

    image_height_px: int = 128
    """Height of the input images."""
    image_width_px: int = 228
    """Width of the input images."""
    channels: tuple[int, ...] = (64, 128, 192, 256, 256)
    """Channels after the stem and after each halving of the resolution."""
    blocks: tuple[int, ...] = (2, 3, 5, 5, 5)
    """Residual blocks at each of those resolutions."""
    stem_stride: int = 1
    """Stride of the first convolution; also the stride of the feature map."""
    feature_channels: int = 64
    """Channels of the feature map."""
    encoder: str = ""
    """Model of timm that takes the place of the stages after the first; "" for none."""
    cross_view_blocks: int = 0
    """Blocks of attention over the second coarsest features of all cameras; the paper has none."""


@dataclasses.dataclass(frozen=True)
class CoarseDepthConfig:
    """Stage 1: a density over depth bins along each pixel's ray (paper eq. 1)."""

    near_m: float = 0.1
    """Depth of the first bin edge."""
    inner_m: float = 50.0
    """Bins are uniform up to here, in metres or in ln d, then uniform in contracted depth."""
    far_m: float = 120.0
    """Depth of the last bin edge."""
    inner_bins: int = 250
    """Bins between near and inner (paper: 0.2 m each)."""
    inner_log: bool = False
    """Whether those are uniform in ln d: with few bins, equally fine at any range."""
    outer_bins: int = 36
    """Bins between inner and far; 286 in all."""


@dataclasses.dataclass(frozen=True)
class FineDepthConfig:
    """Stage 2: candidates around the coarse depth, with features and density each."""

    candidates: int = 15
    """Depth candidates per pixel."""
    step_fraction: float = 0.025
    """Step between candidates as a fraction of the coarse depth."""
    step_min_m: float = 0.05
    """Smallest step."""
    step_max_m: float = 0.3
    """Largest step."""
    hidden_channels: int = 65
    """Width of the per-candidate network."""
    min_opacity: float = 0.1
    """Pixels whose coarse depth is less opaque than this are sky and lift nothing."""


@dataclasses.dataclass(frozen=True)
class GridConfig:
    """The contracted space and its two-level sparse grid."""

    inner_xy_m: float = 50.0
    """Space is linear up to here along x and y, contracted beyond (paper eq. 3)."""
    inner_z_m: float = 6.4
    """The same along z."""
    alpha: float = 0.8
    """Share of each half axis that the linear part takes."""
    linear: bool = False
    """Space ends at the inner part: nothing is contracted, the grid covers the inner part alone,
    and its outermost coarse cells stay empty."""
    coarse_shape: tuple[int, int, int] = (128, 128, 128)
    """Coarse cells along x, y, z (paper: octree level 7)."""
    fine_factor: int = 4
    """Fine cells per coarse cell and axis (paper: level 9)."""
    max_coarse_voxels: int = 80_000
    """Ceiling on occupied coarse voxels; the ones with the fewest points are dropped."""
    max_fine_voxels: int = 900_000
    """Ceiling on occupied fine voxels: 1.3 times the most that one of eight streets has."""


@dataclasses.dataclass(frozen=True)
class VoxelConfig:
    """Features carried by the voxels and the sparse convolutions over them."""

    fine_channels: int = 32
    """Feature channels of a fine voxel."""
    coarse_channels: int = 32
    """Feature channels of a coarse voxel."""
    hidden_channels: int = 128
    """Width of the coarse sparse convolutions."""
    fine_hidden_channels: int = 128
    """Width of the fine sparse convolutions."""
    coarse_layers: int = 2
    """3x3x3 layers on the coarse level after the levels are joined."""
    fine_layers: int = 2
    """3x3x3 layers on the fine level."""
    complement: bool = True
    """Fine cells without a point take the density of their coarse voxel, instead of none."""
    completion: bool = False
    """Predict a density for every fine cell of a coarse voxel, instead of complementing missing
    fine cells with the coarse density alone."""
    birds_eye_channels: int = 0
    """Width of the network that looks at the coarse columns from above and proposes voxels that
    lifting missed; 0 (the paper) has none."""
    birds_eye_cell_channels: int = 12
    """Channels it reads and writes per coarse cell."""
    propose_probability: float = 0.2
    """Coarse cells this probable get a voxel although no pixel was lifted into them."""


@dataclasses.dataclass(frozen=True)
class RenderConfig:
    """Ray marching and decoding."""

    near_m: float = 0.5
    """Depth at which marching starts."""
    far_m: float = 120.0
    """Depth at which marching ends."""
    coarse_samples: int = 286
    """Samples per ray of the first pass (uniform in contracted depth)."""
    fine_samples: int = 30
    """Importance samples per ray around the surface that the first pass found."""
    ray_rows: int = 64
    """Rows of the ray grid per camera."""
    ray_cols: int = 114
    """Columns of the ray grid per camera."""
    decoder: bool = True
    """Colour comes from a 2D decoder, instead of the linear read-out alone."""
    decoder_channels: int = 160
    """Width of the 2D decoder that turns rendered features into colour."""
    decoder_layers: int = 4
    """3x3 layers of the decoder before its upsampling."""
    decoder_scale: int = 2
    """Upsampling factor from rays to image pixels."""
    paint: bool = False
    """Surfaces carry the colour of the pixels that see them, in every fine cell a linear function
    of place; the paper has one latent per cell."""
    hit_opacity: float = 0.5
    """Opacity above which a ray has hit something; below, its depth is NaN."""


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
    """Foundation features predicted per voxel."""

    channels: int = 64
    """Dimensions of the teacher's PCA space."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that shapes the network."""

    preset: str = "base"
    backbone: BackboneConfig = BackboneConfig()
    coarse_depth: CoarseDepthConfig = CoarseDepthConfig()
    fine_depth: FineDepthConfig = FineDepthConfig()
    grid: GridConfig = GridConfig()
    voxels: VoxelConfig = VoxelConfig()
    render: RenderConfig = RenderConfig()
    features: FeatureConfig = FeatureConfig()

    def __post_init__(self) -> None:
        """Check what would fail late or silently.

        Raises:
            ConfigError: names the field, its value and what is expected.
        """
        backbone, render = self.backbone, self.render
        if len(backbone.channels) != len(backbone.blocks):
            raise ConfigError(
                f"backbone.channels has {len(backbone.channels)} entries and backbone.blocks "
                f"{len(backbone.blocks)}; expected one block count per resolution"
            )
        factor = self.grid.fine_factor
        if factor < 2 or factor & (factor - 1):
            raise ConfigError(
                f"grid.fine_factor is {factor}, expected a power of two from 2 on: cells are "
                "found by shifting bits, and samples placed by the octants of a coarse voxel"
            )
        if self.voxels.completion and not self.voxels.complement:
            raise ConfigError(
                "voxels.completion refines voxels.complement, which is off; turn both off or on"
            )
        if not 0 < self.grid.alpha < 1:
            raise ConfigError(f"grid.alpha is {self.grid.alpha}, expected between 0 and 1")
        if not 0 < self.coarse_depth.near_m < self.coarse_depth.inner_m < self.coarse_depth.far_m:
            raise ConfigError(
                "coarse_depth needs 0 < near_m < inner_m < far_m, got "
                f"{self.coarse_depth.near_m}, {self.coarse_depth.inner_m}, "
                f"{self.coarse_depth.far_m}"
            )
        size = (render.ray_rows * render.decoder_scale, render.ray_cols * render.decoder_scale)
        if size != (backbone.image_height_px, backbone.image_width_px):
            raise ConfigError(
                f"the decoder makes {size[0]}x{size[1]} images, but the backbone reads "
                f"{backbone.image_height_px}x{backbone.image_width_px}; change render.ray_rows, "
                "render.ray_cols or render.decoder_scale"
            )


def tiny() -> ModelConfig:
    """A model for two CPU cores: coarser voxels, 62 depth bins, 5 candidates."""
    return ModelConfig(
        preset="tiny",
        backbone=BackboneConfig(
            image_height_px=128,
            image_width_px=224,
            channels=(24, 48, 96, 160, 192),
            blocks=(1, 2, 3, 3, 2),
            stem_stride=2,
            feature_channels=32,
            cross_view_blocks=2,
        ),
        coarse_depth=CoarseDepthConfig(near_m=0.7, inner_bins=50, outer_bins=12, inner_log=True),
        fine_depth=FineDepthConfig(
            candidates=5, step_fraction=0.03, step_max_m=1.0, hidden_channels=16
        ),
        # Fine cells of 0.4 x 0.4 x 0.2 m whose borders are also borders of Occ3D's voxels.
        grid=GridConfig(
            inner_xy_m=51.2,
            inner_z_m=5.12,
            coarse_shape=(80, 80, 16),
            max_coarse_voxels=16_000,
            max_fine_voxels=96_000,
        ),
        voxels=VoxelConfig(
            fine_channels=12,
            coarse_channels=28,
            hidden_channels=48,
            fine_hidden_channels=16,
            fine_layers=1,
            completion=True,
            birds_eye_channels=64,
        ),
        render=RenderConfig(
            coarse_samples=64,
            fine_samples=24,
            ray_rows=64,
            ray_cols=112,
            decoder_channels=48,
            decoder_layers=3,
            paint=True,
        ),
        features=FeatureConfig(channels=24),
    )


def base() -> ModelConfig:
    """The paper's model (released configuration: 128x228 in, 64x114 rays)."""
    return ModelConfig()


def base_linear() -> ModelConfig:
    """The paper's model without contraction: the grid ends 50 m from the vehicle."""
    config = base()
    grid = dataclasses.replace(config.grid, linear=True)
    return dataclasses.replace(config, preset="base-linear", grid=grid)


def large() -> ModelConfig:
    """256x704 images through the ViT-S of DINOv2 (and of Depth Anything V2)."""
    config = base()
    return dataclasses.replace(
        config,
        preset="large",
        backbone=dataclasses.replace(
            config.backbone,
            image_height_px=256,
            image_width_px=704,
            stem_stride=4,
            encoder="vit_small_patch14_dinov2",
        ),
        render=dataclasses.replace(config.render, ray_rows=128, ray_cols=352),
    )


PRESETS = {"tiny": tiny, "base": base, "base-linear": base_linear, "large": large}


def preset(name: str) -> ModelConfig:
    """Look a preset up by name.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()


def with_fields(config: ModelConfig, changes: Sequence[str]) -> ModelConfig:
    """A configuration with some fields changed.

    Args:
        config: what to start from.
        changes: of the form ``stage.field=value``, the value as in JSON.

    Raises:
        ConfigError: no such field, or a value of another type.
    """
    data = dataclasses.asdict(config)
    for change in changes:
        path, _, text = change.partition("=")
        *stages, field = path.split(".")
        place: Any = data
        for stage in stages:
            place = place.get(stage) if isinstance(place, dict) else None
        if not isinstance(place, dict) or field not in place:
            raise ConfigError(f"{change!r}: there is no field {path!r}; see config.py")
        try:
            place[field] = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{change!r}: the value is not JSON ({error})") from error
    return from_json(json.dumps(data))


def to_json(config: ModelConfig) -> str:
    """Serialise a configuration (kept inside every checkpoint)."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def from_json(text: str) -> ModelConfig:
    """Read a configuration that :func:`to_json` wrote.

    Raises:
        ConfigError: the text is not JSON, or has unknown or missing fields.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the configuration is not JSON: {error}") from error
    return _build(ModelConfig, data, "config")


def _build(kind: Any, data: Any, path: str) -> Any:
    """Build a dataclass from nested dicts, refusing unknown fields and wrong types."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(data, dict):
            raise ConfigError(f"{path} is {data!r}, expected a table of fields")
        fields = {field.name: field for field in dataclasses.fields(kind)}
        if unknown := sorted(set(data) - set(fields)):
            raise ConfigError(f"{path} has unknown fields {unknown}; known: {sorted(fields)}")
        if missing := sorted(set(fields) - set(data)):
            raise ConfigError(f"{path} lacks the fields {missing}; expected all of {[*fields]}")
        return kind(**{key: _build(fields[key].type, data[key], f"{path}.{key}") for key in data})
    if get_origin(kind) is tuple:
        item, *rest = get_args(kind)
        if not isinstance(data, list) or (Ellipsis not in rest and len(data) != 1 + len(rest)):
            raise ConfigError(f"{path} is {data!r}, expected a list like {kind}")
        return tuple(_build(item, value, path) for value in data)
    if kind is float and type(data) is int:
        return float(data)
    if type(data) is not kind:
        raise ConfigError(f"{path} is {data!r}, expected {kind.__name__}")
    return data
