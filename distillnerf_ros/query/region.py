"""Parts of space that an edit is about, and how they are found: by what their features answer."""

import dataclasses
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.errors import QueryError
from distillnerf_ros.query.clusters import label_components
from distillnerf_ros.voxels.field import Field

OPAQUE = 0.5
"""A cell that stops so much of a ray that crosses it holds something."""
DOUBT = 0.15
"""What surrounds a thing belongs to it if its score is at most so far below the threshold:
features are mixed where two things meet."""
NEAR_M = 0.8
"""What lies so near to cells of a thing, inside its box, is part of it whatever it looks like."""
_CHUNK = 1 << 18


@dataclasses.dataclass(frozen=True)
class Region:
    """Cells of space, in the frame of the field.

    Attributes:
        origin_m: (3,) corner of cell (0, 0, 0).
        cell_m: (3,) edges of a cell.
        cells: (X, Y, Z) which cells belong to it.
    """

    origin_m: Float[Tensor, " 3"]
    cell_m: Float[Tensor, " 3"]
    cells: Bool[Tensor, "X Y Z"]

    @classmethod
    def box(cls, low_m: Float[Tensor, " 3"], high_m: Float[Tensor, " 3"]) -> "Region":
        """Everything between two corners.

        Raises:
            QueryError: the second is not beyond the first.
        """
        if not (high_m > low_m).all():
            raise QueryError(
                f"a box from {low_m.tolist()} to {high_m.tolist()} m holds nothing; expected the "
                "lowest corner first, then the highest, in x, y and z"
            )
        return cls(low_m, high_m - low_m, low_m.new_ones((1, 1, 1), dtype=torch.bool))

    def holds(self, points_m: Float[Tensor, "*shape 3"]) -> Bool[Tensor, "*shape"]:
        """Whether points lie in it."""
        shape = torch.tensor(self.cells.shape, device=points_m.device)
        index = ((points_m - self.origin_m) / self.cell_m).floor()
        inside = ((index >= 0) & (index < shape)).all(dim=-1)
        x, y, z = torch.where(inside[..., None], index, 0).long().unbind(-1)  # NaN is nowhere
        return self.cells[x, y, z] & inside

    @property
    def bounds_m(self) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
        """Lowest and highest corner of what belongs to it; of a region that is not empty."""
        index = self.cells.nonzero()
        low, high = index.amin(dim=0), index.amax(dim=0) + 1
        return self.origin_m + low * self.cell_m, self.origin_m + high * self.cell_m


@dataclasses.dataclass(frozen=True)
class Thing:
    """Connected cells that answer what was asked.

    Attributes:
        region: the cells, and what surrounds them and is nothing else.
        low_m: (3,) lowest corner of the cells that answer.
        high_m: (3,) highest corner.
        score: best score of its cells, 0..1.
        count: how many cells answered.
    """

    region: Region
    low_m: Float[Tensor, " 3"]
    high_m: Float[Tensor, " 3"]
    score: float
    count: int

    def apart_m(self, at_m: Float[Tensor, " D"]) -> float:
        """From a place, of which x and y may be all that is known, to the thing's box."""
        low, high = self.low_m[: len(at_m)], self.high_m[: len(at_m)]
        return float((at_m - at_m.clamp(low, high)).norm())


@torch.no_grad()
def occupied_cells(
    field: Field, low_m: Float[Tensor, " 3"], high_m: Float[Tensor, " 3"], cell_m: float
) -> Float[Tensor, "P 3"]:
    """Centres of the cells of a box that hold something.

    Args:
        field: whose space is searched.
        low_m: lowest corner, in the field's frame.
        high_m: highest corner.
        cell_m: edge of the cells.
    """
    shape = tuple(((high_m - low_m) / cell_m).round().long().tolist())
    found = []
    for flat in torch.arange(math.prod(shape), device=low_m.device).split(_CHUNK):
        centers = low_m + (torch.stack(torch.unravel_index(flat, shape), dim=-1) + 0.5) * cell_m
        centers = centers[field.proposal_density(centers) > 0]
        opaque = 1 - torch.exp(-field.density(centers) * cell_m) >= OPAQUE
        found.append(centers[opaque])
    return torch.cat(found)


def find_things(
    points_m: Float[Tensor, "P 3"], scores: Float[Tensor, " P"], threshold: float, cell_m: float
) -> list[Thing]:
    """Connected things that answer, the largest first.

    N3F and DFF cut a field by every point's own score. That leaves shreds of a thing (its panes,
    its far side, its inside) and takes specks elsewhere. So cells that answer are joined into
    things. A thing takes what is near its cells and inside their box, but for the ground it stands
    on, and next to them what is empty or nearly answers.

    Args:
        points_m: centres of the cells that hold something.
        scores: how well each answers, 0..1.
        threshold: least score of a cell that answers.
        cell_m: edge of the cells.

    Raises:
        QueryError: the threshold is outside 0..1.
    """
    if not 0 <= threshold <= 1:
        raise QueryError(f"threshold {threshold}; scores are from 0 to 1, expected one of these")
    if not (scores >= threshold).any():
        return []
    reach = max(1, round(NEAR_M / cell_m))
    origin_m = points_m.amin(dim=0) - (reach + 0.5) * cell_m  # so much is empty all around
    index = ((points_m - origin_m) / cell_m).floor().long()
    shape = (index.amax(dim=0) + reach + 1).tolist()
    answers = scores >= threshold
    other = torch.zeros(shape, dtype=torch.bool, device=points_m.device)
    other[tuple(index[scores < threshold - DOUBT].T)] = True
    index, scores = index[answers], scores[answers]
    labels = label_components(index)
    things = []
    for label in range(int(labels.max()) + 1):
        own = labels == label
        first, last = index[own].aminmax(dim=0)
        begin, end = first - reach, last + reach + 1
        about = tuple(map(slice, begin.tolist(), end.tolist()))
        cells = torch.zeros_like(other[about])
        cells[tuple((index[own] - begin).T)] = True
        near = _grown(cells, reach) & _box_above_ground(cells)
        kept = near | (_grown(cells, 1) & ~other[about])
        region = Region(origin_m + begin * cell_m, origin_m.new_full((3,), cell_m), kept)
        corners = origin_m + first * cell_m, origin_m + (last + 1) * cell_m
        things.append(Thing(region, *corners, float(scores[own].max()), int(own.sum())))
    return sorted(things, key=lambda thing: -thing.count)


def union(things: Sequence[Thing]) -> Region:
    """All that one search found, or some of it; at least one."""
    regions = [thing.region for thing in things]
    cell_m, origin_m = regions[0].cell_m, torch.stack([r.origin_m for r in regions]).amin(dim=0)
    begins = [((r.origin_m - origin_m) / cell_m).round().long() for r in regions]
    ends = [b + b.new_tensor(r.cells.shape) for b, r in zip(begins, regions, strict=True)]
    shape = torch.stack(ends).amax(dim=0).tolist()
    cells = torch.zeros(shape, dtype=torch.bool, device=origin_m.device)
    for begin, end, region in zip(begins, ends, regions, strict=True):
        cells[tuple(map(slice, begin.tolist(), end.tolist()))] |= region.cells
    return Region(origin_m, cell_m, cells)


def _grown(cells: Bool[Tensor, "X Y Z"], reach: int) -> Bool[Tensor, "X Y Z"]:
    """The cells and all that are at most so many cells away, along each axis."""
    grown = F.max_pool3d(cells[None, None].float(), 2 * reach + 1, stride=1, padding=reach)
    return grown[0, 0] > 0


def _box_above_ground(cells: Bool[Tensor, "X Y Z"]) -> Bool[Tensor, "X Y Z"]:
    """The box around some cells without its lowest layer."""
    box = torch.zeros_like(cells)
    (x, y, z), (x_end, y_end, z_end) = (ends.tolist() for ends in cells.nonzero().aminmax(dim=0))
    box[x : x_end + 1, y : y_end + 1, z + 1 : z_end + 1] = True
    return box
