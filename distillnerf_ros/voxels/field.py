"""The voxel field of one glance: density, colour and features at any point."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillnerf_ros.cameras.visibility import Told, Visibility
from distillnerf_ros.voxels.grid import SparseGrid, gather_rows
from distillnerf_ros.voxels.paint import Paint, RayEnds


@dataclasses.dataclass(frozen=True)
class FieldSample:
    """What a field answers at points.

    Attributes:
        density: (...) extinction per metre.
        rgb: (..., 3) colour in 0..1.
        features: (..., C) foundation features in the teacher's PCA space.
    """

    density: Float[Tensor, "*shape"]
    rgb: Float[Tensor, "*shape 3"]
    features: Float[Tensor, "*shape C"]


@runtime_checkable
class Field(Protocol):
    """Anything that can be rendered, queried and edited, in ego metres."""

    def __call__(
        self,
        points_m: Float[Tensor, "*shape 3"],
        directions: Float[Tensor, "*shape 3"] | None = None,
        time: float | None = None,
    ) -> FieldSample:
        """Density, colour and features at points."""
        ...

    def density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Density alone (cheaper)."""
        ...

    def proposal_density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Largest density in a small neighbourhood, to place samples with; no gradient."""
        ...

    def sky(self, directions: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Colour in 0..1 of what lies beyond everything."""
        ...


def density_from_logit(logit: Tensor) -> Tensor:
    """Extinction per metre: exp(x - 1) with x soft-clamped to +-10 (released configuration)."""
    return torch.tanh(logit / 10).mul(10).sub_(1).exp_()


class FieldHeads(nn.Module):
    """Linear read-outs of a latent, so that they commute with compositing, and the sky."""

    def __init__(self, latent: int, features: int, context: int) -> None:
        super().__init__()
        self.rgb = nn.Linear(latent, 3)
        self.features = nn.Linear(latent, features)
        self.sky = nn.Sequential(nn.Linear(3 + context, 64), nn.ReLU(), nn.Linear(64, latent))


@dataclasses.dataclass(frozen=True)
class VoxelField:
    """Sparse hierarchical voxel field; values are looked up at the nearest voxel (no blending).

    Attributes:
        grid: which voxels exist.
        slot_density: (V_c * subcells + subcells,) density of every fine cell of every occupied
            coarse voxel, then zeros for empty space. A fine voxel's own density where there is
            one, else the coarse voxel's ("density complement", paper sec. 3.1).
        fine_values: (V_f + 1, C_f) features of the fine voxels, then zeros.
        coarse_values: (V_c + 1, C_c) features of the coarse voxels, then zeros.
        heads: maps latents (C_f + C_c) to colour and foundation features.
        context: (C,) one vector of the whole glance, for the sky.
        visibility: which part of space the cameras saw.
        painter: makes the colour of the surfaces that the glance shows; None where colour comes
            from the latents alone.
        block_logit: (coarse cells,) that something is in each coarse cell, for training; None
            where nothing looks from above.
        told: what the pictures say of the pixels of ``visibility``; None where none says anything.
    """

    grid: SparseGrid
    slot_density: Float[Tensor, " slots"]
    fine_values: Float[Tensor, "fine_rows C_f"]
    coarse_values: Float[Tensor, "coarse_rows C_c"]
    heads: FieldHeads
    context: Float[Tensor, " context"]
    visibility: Visibility
    painter: Callable[["VoxelField"], Paint] | None = None
    block_logit: Float[Tensor, " cells"] | None = None
    told: Told | None = None

    def __call__(
        self,
        points_m: Float[Tensor, "*shape 3"],
        directions: Float[Tensor, "*shape 3"] | None = None,
        time: float | None = None,
    ) -> FieldSample:
        """Density, colour and features; one glance has no view dependence and no time."""
        latent = self.latent(points_m)
        hit = torch.ones_like(points_m[..., 0], dtype=torch.bool)
        rgb = self._painted(torch.sigmoid(self.heads.rgb(latent)), points_m, points_m, hit)
        return FieldSample(self.density(points_m), rgb, self.heads.features(latent))

    def density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Extinction per metre; 0 in empty space."""
        return self.cell_density(*self.grid.layout.locate(points_m))

    def cell_density(
        self, coarse: Int[Tensor, "*shape"], sub: Int[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """The same in cells of the layout (see ``GridLayout.locate``)."""
        return gather_rows(self.slot_density, self.grid.slots(coarse, sub))

    def latent(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape C"]:
        """Concatenated fine and coarse features; zeros in empty space."""
        fine, coarse = self._rows(*self.grid.layout.locate(points_m))
        values = gather_rows(self.fine_values, fine), gather_rows(self.coarse_values, coarse)
        return torch.cat(values, dim=-1)

    def composite_latent(
        self, points_m: Float[Tensor, "R S 3"], weights: Float[Tensor, "R S"]
    ) -> Float[Tensor, "R C"]:
        """Weighted sum of the latents along each ray, without holding them: 30 times faster."""
        return self.composite_cells(*self.grid.layout.locate(points_m), weights)

    def composite_cells(
        self, coarse: Int[Tensor, "R S"], sub: Int[Tensor, "R S"], weights: Float[Tensor, "R S"]
    ) -> Float[Tensor, "R C"]:
        """The same in cells of the layout."""
        tables = (self.fine_values, self.coarse_values)
        bags = [
            F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
            for rows, table in zip(self._rows(coarse, sub), tables, strict=True)
        ]
        return torch.cat(bags, dim=-1)

    def _rows(
        self, coarse: Int[Tensor, "*shape"], sub: Int[Tensor, "*shape"]
    ) -> tuple[Tensor, Tensor]:
        """Fine and coarse row of each cell."""
        return self.grid.fine_rows(self.grid.slots(coarse, sub)), self.grid.coarse_rows(coarse)

    def proposal_density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Largest density in the octant of a coarse voxel that holds each point; no gradient.

        With 4x4x4 fine cells per coarse voxel an octant is 2x2x2 fine cells.
        """
        coarse, sub = self.grid.layout.locate(points_m)
        octants = gather_rows(self.grid.layout.octants(points_m.device), sub)
        return gather_rows(self._octant_density, self.grid.coarse_rows(coarse) * 8 + octants)

    @functools.cached_property
    def _octant_density(self) -> Float[Tensor, " octants"]:
        f = self.grid.layout.factor
        cells = self.slot_density.detach().reshape(-1, 2, f // 2, 2, f // 2, 2, f // 2)
        return cells.amax(dim=(2, 4, 6)).reshape(-1)

    @functools.cached_property
    def paint(self) -> Paint | None:
        """Colour of surfaces, made when it is first asked for; None where there is no painter."""
        return None if self.painter is None else self.painter(self)

    def sky(self, directions: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Colour in 0..1 of what lies beyond everything."""
        latent = self.sky_latent(directions.reshape(-1, 3)).reshape(*directions.shape[:-1], -1)
        hit = torch.zeros_like(directions[..., 0], dtype=torch.bool)
        return self._painted(torch.sigmoid(self.heads.rgb(latent)), directions, directions, hit)

    def _painted(self, rgb: Tensor, points_m: Tensor, directions: Tensor, hit: Tensor) -> Tensor:
        """What the glance's own pixels show there, else the colours given."""
        if self.paint is None:
            return rgb
        ends = RayEnds(points_m.reshape(-1, 3), directions.reshape(-1, 3), hit.reshape(-1))
        painted, known = self.paint(ends)
        return torch.where(known.reshape(hit.shape)[..., None], painted.reshape(rgb.shape), rgb)

    def sky_latent(self, directions: Float[Tensor, "R 3"]) -> Float[Tensor, "R C"]:
        """Latent of what lies beyond everything, by direction of view."""
        unit = directions / directions.norm(dim=-1, keepdim=True)
        return self.heads.sky(torch.cat([unit, self.context.expand(len(unit), -1)], dim=-1))
