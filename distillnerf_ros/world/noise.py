"""Tileable noise, looked up instead of computed: one table serves every texture."""

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

TILE = 256
"""Texels per side of the table; it repeats beyond."""


@functools.cache
def noise_table(device: torch.device) -> Float[Tensor, "2 side side"]:
    """Fractal noise (mean 0, deviation 1) and white noise (0..1), with a repeated border."""
    generator = torch.Generator().manual_seed(20240717)
    fractal = torch.zeros(1, 1, TILE, TILE)
    for cells in (4, 8, 16, 32, 64, 128):
        lattice = torch.rand(1, 1, cells, cells, generator=generator)
        padded = F.pad(lattice, (2, 2, 2, 2), mode="circular")
        scale = TILE // cells
        smooth = F.interpolate(padded, scale_factor=scale, mode="bicubic", align_corners=False)
        inner = slice(2 * scale, 2 * scale + TILE)
        fractal += smooth[:, :, inner, inner] * cells**-0.7
    fractal = (fractal - fractal.mean()) / fractal.std()
    white = torch.rand(1, 1, TILE, TILE, generator=generator)
    table = F.pad(torch.cat([fractal, white], dim=1), (0, 1, 0, 1), mode="circular")
    return table[0].to(device)


def fractal_noise(u: Float[Tensor, " R"], v: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
    """Smooth noise, about -2..2, that repeats every 1 in u and v; finest detail is 1/128."""
    grid = torch.stack([u - u.floor(), v - v.floor()], dim=-1) * 2 - 1
    table = noise_table(u.device)[None, :1]
    return F.grid_sample(table, grid[None, None], align_corners=True)[0, 0, 0]


def cell_noise(u: Float[Tensor, " R"], v: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
    """One constant random number in 0..1 per unit cell of (u, v)."""
    column = u.floor().long() & (TILE - 1)
    row = v.floor().long() & (TILE - 1)
    return noise_table(u.device)[1].reshape(-1)[row * (TILE + 1) + column]
