"""Alpha compositing along rays (paper eq. 2; Max 1995)."""

import torch
from jaxtyping import Float
from torch import Tensor


def ray_weights(
    density: Float[Tensor, "*rays S"], lengths_m: Float[Tensor, "*#rays S"]
) -> Float[Tensor, "*rays S"]:
    """Share of each interval in what a ray sees.

    w_i = T_i (1 - exp(-sigma_i l_i)) with T_i = exp(-sum_{j<i} sigma_j l_j). The shares of a ray
    sum to its opacity. Computed as differences of the transmittance, so that they never exceed 1.

    Args:
        density: (..., S) extinction per metre.
        lengths_m: (..., S) interval lengths.
    """
    transmittance = torch.cumsum(density * -lengths_m, dim=-1).exp_()
    ahead = torch.cat([torch.ones_like(transmittance[..., :1]), transmittance[..., :-1]], dim=-1)
    return ahead - transmittance


def composite(
    weights: Float[Tensor, "R S"], values: Float[Tensor, "R S C"]
) -> Float[Tensor, "R C"]:
    """Weighted sum of values along each ray."""
    return torch.einsum("rs,rsc->rc", weights, values)
