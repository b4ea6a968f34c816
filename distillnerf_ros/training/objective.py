"""One training step's losses, from a sample to weighted terms."""

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, Rays, camera_rays
from distillnerf_ros.lift.coarse_depth import CoarseDepth
from distillnerf_ros.lift.fine_depth import FineDepth
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.render.renderer import propose, render_rays
from distillnerf_ros.render.sampling import interval_probability
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training import losses
from distillnerf_ros.training.samples import TrainSample, pool_depth
from distillnerf_ros.voxels.field import VoxelField


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weight of each term; the docstring of each loss gives its equation."""

    coarse_bins: float = 0.3
    """Cross-entropy of stage 1's bins against dense depth."""
    coarse_depth: float = 1.0
    """Log error of stage 1's expected depth against dense depth."""
    candidates: float = 0.3
    """Cross-entropy of stage 2's candidates against dense depth."""
    depth: float = 1.0
    """Log error of rendered depth against dense depth."""
    lidar_depth: float = 0.5
    """Log error of depth rendered along lidar rays."""
    opacity: float = 0.1
    """Opacity of rendered rays against hit or sky (paper eq. 8)."""
    entropy: float = 0.01
    """Entropy of the rendered weights (paper appendix)."""
    occupancy: float = 1.0
    """Free before the hit, occupied at it, along dense-depth rays."""
    lidar_occupancy: float = 0.5
    """The same along lidar rays."""
    rgb: float = 1.0
    """L1 + SSIM of the decoded colour."""
    features: float = 0.5
    """Rendered foundation features."""
    point_features: float = 0.5
    """Foundation features at surface points."""


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Where feature targets come from.

    Attributes:
        dense: (N, 3, H, W) images -> (N, E, h, w) features of unit length.
        pca: the components that the field carries.
    """

    dense: Callable[[Tensor], Tensor]
    pca: Pca

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        """Feature targets in PCA space."""
        features = self.dense(images).permute(0, 2, 3, 1)
        return self.pca.project(features).permute(0, 3, 1, 2)


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a step is judged by.

    Attributes:
        weights: weight of each term.
        teacher: source of feature targets; None trains without features.
        views: cameras rendered per step.
        rays: dense-depth rays, and lidar rays, per step.
    """

    weights: LossWeights = LossWeights()
    teacher: Teacher | None = None
    views: int = 2
    rays: int = 4096

    def __call__(
        self, model: DistillNeRF, sample: TrainSample, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Unweighted terms by name; names are fields of :class:`LossWeights`."""
        rig = sample.rig.present()
        grid_size = (model.config.render.ray_rows, model.config.render.ray_cols)
        depth = pool_depth(sample.depth_m[sample.rig.valid], grid_size)
        coarse, fine, context = model.depth_stages(rig)
        field = model.fuse(rig, coarse, fine, context)
        terms = self._stage_terms(model, coarse, fine, depth)
        view = torch.randperm(len(rig.names), generator=generator)[: self.views]
        view = view.to(depth.device)
        targets = None if self.teacher is None else self.teacher(rig.images)
        terms |= self._view_terms(
            model,
            field,
            _views(rig, view),
            depth[view],
            None if targets is None else targets[view],
        )
        terms |= self._dense_ray_terms(model, field, rig, depth, targets, generator)
        terms |= self._lidar_terms(model, field, sample, generator)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Weighted sum."""
        return torch.stack([getattr(self.weights, k) * v for k, v in terms.items()]).sum()

    def _stage_terms(
        self, model: DistillNeRF, coarse: CoarseDepth, fine: FineDepth, depth: Tensor
    ) -> dict[str, Tensor]:
        size = (coarse.depth_m.shape[1], coarse.depth_m.shape[2])
        target = depth if depth.shape[1:] == size else F.interpolate(depth[None], size)[0]
        return {
            "coarse_bins": losses.bin_loss(coarse.weights, target, model.coarse_depth.edges_m),
            "coarse_depth": losses.log_depth_loss(coarse.depth_m, target),
            "candidates": losses.candidate_loss(fine.probability, fine.depth_m, target),
        }

    def _view_terms(
        self,
        model: DistillNeRF,
        field: VoxelField,
        rig: CameraRig,
        depth: Tensor,
        targets: Tensor | None,
    ) -> dict[str, Tensor]:
        count, rows, cols = depth.shape
        shape = (count, rows, cols)
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (rows, cols))
        result, latent = model.render_latent(field, rays, shape)
        latent = latent.reshape(*shape, -1)
        logits = model.heads.rgb(latent).permute(0, 3, 1, 2)
        rgb = model.decoder(latent.permute(0, 3, 1, 2), logits)
        terms = {
            "depth": losses.log_depth_loss(result.depth_m.reshape(shape), depth),
            "opacity": losses.opacity_loss(result.opacity.reshape(shape), depth.isfinite()),
            "entropy": losses.entropy_loss(result.weights),
            "rgb": losses.rgb_loss(rgb, rig.images),
        }
        if targets is not None and self.teacher is not None:
            maps = model.heads.features(latent).permute(0, 3, 1, 2)
            maps = F.adaptive_avg_pool2d(maps, (targets.shape[2], targets.shape[3]))
            terms["features"] = losses.feature_loss(
                maps.permute(0, 2, 3, 1), targets.permute(0, 2, 3, 1), self._scale
            )
        return terms

    def _dense_ray_terms(
        self,
        model: DistillNeRF,
        field: VoxelField,
        rig: CameraRig,
        depth: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Direct 3D supervision along rays of the dense depth, nearer than the contraction."""
        size = (depth.shape[1], depth.shape[2])
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
        near = (depth.reshape(-1) < model.config.grid.inner_xy_m).nonzero()[:, 0]
        if not len(near):
            return {}
        pick = near[torch.randint(len(near), (self.rays,), generator=generator).to(near.device)]
        rays, hit = rays.select(pick), depth.reshape(-1)[pick]
        terms = {"occupancy": losses.occupancy_ray_loss(field, rays, hit, generator)}
        if targets is not None and self.teacher is not None:
            wanted = F.interpolate(targets, size, mode="bilinear", align_corners=False)
            wanted = wanted.permute(0, 2, 3, 1).reshape(-1, wanted.shape[1])[pick]
            inside = hit[:, None] + 0.1 / rays.lengths[:, None]
            features = model.heads.features(field.latent(rays.at(inside)[:, 0]))
            terms["point_features"] = losses.feature_loss(features, wanted, self._scale)
        return terms

    def _lidar_terms(
        self,
        model: DistillNeRF,
        field: VoxelField,
        sample: TrainSample,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        offsets = sample.lidar_points_m - sample.lidar_origin_m
        distance = offsets.norm(dim=-1)
        near = ((distance > 1) & (distance < model.config.grid.inner_xy_m)).nonzero()[:, 0]
        seen = field.visibility.seen(sample.lidar_points_m[near], margin_m=torch.inf)
        near = near[seen]
        if not len(near):
            return {}
        pick = torch.randint(len(near), (self.rays // 2,), generator=generator)
        pick = near[pick.to(near.device)]
        length = distance[pick]
        origins = sample.lidar_origin_m.expand(len(pick), -1)
        rays = Rays(origins, offsets[pick] / length[:, None])
        probability = interval_probability(propose(field, rays, model.edges_m))
        samples = model.config.render.fine_samples
        result = render_rays(field, rays, probability, model.edges_m, samples)
        return {
            "lidar_depth": losses.log_depth_loss(result.depth_m, length),
            "lidar_occupancy": losses.occupancy_ray_loss(field, rays, length, generator),
        }

    @property
    def _scale(self) -> float:
        assert self.teacher is not None
        return float(self.teacher.pca.std.square().mean().sqrt())


def _views(rig: CameraRig, index: Tensor) -> CameraRig:
    return CameraRig(
        tuple(rig.names[i] for i in index.tolist()),
        rig.images[index],
        rig.intrinsics[index],
        rig.ego_from_camera[index],
        rig.valid[index],
    )
