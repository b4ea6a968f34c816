"""DistillNeRF on one page: the paper's stages in order."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillnerf_ros.cameras import CameraRig, Rays, camera_rays
from distillnerf_ros.cameras.visibility import Visibility
from distillnerf_ros.config import ModelConfig
from distillnerf_ros.lift.backbone import Backbone
from distillnerf_ros.lift.coarse_depth import CoarseDepth, CoarseDepthNet
from distillnerf_ros.lift.fine_depth import FineDepth, FineDepthNet
from distillnerf_ros.lift.lift import LiftedPoints, lift
from distillnerf_ros.render.decoder import RgbDecoder
from distillnerf_ros.render.renderer import (
    RayResult,
    Rendered,
    image_proposals,
    march_edges,
    render_rays,
)
from distillnerf_ros.voxels.field import FieldHeads, VoxelField, density_from_logit
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid
from distillnerf_ros.voxels.sparse_conv import SparseVoxelNet
from distillnerf_ros.voxels.splat import splat_mean


class DistillNeRF(nn.Module):
    """Six images in, one renderable and queryable voxel field out (Wang et al., NeurIPS 2024)."""

    edges_m: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        voxels, channels = config.voxels, config.backbone.feature_channels
        latent = voxels.fine_channels + voxels.coarse_channels
        self.layout = GridLayout.from_config(config.grid)
        self.backbone = Backbone(config.backbone)
        self.coarse_depth = CoarseDepthNet(config.coarse_depth, channels, config.grid.alpha)
        self.fine_depth = FineDepthNet(config.fine_depth, channels, latent)
        self.voxel_net = SparseVoxelNet(voxels, self.layout.subcells)
        self.heads = FieldHeads(latent, config.features.channels, channels)
        self.decoder = RgbDecoder(config.render, latent)
        edges = march_edges(config.render, config.grid.alpha, config.grid.inner_xy_m)
        self.register_buffer("edges_m", edges, persistent=False)

    def encode(self, rig: CameraRig) -> VoxelField:
        """The forward pass: cameras -> depth -> lifted points -> sparse voxels."""
        coarse, fine, context = self.depth_stages(rig.present())
        return self.fuse(rig.present(), coarse, fine, context)

    def depth_stages(self, rig: CameraRig) -> tuple[CoarseDepth, FineDepth, Tensor]:
        """Image features, then the two depth stages of every camera that is there."""
        features, context = self.backbone(rig)
        coarse = self.coarse_depth(features)
        return coarse, self.fine_depth(coarse), context

    def fuse(
        self, rig: CameraRig, coarse: CoarseDepth, fine: FineDepth, context: Tensor
    ) -> VoxelField:
        """Lift all cameras into one space, pool, convolve, and assemble the field."""
        points = lift(rig, coarse, fine, self.config.fine_depth.min_opacity)
        grid, fine_values, coarse_values = self.splat(points)
        fine_values, coarse_values, completion = self.voxel_net(fine_values, coarse_values, grid)
        seen_m = torch.where(
            coarse.opacity < self.config.render.hit_opacity,
            self.config.render.far_m,
            coarse.depth_m,
        )
        return VoxelField(
            grid,
            complement_density(grid, fine_values[:, -1], coarse_values[:, -1], completion),
            _pad_row(5 * torch.tanh(fine_values[:, :-1] / 5)),
            _pad_row(5 * torch.tanh(coarse_values[:, :-1] / 5)),
            self.heads,
            context,
            Visibility(rig.intrinsics, rig.ego_from_camera, rig.image_size, seen_m.detach()),
        )

    def splat(self, points: LiftedPoints) -> tuple[SparseGrid, Tensor, Tensor]:
        """Mean-pool the points into both levels; each level takes its part of the features."""
        limits = self.config.grid
        grid, coarse_rows, fine_rows = build_grid(
            self.layout,
            points.points_m.detach(),
            points.keep,
            limits.max_coarse_voxels,
            limits.max_fine_voxels,
        )
        split = self.config.voxels.fine_channels
        logit = points.values[:, -1:]
        fine = torch.cat([points.values[:, :split], logit], dim=1)
        fine = splat_mean(fine, fine_rows, grid.fine_count)
        return grid, fine, splat_mean(points.values[:, split:], coarse_rows, grid.coarse_count)

    def render(self, field: VoxelField, rig: CameraRig) -> Rendered:
        """Depth, opacity, colour and features of the rig's views (its images are not looked at)."""
        rows, cols = self.config.render.ray_rows, self.config.render.ray_cols
        shape = (len(rig.names), rows, cols)
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (rows, cols))
        result, latent = self.render_latent(field, rays, shape)
        latent = latent.reshape(*shape, -1)
        maps = latent.permute(0, 3, 1, 2)
        rgb = self.decoder(maps, self.heads.rgb(latent).permute(0, 3, 1, 2))
        features = self.heads.features(latent).permute(0, 3, 1, 2)
        depth, opacity = result.depth_m.reshape(shape), result.opacity.reshape(shape)
        hit = opacity >= self.config.render.hit_opacity
        return Rendered(torch.where(hit, depth, torch.nan), opacity, rgb, features)

    def render_latent(
        self, field: VoxelField, rays: Rays, shape: tuple[int, int, int]
    ) -> tuple[RayResult, Float[Tensor, "R C"]]:
        """Composite the latents of N * h * w image rays over the sky's."""
        probability = image_proposals(field, rays, self.edges_m, shape)
        samples = self.config.render.fine_samples
        result = render_rays(field, rays, probability, self.edges_m, samples, field.latent)
        assert result.values is not None
        clear = (1 - result.opacity)[:, None]
        return result, result.values + clear * field.sky_latent(rays.directions)

    def render_depth(
        self, field: VoxelField, rig: CameraRig, grid_size: tuple[int, int]
    ) -> Float[Tensor, "N h w"]:
        """Depth alone, NaN where nothing is hit; about half the cost of :meth:`render`."""
        shape = (len(rig.names), *grid_size)
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, grid_size)
        probability = image_proposals(field, rays, self.edges_m, shape)
        samples = self.config.render.fine_samples
        result = render_rays(field, rays, probability, self.edges_m, samples)
        hit = result.opacity >= self.config.render.hit_opacity
        return torch.where(hit, result.depth_m, torch.nan).reshape(shape)


def complement_density(
    grid: SparseGrid, fine_logit: Tensor, coarse_logit: Tensor, completion: Tensor | None
) -> Float[Tensor, " slots"]:
    """Density of every slot: the fine voxel's, else the coarse voxel's (paper sec. 3.1).

    ``completion`` adds a learned logit to every slot, which fills the gaps between lifted points.
    """
    exists = grid.fine_table < grid.fine_count
    fine = _pad_row(fine_logit[:, None])[:, 0][grid.fine_table]
    logits = torch.where(exists, fine, coarse_logit[:, None])
    if completion is not None:
        logits = logits + completion
    empty = logits.new_zeros(grid.layout.subcells)
    return torch.cat([density_from_logit(logits).reshape(-1), empty])


def _pad_row(values: Float[Tensor, "V C"]) -> Float[Tensor, "rows C"]:
    """Append the row of zeros that empty space reads."""
    return torch.cat([values, values.new_zeros(1, values.shape[1])])
