"""Splatting: mean pooling of lifted points into the voxels of a sparse grid."""

from jaxtyping import Float, Int
from torch import Tensor


def splat_mean(
    values: Float[Tensor, "P C"], rows: Int[Tensor, " P"], count: int
) -> Float[Tensor, "count C"]:
    """Average the values of the points in each voxel.

    Args:
        values: (P, C) one vector per lifted point.
        rows: (P,) voxel row of each point; ``count`` means the point has no voxel.
        count: number of voxels.

    Returns:
        (count, C) means; zero where a voxel has no point.
    """
    sums = values.new_zeros(count + 1, values.shape[1]).index_add(0, rows, values)
    ones = values.new_ones(values.shape[0])
    points = values.new_zeros(count + 1).index_add_(0, rows, ones)
    return sums[:count] / points[:count, None].clamp(min=1)
