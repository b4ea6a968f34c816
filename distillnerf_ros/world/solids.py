"""Nearest solid along each ray, by packets.

Rays travel in packets of neighbours. A packet's rays lie between four planes, so most solids are
ruled out for all of its rays at once; the rest are tested in order of distance until the packet's
farthest hit is nearer than the next candidate.
"""

import dataclasses
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.world.primitives import Primitives

PACKET_RAYS = 128
"""Rays of a packet: small enough to cull well, large enough to keep tensor operations long."""

_CHUNK_PAIRS = 2048
"""Packet-solid pairs tested at once: their temporaries stay in a CPU's cache."""

_RUN_PACKETS = 64
"""Neighbouring packets that rule out solids together."""

_SINGLE_RANKS = 6
"""Candidates of a packet tested one at a time before they are tested in groups."""

_MIN_T = 1e-4


@dataclasses.dataclass(frozen=True)
class Packets:
    """P packets of S neighbouring rays, in the map frame.

    Attributes:
        origins: (P, 3, S) metres.
        directions: (P, 3, S); their length is the caller's unit.
        group: (P,) which instant's solids the packet sees (see ``Primitives.group``).
    """

    origins: Float[Tensor, "P 3 S"]
    directions: Float[Tensor, "P 3 S"]
    group: Int[Tensor, " P"]

    @classmethod
    def from_rays(
        cls, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"], size: int
    ) -> "Packets":
        """Cut consecutive rays into packets; the last ray is repeated to fill the last packet."""
        count = origins.shape[0]
        index = torch.arange(-(-count // size) * size, device=origins.device).clamp_(max=count - 1)
        return cls(
            origins[index].view(-1, size, 3).transpose(1, 2).contiguous(),
            directions[index].view(-1, size, 3).transpose(1, 2).contiguous(),
            torch.zeros(index.shape[0] // size, dtype=torch.long, device=origins.device),
        )

    def flat(self) -> tuple[Float[Tensor, "R 3"], Float[Tensor, "R 3"]]:
        """Origins and directions ray by ray, in packet order."""
        origins = self.origins.transpose(1, 2).reshape(-1, 3)
        return origins, self.directions.transpose(1, 2).reshape(-1, 3)


def nearest(
    primitives: Primitives, packets: Packets, limit: Float[Tensor, "P S"]
) -> tuple[Float[Tensor, "P S"], Int[Tensor, "P S"]]:
    """Distance to the nearest solid below a limit, and its index (-1 = none).

    Args:
        primitives: the solids.
        packets: the rays.
        limit: per ray, hits at or beyond this parameter are ignored (infinity = none).

    Returns:
        t (P, S), equal to ``limit`` where nothing was hit, and the index into ``primitives``.
    """
    best, index = limit.clone(), torch.full_like(limit, -1, dtype=torch.long)
    pairs = _candidates(primitives, packets, limit)
    common = bool((packets.origins == packets.origins[:, :, :1]).all())
    for chosen in _rounds(pairs.rank):
        packet, solid = pairs.packet[chosen], pairs.solid[chosen]
        alive = best.amax(dim=1)[packet] > pairs.near[chosen]
        packet, solid = packet[alive], solid[alive]
        kind = primitives.quadric[solid]
        for rows, test in ((~kind, _polyhedron), (kind, _quadric)):
            chunks = zip(
                packet[rows].split(_CHUNK_PAIRS), solid[rows].split(_CHUNK_PAIRS), strict=True
            )
            for p, k in chunks:
                origins = packets.origins[p, :, :1] if common else packets.origins[p]
                t = test(primitives, k, origins, packets.directions[p])
                _keep_nearest(best, index, p, k, t)
    return best, index


def _keep_nearest(best: Tensor, index: Tensor, packet: Tensor, solid: Tensor, t: Tensor) -> None:
    """Merge tested pairs, sorted by packet, into the packets' nearest hits."""
    if len(packet) == 0:
        return
    if len(packet) > 1 and bool((packet[1:] == packet[:-1]).any()):
        rows = packet[:, None].expand_as(t)
        closer = t < best[packet]
        best.scatter_reduce_(0, rows, t, "amin")
        winner = torch.where(closer & (t == best[packet]), solid[:, None], -1)
        met = torch.full_like(index, -1).scatter_reduce_(0, rows, winner, "amax")
        index.copy_(torch.where(met >= 0, met, index))
        return
    old = best[packet]
    closer = t < old
    best[packet] = torch.where(closer, t, old)
    index[packet] = torch.where(closer, solid[:, None], index[packet])


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Packet-solid pairs sorted by packet, then by distance; rank counts within a packet."""

    packet: Int[Tensor, " M"]
    solid: Int[Tensor, " M"]
    near: Float[Tensor, " M"]
    rank: Int[Tensor, " M"]


def _rounds(rank: Int[Tensor, " M"]) -> Iterator[Int[Tensor, " K"]]:
    """Pairs to test together: the first ranks one by one, later ones in doubling groups."""
    order = torch.argsort(rank, stable=True)
    counts = torch.bincount(rank).cumsum(0).tolist() if len(rank) else []
    low, end = 0, 0
    while low < len(counts):
        high = low + 1 if low < _SINGLE_RANKS else 2 * low
        start, end = end, counts[min(high, len(counts)) - 1]
        yield order[start:end].sort().values
        low = high


def _candidates(primitives: Primitives, packets: Packets, limit: Float[Tensor, "P S"]) -> _Pairs:
    """Pairs that may meet: bounding spheres first, then the packet's four side planes."""
    planes, axis, start, spread, speed = _packet_bounds(packets)
    reach = limit.amax(dim=1) * speed
    packet, solid = _sphere_pairs(primitives, packets, planes, axis, start, spread, reach)
    walls = planes[packet]  # (M, 4, 4)
    center, half = primitives.center[solid], primitives.half_axes[solid]
    normal = walls[..., :3]
    extent = (normal @ half).abs().sum(dim=2)
    keep = (normal @ center[:, :, None])[..., 0] + walls[..., 3] + extent >= 0
    keep = keep.all(dim=1)
    packet, solid, center, half = packet[keep], solid[keep], center[keep], half[keep]
    along = axis[packet]
    reach_back = (along[:, None] @ half).abs().sum(dim=2)[:, 0] + spread[packet]
    near = ((center - start[packet]) * along).sum(dim=1) - reach_back
    near = near.clamp(min=0) / speed[packet]
    order = torch.argsort(near, stable=True)
    order = order[torch.argsort(packet[order], stable=True)]
    packet, solid, near = packet[order], solid[order], near[order]
    counts = torch.bincount(packet, minlength=len(planes))
    rank = torch.arange(len(packet), device=packet.device) - (counts.cumsum(0) - counts)[packet]
    return _Pairs(packet, solid, near, rank)


def _sphere_pairs(
    primitives: Primitives,
    packets: Packets,
    planes: Tensor,
    axis: Tensor,
    start: Tensor,
    spread: Tensor,
    reach: Tensor,
) -> tuple[Tensor, Tensor]:
    """(packet, solid) pairs whose bounding sphere is not outside any side plane.

    Runs of neighbouring packets first rule out solids together, as one wide packet.
    """
    found_packets, found_solids = [], []
    for first, last, group in _runs(packets.group):
        rows = slice(first, last)
        near = _near_run(primitives, packets, rows, group)
        center, radius = primitives.center[near].T, primitives.radius[near]
        ahead = axis[rows] @ center - (axis[rows] * start[rows]).sum(1)[:, None]
        slack = spread[rows, None] + radius[None]
        keep = (ahead > -slack) & (ahead - slack < reach[rows, None])
        height = planes[rows, :, :3].reshape(-1, 3) @ center
        height = height.view(last - first, 4, -1) + planes[rows, :, 3:]
        keep &= (height > -radius).all(dim=1)
        found = keep.nonzero()
        found_packets.append(found[:, 0] + first)
        found_solids.append(near[found[:, 1]])
    return torch.cat(found_packets), torch.cat(found_solids)


def _runs(group: Int[Tensor, " P"]) -> Iterator[tuple[int, int, int]]:
    """(first, last + 1, group) of runs of packets of one group, of bounded length."""
    first = 0
    values, counts = torch.unique_consecutive(group, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        for begin in range(0, count, _RUN_PACKETS):
            yield first + begin, first + min(begin + _RUN_PACKETS, count), value
        first += count


def _near_run(primitives: Primitives, packets: Packets, rows: slice, group: int) -> Tensor:
    """Indices of the solids that a run of packets may meet."""
    merged = Packets(
        packets.origins[rows].transpose(0, 1).reshape(1, 3, -1),
        packets.directions[rows].transpose(0, 1).reshape(1, 3, -1),
        packets.group[rows][:1],
    )
    planes, axis, start, spread, _ = _packet_bounds(merged)
    seen = (primitives.group == group) | (primitives.group < 0)
    height = primitives.center @ planes[0, :, :3].T + planes[0, :, 3]
    seen &= (height > -primitives.radius[:, None]).all(dim=1)
    ahead = primitives.center @ axis[0] - axis[0] @ start[0]
    return (seen & (ahead > -spread - primitives.radius)).nonzero()[:, 0]


def _packet_bounds(packets: Packets) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Side planes (P, 4, 4), mean axis, mean origin, origin spread, longest direction.

    All rays of a packet lie where n . x + w >= 0 for each of its planes. Packets whose directions
    spread too far for planes get planes that exclude nothing.
    """
    origins, directions = packets.origins, packets.directions
    lengths = directions.norm(dim=1)
    unit = directions / lengths[:, None]
    axis = torch.nn.functional.normalize(unit.mean(dim=2), dim=1, eps=1e-9)
    helper = torch.where(
        axis[:, 2:].abs() < 0.9, axis.new_tensor([0.0, 0, 1]), axis.new_tensor([1.0, 0, 0])
    )
    e1 = torch.nn.functional.normalize(torch.linalg.cross(helper, axis, dim=1), dim=1)
    e2 = torch.linalg.cross(axis, e1, dim=1)
    ahead = (unit * axis[:, :, None]).sum(dim=1)
    planes = []
    for tangent in (e1, e2):
        slope = (unit * tangent[:, :, None]).sum(dim=1) / ahead.clamp(min=1e-3)
        planes.append(tangent - (slope.amin(dim=1) - 1e-5)[:, None] * axis)
        planes.append(-tangent + (slope.amax(dim=1) + 1e-5)[:, None] * axis)
    normals = torch.nn.functional.normalize(torch.stack(planes, dim=1), dim=2)
    offsets = 1e-3 - (normals @ origins).amin(dim=2)
    wide = ahead.amin(dim=1) < 0.1
    offsets = torch.where(wide[:, None], torch.full_like(offsets, 1e9), offsets)
    start = origins.mean(dim=2)
    spread = (origins - start[:, :, None]).norm(dim=1).amax(dim=1)
    spread = torch.where(wide, torch.full_like(spread, 1e9), spread)
    planes4 = torch.cat([normals, offsets[:, :, None]], dim=2)
    return planes4, axis, start, spread, lengths.amax(dim=1)


def _polyhedron(
    primitives: Primitives, solid: Tensor, origins: Tensor, directions: Tensor
) -> Float[Tensor, "M S"]:
    """Entry distance into each pair's polyhedron, infinity where the ray misses or starts in."""
    walls = primitives.planes[solid]
    height = walls[:, :, :3] @ origins + walls[:, :, 3:]  # > 0 outside
    rate = walls[:, :, :3] @ directions
    crossing = -height / rate
    entering = rate < 0
    enter = crossing.masked_fill(~entering, -torch.inf).amax(dim=1)
    leave = crossing.masked_fill(entering, torch.inf).amin(dim=1)
    hit = (enter < leave) & (enter > _MIN_T)
    return enter.masked_fill(~hit, torch.inf)


def _quadric(
    primitives: Primitives, solid: Tensor, origins: Tensor, directions: Tensor
) -> Float[Tensor, "M S"]:
    """Entry distance into each pair's quadric, infinity where the ray misses or starts in.

    Along a ray the shape's slab is |z| <= 1, and its side x^2 + y^2 + s z^2 - (a + b z)^2 is a
    quadratic q2 t^2 + 2 q1 t + q0. The entry is the slab's if the side is inside there, else the
    first root within the slab.
    """
    affine = primitives.unit_from_map[solid]
    o = affine[:, :, :3] @ origins + affine[:, :, 3:]
    d = affine[:, :, :3] @ directions
    s, a, b = (value[:, None] for value in primitives.form[solid].unbind(dim=1))
    ox, oy, oz = o.unbind(dim=1)
    dx, dy, dz = d.unbind(dim=1)
    dz = torch.where(dz.abs() < 1e-9, torch.full_like(dz, 1e-9), dz)
    radius, widen = a + b * oz, b * dz
    q2 = dx * dx + dy * dy + s * dz * dz - widen * widen
    q1 = ox * dx + oy * dy + s * oz * dz - radius * widen
    q0 = ox * ox + oy * oy + s * oz * oz - radius * radius
    middle, half = -oz / dz, (1 / dz).abs()
    enter, leave = middle - half, middle + half
    inside_cap = (q2 * enter + 2 * q1) * enter + q0 < 0
    root = (q1 * q1 - q2 * q0).clamp(min=0).sqrt()
    real = q1 * q1 - q2 * q0 > 0
    first, second = (-q1 - root) / q2, (-q1 + root) / q2
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    side = torch.where(low > enter, low, high)
    side_hit = real & (side > enter) & (side < leave)
    t = torch.where(inside_cap, enter, side.masked_fill(~side_hit, torch.inf))
    return t.masked_fill(~(t > _MIN_T), torch.inf)


def inside(
    primitives: Primitives,
    solid: Int[Tensor, " M"],
    points: Float[Tensor, "M P 3"],
    *,
    quadric: bool,
) -> Bool[Tensor, "M P"]:
    """Which points lie inside each pair's solid (boundary included); all of one kind."""
    if not quadric:
        walls = primitives.planes[solid]
        return (points @ walls[:, :, :3].transpose(1, 2) + walls[:, None, :, 3]).amax(dim=2) <= 0
    affine = primitives.unit_from_map[solid]
    x, y, z = (points @ affine[:, :, :3].transpose(1, 2) + affine[:, None, :, 3]).unbind(dim=2)
    s, a, b = (value[:, None] for value in primitives.form[solid].unbind(dim=1))
    return (x * x + y * y + s * z * z <= (a + b * z) ** 2) & (z.abs() <= 1)
