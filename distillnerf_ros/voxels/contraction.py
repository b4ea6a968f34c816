"""Contraction of unbounded space into the unit cube, and back (paper eq. 3)."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Contraction:
    """Per-axis contraction: linear inside ``inner_m``, ``1/|x|`` beyond.

    With a = alpha and r = inner: s = a x / r for |x| <= r, else sign(x) (1 - (r / |x|) (1 - a)).
    s lies in (-1, 1); s = +-1 is infinity.

    Attributes:
        inner_m: end of the linear part along x, y, z.
        alpha: share of the half axis that the linear part takes; 1 contracts nothing, and puts all
            that lies beyond at the border.
    """

    inner_m: tuple[float, float, float]
    alpha: float

    def contract(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Metres to contracted coordinates in (-1, 1)."""
        ratio = points_m / points_m.new_tensor(self.inner_m)
        # The clamp keeps 1/|x| finite at the origin, where the other branch is taken: both
        # branches of a where are differentiated.
        outer = torch.sign(ratio) * (1 - (1 - self.alpha) / ratio.abs().clamp(min=1.0))
        return torch.where(ratio.abs() <= 1, self.alpha * ratio, outer)

    def expand(self, contracted: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Contracted coordinates back to metres; the inverse of :meth:`contract`."""
        distance_to_infinity = (1 - contracted.abs()).clamp(min=1e-6, max=1 - self.alpha)
        outer = torch.sign(contracted) * (1 - self.alpha) / distance_to_infinity
        ratio = torch.where(contracted.abs() <= self.alpha, contracted / self.alpha, outer)
        return ratio * contracted.new_tensor(self.inner_m)


def contracted_depths(
    near_m: float, inner_m: float, far_m: float, alpha: float, count: int
) -> Float[Tensor, " count"]:
    """Depths spaced evenly in contracted depth from near to far (metres, ascending)."""
    line = Contraction((inner_m,) * 3, alpha)
    ends = line.contract(torch.tensor([[near_m] * 3, [far_m] * 3], dtype=torch.float64))[:, 0]
    steps = torch.linspace(float(ends[0]), float(ends[1]), count, dtype=torch.float64)
    return line.expand(steps[:, None].expand(-1, 3))[:, 0].float()
