"""Fits what joins opinions, once all before it stands: ``DepthFusion`` and ``FeatureFusion``.

Both are small nets that look at what the rest of the network says, with no gradient to it. What it
says of streets is therefore written down once; thousands of large batches of that cost minutes,
where a step of ``distillnerf train`` costs seconds. Give streets that the network was not trained
on: how far either opinion is to be believed shows only where it may be wrong.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from distillnerf_ros.cameras import camera_rays
from distillnerf_ros.cameras.visibility import Told
from distillnerf_ros.checkpoint import load_checkpoint, save_checkpoint
from distillnerf_ros.data.lidar import lidar_depth
from distillnerf_ros.device import resolve_device
from distillnerf_ros.errors import ConfigError, DatasetError, TrainingError
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.occupancy import voxel_centers_m
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.render.depth_fusion import DepthFusion
from distillnerf_ros.render.renderer import RayResult, image_edges, render_rays
from distillnerf_ros.training import losses
from distillnerf_ros.training.cache import make_folder_of
from distillnerf_ros.training.samples import TrainSample
from distillnerf_ros.training.surface import surface_features
from distillnerf_ros.training.targets import feature_targets
from distillnerf_ros.training.train import add_data_arguments, make_samples
from distillnerf_ros.voxels.feature_fusion import FeatureFusion
from distillnerf_ros.voxels.field import VoxelField

VERB_HELP = "fit what joins depths, and what corrects voxels' features, to streets not trained on"
EXAMPLE = (
    "distillnerf fit-fusions --weights runs/tiny/weights.safetensors --first-seed 21000 "
    "--scenes 160 --out fused.safetensors"
)

PIXELS, VOXELS = 2000, 8000
"""Written down of a glance, at most."""
HELD_BACK = 10
"""Every tenth glance is kept for judging."""
NEAREST_M, FURTHEST_M = 1.0, 80.0
"""Range of the depths that are judged."""


_R = TypeVar("_R", bound="Rows")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Tensors with one row per thing; kept in half precision, worked with in single."""

    @classmethod
    def joined(cls: type[_R], parts: Sequence[_R]) -> _R:
        """The rows of all parts, one after the other."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def at(self: _R, index: Int[Tensor, " B"]) -> _R:
        """Some rows."""
        fields = dataclasses.fields(self)
        return type(self)(*(getattr(self, field.name)[index].float() for field in fields))

    def __len__(self) -> int:
        """How many rows."""
        return len(getattr(self, dataclasses.fields(self)[0].name))


@dataclasses.dataclass(frozen=True)
class Pixels(Rows):
    """What is said of pixels that lidar met, and the truth.

    Attributes:
        picture_m, doubts, features: see ``Told``.
        opacity, weights, sample_m: see ``RayResult``.
        truth_m: (P,) depth of the lidar point.
    """

    picture_m: Float[Tensor, " P"]
    doubts: Float[Tensor, "P 4"]
    features: Float[Tensor, "P C"]
    opacity: Float[Tensor, " P"]
    weights: Float[Tensor, "P S"]
    sample_m: Float[Tensor, "P S"]
    truth_m: Float[Tensor, " P"]

    def ratio(self, fusion: DepthFusion) -> Float[Tensor, " P"]:
        """Depth by the fusion over the truth."""
        told = Told(self.picture_m, self.doubts, self.features)
        seen = RayResult(self.truth_m, self.opacity, None, self.weights, self.sample_m)
        return fusion(told, seen) / self.truth_m


@dataclasses.dataclass(frozen=True)
class Voxels(Rows):
    """What is known of surface voxels, and what the teacher sees there.

    Attributes:
        linear: (V, C) the field's linear read-out.
        known: (V, I) see ``FeatureFusion.read``.
        wanted: (V, C) the teacher's features.
    """

    linear: Float[Tensor, "V C"]
    known: Float[Tensor, "V I"]
    wanted: Float[Tensor, "V C"]

    def loss(self, fusion: FeatureFusion, semantics: Semantics) -> Float[Tensor, ""]:
        """How far the features are from the teacher's, and what they say to texts."""
        said = self.linear + fusion.net(self.known)
        near = losses.feature_loss(said, self.wanted, semantics.pca.spread)
        texts = torch.cat([semantics.classes, semantics.negatives])
        told, target = (semantics.pca.cosine(x, texts) for x in (said, self.wanted))
        return near + losses.relevancy_loss(told, target)


@torch.inference_mode()
def look_at_pixels(
    pipeline: Pipeline, field: VoxelField, sample: TrainSample, chance: torch.Generator
) -> Pixels:
    """What picture and field say of the pixels that lidar met."""
    model, rig, size = pipeline.model, sample.rig.to(pipeline.device), pipeline.depth_size
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
    truth_m = lidar_depth(sample.lidar_points_m, sample.rig, size, NEAREST_M).reshape(-1)
    truth_m = truth_m.to(pipeline.device)
    shape = (len(rig.names), *size)
    samples = model.config.render.fine_samples
    seen = render_rays(field, rays, image_edges(field, rays, model.edges_m, samples, shape))
    assert field.told is not None
    told = field.told.at(field.visibility.pixels(rays))
    usable = (told.depth_m.isfinite() & (truth_m < FURTHEST_M)).nonzero()[:, 0].cpu()
    pick = usable[torch.randperm(len(usable), generator=chance)[:PIXELS]].to(truth_m.device)
    said = (told.depth_m, told.doubts, told.features, seen.opacity, seen.weights)
    return Pixels(*(x[pick].half().cpu() for x in (*said, seen.sample_depth_m, truth_m)))


@torch.inference_mode()
def look_at_voxels(
    pipeline: Pipeline, field: VoxelField, sample: TrainSample, chance: torch.Generator
) -> Voxels:
    """What is known of the voxels in which the cameras see a surface."""
    assert sample.features is not None
    size = sample.depth_m.shape[1:]
    maps = F.interpolate(sample.features, size, mode="bilinear", align_corners=False)
    wanted = surface_features(sample.rig, sample.depth_m, sample.voxels, maps)
    pick = torch.randperm(len(wanted), generator=chance)[:VOXELS]
    centers = voxel_centers_m(pipeline.device).reshape(-1, 3)
    centers = centers[sample.voxels.surface[pick].to(pipeline.device)]
    linear, known = pipeline.model.feature_fusion.read(field, centers)
    assert known is not None
    return Voxels(linear.half().cpu(), known.half().cpu(), wanted[pick].half())


def descend(
    net: nn.Module, loss: Callable[[], Float[Tensor, ""]], steps: int, rate: float
) -> None:
    """Lower a loss by AdamW, in one cycle of the learning rate.

    Raises:
        TrainingError: the loss is not a number.
    """
    parameters = list(net.requires_grad_(True).parameters())
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for step in tqdm(range(steps), unit="step", desc=type(net).__name__):
        value = loss()
        if not value.isfinite():
            raise TrainingError(
                f"step {step} of {type(net).__name__}: the loss is {value.item()}; try a lower "
                "--learning-rate"
            )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        cycle.step()
    net.requires_grad_(False)


def fit_depth(
    fusion: DepthFusion, pixels: Pixels, steps: int, rate: float, chance: torch.Generator
) -> None:
    """Fit to what depth is judged by: AbsRel, and a soft count of what delta < 1.25 leaves out."""

    def loss() -> Tensor:
        some = pixels.at(torch.randint(len(pixels), (4096,), generator=chance))
        ratio = some.ratio(fusion)
        apart = ratio.log().abs() - torch.tensor(1.25).log()
        return 0.5 * (ratio - 1).abs().mean() + 0.3 * torch.sigmoid(apart / 0.04).mean()

    descend(fusion, loss, steps, rate)


def fit_features(
    fusion: FeatureFusion,
    voxels: Voxels,
    semantics: Semantics,
    steps: int,
    rate: float,
    chance: torch.Generator,
) -> None:
    """Fit to the teacher's features; voxels of rare classes come more often than their share."""
    kind = semantics.labels(voxels.wanted.float()).long()
    share = torch.bincount(kind, minlength=len(semantics.classes)).double().rsqrt()[kind]
    upto = share.cumsum(dim=0) / share.sum()

    def loss() -> Tensor:
        drawn = torch.rand(8192, generator=chance, dtype=torch.double)
        some = voxels.at(torch.searchsorted(upto, drawn).clamp(max=len(voxels) - 1))
        return some.loss(fusion, semantics)

    descend(fusion, loss, steps, rate)


def split(parts: Sequence[_R]) -> tuple[_R, _R]:
    """Rows to fit to, and those of every tenth glance, or of the last, to judge by.

    Raises:
        DatasetError: there are none of either.
    """
    every = min(HELD_BACK, len(parts))
    held = [part for number, part in enumerate(parts) if number % every == every - 1]
    fitted = [part for number, part in enumerate(parts) if number % every != every - 1]
    if not sum(map(len, fitted)) or not sum(map(len, held)):
        raise DatasetError(
            f"{len(parts)} glances tell nothing to fit to and to judge by; expected two or more "
            "with lidar points (depth) and with dense depth (features)"
        )
    return type(parts[0]).joined(fitted), type(parts[0]).joined(held)


@torch.no_grad()
def depth_figures(fusion: DepthFusion, pixels: Pixels) -> str:
    """AbsRel and delta < 1.25."""
    ratio = pixels.at(torch.arange(len(pixels))).ratio(fusion)
    close = (torch.maximum(ratio, 1 / ratio) < 1.25).float().mean()
    return f"AbsRel {(ratio - 1).abs().mean():.4f}, delta {close:.4f}"


@torch.no_grad()
def feature_figures(fusion: FeatureFusion, voxels: Voxels, semantics: Semantics) -> str:
    """The loss, and how many voxels are named as the teacher names them."""
    every = voxels.at(torch.arange(len(voxels)))
    said = semantics.labels(every.linear + fusion.net(every.known))
    same = (said == semantics.labels(every.wanted)).float().mean()
    return f"loss {every.loss(fusion, semantics):.4f}, named as by the teacher {same:.4f}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf fit-fusions``."""
    parser.add_argument("--weights", default="tiny", help="shipped name or .safetensors file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="weights to write")
    add_data_arguments(parser.add_argument_group("what to fit to"))
    parser.set_defaults(no_virtual=True)  # nobody looks from elsewhere
    parser.add_argument("--depth-steps", type=int, default=4000, metavar="N", help="0: leave it")
    parser.add_argument("--feature-steps", type=int, default=6000, metavar="N", help="0: leave it")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="its peak")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0, for looking")
    parser.add_argument("--seed", type=int, default=0, help="of what is written down and drawn")


def run(args: argparse.Namespace) -> int:
    """Look at every glance, fit, and write the weights with the fitted nets.

    With ``--cache`` an interrupted run does not render anything twice.

    Raises:
        ConfigError: an option does not fit, or nothing is left to fit.
        CheckpointError: the weights cannot be read.
        DatasetError: the data set cannot be read, or tells neither.
        TrainingError: a loss is not a number.
    """
    make_folder_of(args.out)
    checkpoint = load_checkpoint(args.weights)
    model, semantics = checkpoint.model, checkpoint.semantics
    features = args.feature_steps > 0 and semantics is not None and not args.no_features
    depth, teacher = args.depth_steps > 0, None
    if not features and not depth:
        raise ConfigError("neither depth nor features are to be fitted: give steps to one of them")
    if features:
        teacher, theirs = feature_targets(args.features, model.config)
        _require_same(semantics, theirs)
    samples = make_samples(args, model.config, teacher)
    if not len(samples):  # type: ignore[arg-type]
        raise ConfigError("no glance to fit to: give --scenes and --per-scene of at least 1")
    pipeline = Pipeline(checkpoint, resolve_device(args.device))
    chance = torch.Generator().manual_seed(args.seed)
    pixels, voxels = [], []
    for index in tqdm(range(len(samples)), unit="glance", desc="look"):  # type: ignore[arg-type]
        sample = samples[index]
        field = pipeline.encode(sample.rig)
        if depth:
            pixels.append(look_at_pixels(pipeline, field, sample, chance))
        if features:
            voxels.append(look_at_voxels(pipeline, field, sample, chance))
    if pixels:
        _depth(model.depth_fusion, pixels, args, chance)
    if voxels:
        assert semantics is not None
        _features(model.feature_fusion, voxels, semantics, args, chance)
    save_checkpoint(args.out, model, semantics, torch.float16)
    print(f"{args.out}: {args.weights} with these; 'distillnerf calibrate' comes next")
    return 0


def _require_same(own: Semantics | None, theirs: Semantics) -> None:
    assert own is not None
    # Weights on disk are in half precision.
    same = own.pca.basis.shape == theirs.pca.basis.shape and torch.allclose(
        own.pca.basis, theirs.pca.basis, atol=2e-3
    )
    if own.clip != theirs.clip or not same:
        raise ConfigError(
            f"the weights carry components of {own.clip!r}, the targets are others, of "
            f"{theirs.clip!r}; give --features with those that the weights were trained on, or "
            "--no-features"
        )


def _depth(
    fusion: DepthFusion, parts: list[Pixels], args: argparse.Namespace, chance: torch.Generator
) -> None:
    fitted, held = split(parts)
    before = depth_figures(fusion, held)
    fit_depth(fusion, fitted, args.depth_steps, args.learning_rate, chance)
    print(f"depth of {len(held)} pixels of other glances: {before}")
    print(f"now: {depth_figures(fusion, held)}")


def _features(
    fusion: FeatureFusion,
    parts: list[Voxels],
    semantics: Semantics,
    args: argparse.Namespace,
    chance: torch.Generator,
) -> None:
    fitted, held = split(parts)
    before = feature_figures(fusion, held, semantics)
    fit_features(fusion, fitted, semantics, args.feature_steps, args.learning_rate, chance)
    print(f"features of {len(held)} voxels of other glances: {before}")
    print(f"now: {feature_figures(fusion, held, semantics)}")
