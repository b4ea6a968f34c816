"""One training step's losses, from a sample to weighted terms."""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, Rays, camera_rays
from distillnerf_ros.data.lidar import lidar_depth
from distillnerf_ros.lift.coarse_depth import CoarseDepth
from distillnerf_ros.lift.fine_depth import FineDepth
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.query.occupancy import voxel_centers_m
from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.render.renderer import RayResult, ray_edges, render_rays
from distillnerf_ros.training import losses
from distillnerf_ros.training.lpips import Lpips
from distillnerf_ros.training.samples import TrainSample, View, pool_depth
from distillnerf_ros.training.surface import VoxelLabels, surface_features
from distillnerf_ros.voxels.field import VoxelField


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weight of each term; the docstring of each loss gives its equation."""

    coarse_bins: float = 0.3
    """Cross-entropy of stage 1's bins against dense depth."""
    coarse_depth: float = 1.0
    """Log error of stage 1's expected depth against dense depth."""
    lidar_bins: float = 0.6
    """Cross-entropy of stage 1's bins where lidar points fell."""
    lidar_coarse_depth: float = 2.0
    """Log error of stage 1's expected depth where lidar points fell."""
    candidates: float = 0.3
    """Cross-entropy of stage 2's candidates against dense depth."""
    lifted_features: float = 0.5
    """Foundation features of pixels as they are lifted, before any fusion."""
    lifted_relevancy: float = 0.5
    """What those features say to texts."""
    depth: float = 1.0
    """Log error of rendered depth against dense depth."""
    fused_depth: float = 2.0
    """Relative error of what the field and the picture say together."""
    lidar_depth: float = 0.5
    """Log error of depth rendered along lidar rays."""
    line_of_sight: float = 0.1
    """Lidar rays are empty up to the hit and opaque at it."""
    opacity: float = 0.1
    """Opacity of rendered rays against hit or sky (paper eq. 8)."""
    entropy: float = 0.01
    """Entropy of the rendered weights (paper appendix)."""
    occupancy: float = 2.0
    """Free and occupied voxels by dense depth."""
    lidar_occupancy: float = 0.5
    """Free before the hit, occupied at it, along lidar rays."""
    blocks: float = 0.5
    """Coarse cells that hold something, as seen from above."""
    rgb: float = 1.0
    """L1 + SSIM of the decoded colour."""
    lpips: float = 0.1
    """LPIPS of the decoded colour; only where its files are given."""
    virtual_depth: float = 0.3
    """Log error of the depth of virtual views."""
    virtual_rgb: float = 0.3
    """L1 + SSIM of the colour of virtual views."""
    features: float = 0.5
    """Rendered foundation features."""
    point_features: float = 0.5
    """Foundation features of surface voxels."""
    relevancy: float = 0.5
    """What those features say to texts."""


IMAGE_TERMS = (
    "coarse_bins",
    "coarse_depth",
    "lidar_bins",
    "lidar_coarse_depth",
    "candidates",
    "lifted_features",
    "lifted_relevancy",
)
"""Terms of the image network and the lift: they need no voxels."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a step is judged by.

    Attributes:
        weights: weight of each term.
        semantics: the texts by which features are judged; None where samples have no features.
        views: cameras rendered per step.
        points: surface voxels, and lidar rays, per step.
        lpips: what judges colour as eyes do; None where its files are not at hand.
    """

    weights: LossWeights = LossWeights()
    semantics: Semantics | None = None
    views: int = 2
    points: int = 6144
    lpips: Lpips | None = None

    def __call__(
        self,
        model: DistillNeRF,
        sample: TrainSample,
        generator: torch.Generator,
        whole: bool = True,
    ) -> dict[str, Tensor]:
        """Unweighted terms by name; names are fields of :class:`LossWeights`.

        Args:
            model: what is judged.
            sample: one glance, looked at ``through`` one moved place if any.
            generator: source of chance.
            whole: whether to go on after the lift; without, only :data:`IMAGE_TERMS`.
        """
        rig = sample.rig.present()
        grid_size = (model.config.render.ray_rows, model.config.render.ray_cols)
        depth = pool_depth(sample.depth_m[sample.rig.valid], grid_size)
        coarse, fine, context = model.depth_stages(rig)
        terms = self._image_terms(model, coarse, fine, sample, generator)
        if not whole:
            return terms
        field = model.fuse(rig, coarse, fine, context)
        voxels = sample.voxels.seen_by(sample.rig.valid, sample.depth_m.shape)
        view = torch.randperm(len(rig.names), generator=generator)[: self.views]
        view = view.to(depth.device)
        features = None if sample.features is None else sample.features[sample.rig.valid][view]
        seen = _render(model, field, rig.select(view), depth[view], bare=len(view) // 2)
        terms |= self._view_terms(model, seen, features)
        if field.told is not None:
            known = lidar_depth(sample.lidar_points_m, rig, grid_size)
            best = (known if known.isfinite().any() else depth)[view].reshape(-1)
            told = field.told.at(field.visibility.pixels(seen.rays))
            fused_m = model.depth_fusion(told, seen.result)
            terms["fused_depth"] = losses.relative_depth_loss(fused_m, best)
        if sample.virtual:
            terms |= self._virtual_terms(model, field, sample.virtual[0])
        terms |= self._voxel_terms(field, rig, depth, voxels, generator)
        terms |= self._lidar_terms(model, field, sample, voxels, generator)
        if sample.features is not None and self.semantics is not None:
            terms |= self._point_terms(model, field, sample, voxels, self.semantics, generator)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Weighted sum."""
        return torch.stack([getattr(self.weights, k) * v for k, v in terms.items()]).sum()

    def _image_terms(
        self,
        model: DistillNeRF,
        coarse: CoarseDepth,
        fine: FineDepth,
        sample: TrainSample,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Both depth stages, and the features that they lift."""
        size = (coarse.depth_m.shape[1], coarse.depth_m.shape[2])
        target = pool_depth(sample.depth_m[sample.rig.valid], size)
        edges = model.coarse_depth.edges_m
        terms = {
            "coarse_bins": losses.bin_loss(coarse.weights, target, edges),
            "coarse_depth": losses.log_depth_loss(coarse.depth_m, target),
            "candidates": losses.candidate_loss(fine.probability, fine.depth_m, target),
        }
        if len(sample.lidar_points_m):
            hit = lidar_depth(sample.lidar_points_m, sample.rig.present(), size)
            terms["lidar_bins"] = losses.bin_loss(coarse.weights, hit, edges)
            terms["lidar_coarse_depth"] = losses.log_depth_loss(coarse.depth_m, hit)
        if sample.features is not None and self.semantics is not None:
            wanted = sample.features[sample.rig.valid].permute(0, 2, 3, 1)
            size = (wanted.shape[1], wanted.shape[2])
            lifted = F.adaptive_avg_pool2d(fine.features.permute(0, 3, 1, 2), size)
            lifted = lifted.permute(0, 2, 3, 1).flatten(0, 2)
            wanted = wanted.flatten(0, 2)
            pick = self._rare_first(wanted, self.semantics, generator)
            terms["lifted_features"], terms["lifted_relevancy"] = self._feature_terms(
                model.heads.features(lifted[pick]), wanted[pick], self.semantics
            )
        return terms

    def _rare_first(
        self, wanted: Float[Tensor, "P C"], semantics: Semantics, generator: torch.Generator
    ) -> Int[Tensor, " points"]:
        """Which targets to look at: those of rare classes more often than their share."""
        kind = semantics.pca.cosine(wanted, semantics.classes).argmax(dim=-1)
        share = torch.bincount(kind, minlength=len(semantics.classes)).float().rsqrt()[kind]
        pick = torch.multinomial(share.cpu(), self.points, replacement=True, generator=generator)
        return pick.to(wanted.device)

    def _feature_terms(
        self, features: Float[Tensor, "P C"], wanted: Float[Tensor, "P C"], semantics: Semantics
    ) -> tuple[Tensor, Tensor]:
        """How far features are from their targets, and how far in what they say to texts."""
        texts = torch.cat([semantics.classes, semantics.negatives])
        said, target = (semantics.pca.cosine(x, texts) for x in (features, wanted))
        return (
            losses.feature_loss(features, wanted, semantics.pca.spread),
            losses.relevancy_loss(said, target),
        )

    def _view_terms(
        self, model: DistillNeRF, seen: "_Seen", targets: Tensor | None
    ) -> dict[str, Tensor]:
        terms = {
            "depth": seen.depth_loss(),
            "opacity": losses.opacity_loss(seen.result.opacity, seen.depth_m.reshape(-1)),
            "entropy": losses.entropy_loss(seen.result.weights),
            "rgb": seen.rgb_loss(),
        }
        if self.lpips is not None:
            terms["lpips"] = self.lpips(seen.rgb, seen.images).mean()
        if targets is not None and self.semantics is not None:
            maps = model.heads.features(seen.latent).permute(0, 3, 1, 2)
            maps = F.adaptive_avg_pool2d(maps, (targets.shape[2], targets.shape[3]))
            terms["features"] = losses.feature_loss(
                maps.permute(0, 2, 3, 1), targets.permute(0, 2, 3, 1), self.semantics.pca.spread
            )
        return terms

    def _virtual_terms(
        self, model: DistillNeRF, field: VoxelField, view: View
    ) -> dict[str, Tensor]:
        render = model.config.render
        target = pool_depth(view.depth_m, (render.ray_rows, render.ray_cols))
        moved, known = _render(model, field, view.rig, target), ~view.depth_m.isnan()
        return {"virtual_depth": moved.depth_loss(), "virtual_rgb": moved.rgb_loss(known)}

    def _voxel_terms(
        self,
        field: VoxelField,
        rig: CameraRig,
        depth: Tensor,
        voxels: VoxelLabels,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Direct 3D supervision by dense depth."""
        terms = {"occupancy": losses.voxel_occupancy_loss(field, voxels, self.points, generator)}
        if field.block_logit is not None:
            size = (depth.shape[1], depth.shape[2])
            rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
            hit = depth.reshape(-1).isfinite()
            rays, depth = rays.select(hit), depth.reshape(-1)[hit][:, None]
            share = torch.rand(len(depth), 6, generator=generator).to(depth)
            clear = rays.at(0.95 * share * depth).reshape(-1, 3)
            terms["blocks"] = losses.block_loss(field, voxels, rays.at(depth)[:, 0], clear)
        return terms

    def _point_terms(
        self,
        model: DistillNeRF,
        field: VoxelField,
        sample: TrainSample,
        voxels: VoxelLabels,
        semantics: Semantics,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Features of surface voxels."""
        assert sample.features is not None
        if not len(voxels.surface):
            return {}
        maps = F.interpolate(
            sample.features, sample.depth_m.shape[1:], mode="bilinear", align_corners=False
        )
        wanted = surface_features(sample.rig, sample.depth_m, voxels, maps)
        pick = self._rare_first(wanted, semantics, generator)
        centers = voxel_centers_m(pick.device).reshape(-1, 3)[voxels.surface[pick]]
        features = model.feature_fusion(field, centers)
        near, relevancy = self._feature_terms(features, wanted[pick], semantics)
        return {"point_features": near, "relevancy": relevancy}

    def _lidar_terms(
        self,
        model: DistillNeRF,
        field: VoxelField,
        sample: TrainSample,
        voxels: VoxelLabels,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        offsets = sample.lidar_points_m - sample.lidar_origin_m
        distance = offsets.norm(dim=-1)
        near = ((distance > 1) & (distance < model.config.grid.inner_xy_m)).nonzero()[:, 0]
        seen = field.visibility.seen(sample.lidar_points_m[near], margin_m=torch.inf)
        near = near[seen]
        if not len(near):
            return {}
        pick = torch.randint(len(near), (self.points // 3,), generator=generator)
        pick = near[pick.to(near.device)]
        length = distance[pick]
        origins = sample.lidar_origin_m.expand(len(pick), -1)
        rays = Rays(origins, offsets[pick] / length[:, None])
        edges = ray_edges(field, rays, model.edges_m, model.config.render.fine_samples)
        result = render_rays(field, rays, edges)
        return {
            "lidar_depth": losses.log_depth_loss(result.depth_m, length),
            "line_of_sight": losses.line_of_sight_loss(
                result.weights, result.sample_depth_m, length
            ),
            "lidar_occupancy": losses.occupancy_ray_loss(
                field, rays, length, voxels.surface, generator
            ),
        }


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Views as rendered, beside what they should have been."""

    result: RayResult
    latent: Float[Tensor, "M h w C"]
    rgb: Float[Tensor, "M 3 H W"]
    depth_m: Float[Tensor, "M h w"]
    images: Float[Tensor, "M 3 H W"]
    rays: Rays

    def depth_loss(self) -> Tensor:
        return losses.log_depth_loss(self.result.depth_m, self.depth_m.reshape(-1))

    def rgb_loss(self, known: Bool[Tensor, "M H W"] | None = None) -> Tensor:
        """Colour's loss, over the pixels whose colour is known; None: over all."""
        if known is None:
            return losses.rgb_loss(self.rgb, self.images)
        images = torch.where(known[:, None], self.images, self.rgb.detach())
        share = known.float().mean().clamp(min=1 / known.numel())
        return losses.rgb_loss(self.rgb, images) / share


def _render(
    model: DistillNeRF, field: VoxelField, rig: CameraRig, depth_m: Tensor, bare: int = 0
) -> _Seen:
    """Render a rig's views; its images and the depth are what they should be.

    The first ``bare`` views are decoded without paint: their own pixels would be handed to them,
    and latents would never learn colour.
    """
    shape = (depth_m.shape[0], depth_m.shape[1], depth_m.shape[2])
    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, shape[1:])
    result, latent = model.render_latent(field, rays, shape)
    latent = latent.reshape(*shape, -1)
    surface = model.surface(field, rig, result)
    if surface is not None:
        surface[:bare] = 0
    rgb = model.decode(latent, surface)
    return _Seen(result, latent, rgb, depth_m, rig.images, rays)
