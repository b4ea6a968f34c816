"""DistillNeRF on one page: the paper's stages in order."""

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from distillnerf_ros.cameras import CameraRig, Rays, camera_rays
from distillnerf_ros.cameras.visibility import Visibility
from distillnerf_ros.config import ModelConfig
from distillnerf_ros.lift.backbone import Backbone
from distillnerf_ros.lift.coarse_depth import CoarseDepth, CoarseDepthNet, told_by
from distillnerf_ros.lift.fine_depth import FineDepth, FineDepthNet
from distillnerf_ros.lift.lift import LiftedPoints, lift
from distillnerf_ros.render.decoder import RgbDecoder, enlarged
from distillnerf_ros.render.depth_fusion import DepthFusion
from distillnerf_ros.render.renderer import (
    DOUBTFUL_OPACITY,
    SKY_OPACITY,
    SURE_OPACITY,
    RayResult,
    Rendered,
    image_edges,
    march_edges,
    render_rays,
)
from distillnerf_ros.voxels.complement import complement_density, pad_row
from distillnerf_ros.voxels.feature_fusion import FeatureFusion
from distillnerf_ros.voxels.field import FieldHeads, VoxelField
from distillnerf_ros.voxels.grid import GridLayout, SparseGrid, build_grid
from distillnerf_ros.voxels.paint import Paint, RayEnds
from distillnerf_ros.voxels.sparse_conv import SparseVoxelNet
from distillnerf_ros.voxels.splat import splat_mean

DENSITY_LOGIT_SCALE = 10.0
"""Density logit of a candidate that is surely a surface (density e^(7.6-1) per metre)."""


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
        self.voxel_net = SparseVoxelNet(voxels, self.layout, config.grid.max_coarse_voxels)
        self.heads = FieldHeads(latent, config.features.channels, channels)
        self.decoder = RgbDecoder(config.render, latent) if config.render.decoder else None
        self.depth_fusion = DepthFusion(latent)
        self.feature_fusion = FeatureFusion(latent, config.features.channels)
        edges = march_edges(config.render, config.grid.alpha, config.grid.inner_xy_m)
        self.register_buffer("edges_m", edges, persistent=False)

    def encode(self, rig: CameraRig) -> VoxelField:
        """The forward pass: cameras -> depth -> lifted points -> sparse voxels."""
        rig = rig.present()
        return self.fuse(rig, *self.depth_stages(rig))

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
        fused = self.voxel_net(fine_values, coarse_values, grid)
        seen_m = torch.where(
            coarse.opacity < SKY_OPACITY,
            torch.inf,
            self.coarse_depth.median_m(coarse),
        )
        return VoxelField(
            fused.grid,
            complement_density(
                fused.grid,
                fused.fine[:, -1],
                fused.coarse[:, -1],
                fused.completion,
                self.config.voxels.complement,
            ),
            pad_row(5 * torch.tanh(fused.fine[:, :-1] / 5)),
            pad_row(5 * torch.tanh(fused.coarse[:, :-1] / 5)),
            self.heads,
            context,
            Visibility(rig.intrinsics, rig.ego_from_camera, rig.image_size, seen_m.detach()),
            functools.partial(self.paint, rig=rig) if self.config.render.paint else None,
            fused.block_logit,
            told_by(coarse, seen_m, self.coarse_depth.middles_m, fine.features),
        )

    def splat(self, points: LiftedPoints) -> tuple[SparseGrid, Tensor, Tensor]:
        """Mean-pool the points into both levels: its part of the features, and density's logit."""
        limits = self.config.grid
        grid, coarse_rows, fine_rows = build_grid(
            self.layout,
            points.points_m.detach(),
            points.keep,
            limits.max_coarse_voxels,
            limits.max_fine_voxels,
        )
        split = self.config.voxels.fine_channels
        pixel = torch.arange(len(points.keep), device=points.keep.device)
        pixel = pixel // (len(points.keep) // len(points.features))

        def pooled(features: Tensor, rows: Tensor, count: int) -> Tensor:
            carried = F.pad(features, (0, 1), value=1.0)  # the mean of its weight is that of p
            mean = splat_mean(carried, pixel, points.probability, rows, count)
            logit = DENSITY_LOGIT_SCALE * (2 * mean[:, -1:] - 1)
            return torch.cat([mean[:, :-1], logit], dim=1)

        fine = pooled(points.features[:, :split], fine_rows, grid.fine_count)
        return grid, fine, pooled(points.features[:, split:], coarse_rows, grid.coarse_count)

    def render(self, field: VoxelField, rig: CameraRig) -> Rendered:
        """Depth, opacity, colour and features of the rig's views (its images are not looked at).

        A camera that is missing has no pose to render from: NaN depth, opacity 0 and black.
        """
        rows, cols = self.config.render.ray_rows, self.config.render.ray_cols
        shape = (len(rig.names), rows, cols)
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, (rows, cols))
        result, latent = self.render_latent(field, rays, shape)
        latent = latent.reshape(*shape, -1)
        rgb = self.decode(latent, self.surface(field, rig, result))
        features = self.heads.features(latent).permute(0, 3, 1, 2)
        there = rig.valid[:, None, None]
        return Rendered(
            self._hit_depth(field, rays, result, there.expand(shape)),
            torch.where(there, result.opacity.reshape(shape), 0.0),
            torch.where(there[:, None], rgb, 0.0),
            torch.where(there[:, None], features, 0.0),
        )

    def decode(
        self, latent: Float[Tensor, "N h w C"], surface: Float[Tensor, "N 4 H W"] | None = None
    ) -> Float[Tensor, "N 3 H W"]:
        """Colour in 0..1 of images of composited latents and of what :meth:`surface` says."""
        logits = self.heads.rgb(latent).permute(0, 3, 1, 2)
        if self.decoder is None:
            rgb = torch.sigmoid(enlarged(logits, self.config.render.decoder_scale))
            return rgb if surface is None else rgb.lerp(surface[:, :3], surface[:, 3:])
        return self.decoder(latent.permute(0, 3, 1, 2), logits, surface)

    @torch.no_grad()
    def surface(
        self, field: VoxelField, rig: CameraRig, result: RayResult
    ) -> Float[Tensor, "N 4 H W"] | None:
        """Colour of the end of each pixel's ray, and whether it is known; None without paint."""
        if field.paint is None:
            return None
        rgb, known = field.paint(self._ends(rig, result))
        maps = torch.cat([rgb, known[:, None].float()], dim=1)
        rows, cols = self.config.backbone.image_height_px, self.config.backbone.image_width_px
        return maps.reshape(len(rig.names), rows, cols, 4).permute(0, 3, 1, 2)

    @torch.no_grad()
    def paint(self, field: VoxelField, rig: CameraRig) -> Paint:
        """Give the surfaces the colour of the pixels whose rays end there in the field.

        Args:
            field: whose geometry counts.
            rig: the glance it was made of.
        """
        grid_size = (self.config.render.ray_rows, self.config.render.ray_cols)
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, grid_size)
        result = render_rays(field, rays, self._edges(field, rays, (len(rig.names), *grid_size)))
        rgb = rig.images.permute(0, 2, 3, 1).reshape(-1, 3)
        return Paint.fit(field.grid, self._ends(rig, result), rgb)

    def _ends(self, rig: CameraRig, result: RayResult) -> RayEnds:
        """Where every image pixel's ray ends: as deep as the ray that was marched near it."""
        scale = self.config.render.decoder_scale
        rows, cols = self.config.render.ray_rows, self.config.render.ray_cols
        maps = torch.stack([result.median_m, result.opacity], dim=1)
        maps = maps.reshape(len(rig.names), rows, cols, 2)
        maps = maps.repeat_interleave(scale, 1).repeat_interleave(scale, 2).reshape(-1, 2)
        size = (rows * scale, cols * scale)
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
        hit = maps[:, 1] >= self.config.render.hit_opacity
        return RayEnds(rays.at(maps[:, :1])[:, 0], rays.directions, hit)

    def render_latent(
        self, field: VoxelField, rays: Rays, shape: tuple[int, int, int]
    ) -> tuple[RayResult, Float[Tensor, "R C"]]:
        """Composite the latents of N * h * w image rays over the sky's."""
        result = render_rays(field, rays, self._edges(field, rays, shape), field.composite_latent)
        assert result.values is not None
        clear = (1 - result.opacity)[:, None]
        return result, result.values + clear * field.sky_latent(rays.directions)

    def _edges(self, field: VoxelField, rays: Rays, shape: tuple[int, int, int]) -> Tensor:
        return image_edges(field, rays, self.edges_m, self.config.render.fine_samples, shape)

    def render_depth(
        self, field: VoxelField, rig: CameraRig, grid_size: tuple[int, int]
    ) -> Float[Tensor, "N h w"]:
        """Depth alone, NaN where nothing is hit; a third of the cost of :meth:`render`."""
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, grid_size)
        result = render_rays(field, rays, self._edges(field, rays, (len(rig.names), *grid_size)))
        there = rig.valid[:, None, None].expand(-1, *grid_size)
        return self._hit_depth(field, rays, result, there)

    def _hit_depth(
        self, field: VoxelField, rays: Rays, result: RayResult, there: Bool[Tensor, "N h w"]
    ) -> Tensor:
        """Depth, NaN where the ray hits nothing: the glance's own pictures know best where sky is.

        Rays of other cameras have the field's median depth.
        """
        depth = result.median_m
        limit = torch.full_like(depth, self.config.render.hit_opacity)
        if field.told is not None:
            told = field.told.at(field.visibility.pixels(rays))
            surface, sky = told.depth_m.isfinite(), told.depth_m.isinf()
            depth = torch.where(surface, self.depth_fusion(told, result), depth)
            limit = torch.where(surface, SURE_OPACITY, torch.where(sky, DOUBTFUL_OPACITY, limit))
        hit = (result.opacity >= limit).reshape(there.shape) & there
        return torch.where(hit, depth.reshape(there.shape), torch.nan)
