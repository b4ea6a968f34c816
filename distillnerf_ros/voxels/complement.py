"""Density complement: every fine cell of an occupied coarse voxel gets a density."""

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.voxels.field import density_from_logit
from distillnerf_ros.voxels.grid import SparseGrid


def complement_density(
    grid: SparseGrid,
    fine_logit: Float[Tensor, " V_f"],
    coarse_logit: Float[Tensor, " V_c"],
    completion: Float[Tensor, "V_c subcells"] | None,
    complement: bool = True,
) -> Float[Tensor, " slots"]:
    """Density of every slot: the fine voxel's, else the coarse voxel's (paper sec. 3.1).

    Args:
        grid: which voxels exist.
        fine_logit: (V_f,) density logits of the fine voxels.
        coarse_logit: (V_c,) density logits of the coarse voxels.
        completion: (V_c, subcells) learned logits that are added to every slot, to fill the gaps
            between lifted points and to thin what the coarse voxel would fill; or None.
        complement: False leaves slots without a fine voxel empty.

    Returns:
        (V_c * subcells + subcells,) densities, the last ``subcells`` of them zero: empty space.
    """
    exists = grid.fine_table < grid.fine_count
    fine = pad_row(fine_logit[:, None])[:, 0][grid.fine_table]
    logits = torch.where(exists, fine, coarse_logit[:, None])
    if completion is not None:
        logits = logits + completion
    density = density_from_logit(logits)
    if not complement:
        density = density * exists
    empty = logits.new_zeros(grid.layout.subcells)
    return torch.cat([density.reshape(-1), empty])


def pad_row(values: Float[Tensor, "V C"]) -> Float[Tensor, "rows C"]:
    """Append the row of zeros that empty space reads."""
    return torch.cat([values, values.new_zeros(1, values.shape[1])])
