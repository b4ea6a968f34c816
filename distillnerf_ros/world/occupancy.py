"""Occupancy truth of a scene, in the Occ3D form.

What fills a voxel comes from asking the solids and the ground themselves, at a lattice of points
in each voxel; who saw it comes from casting rays through the same geometry and walking the voxels
they cross. Geometry stands as it does at the keyframe's stamp.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from distillnerf_ros.cameras.rays import camera_rays
from distillnerf_ros.cameras.rig import CAMERA_NAMES
from distillnerf_ros.cameras.transforms import invert_rigid
from distillnerf_ros.data.occ3d import GRID_SHAPE, ORIGIN_M, VOXEL_M, OccupancyTruth
from distillnerf_ros.taxonomy import FREE_LABEL, OCC3D_CLASSES
from distillnerf_ros.world import rig_constants as rig
from distillnerf_ros.world.caster import cast_packets
from distillnerf_ros.world.ground import DRIVEABLE, Ground
from distillnerf_ros.world.primitives import Primitives
from distillnerf_ros.world.scene import Scene
from distillnerf_ros.world.solids import PACKET_RAYS, Packets, inside

_MASK_GRID = (108, 192)
"""Rays per camera: 0.25 m apart at the far edge of the grid, well below a voxel."""

_FINE, _COARSE = 4, 3
"""Lattice points per voxel side for small and for large solids, both faces included."""

_LARGE_VOXELS = 1500

_CELLS = GRID_SHAPE[0] * GRID_SHAPE[1] * GRID_SHAPE[2]

# When several things share a voxel, the smaller kind of thing wins.
_WINNERS = (
    "traffic cone",
    "pedestrian",
    "bicycle",
    "motorcycle",
    "others",
    "barrier",
    "car",
    "construction vehicle",
    "trailer",
    "truck",
    "bus",
    "manmade",
    "vegetation",
    "other flat",
    "sidewalk",
    "driveable surface",
    "terrain",
)


def occupancy_truth(scene: Scene, time_s: float) -> OccupancyTruth:
    """Semantics and visibility masks of the voxels around the ego vehicle.

    Args:
        scene: the scene.
        time_s: the keyframe's LIDAR_TOP stamp, seconds since the scene's start.
    """
    ego_pose = scene.ego_pose(time_s)
    map_from_ego = torch.from_numpy(ego_pose).float()
    labels = fill_ground(scene.layout.ground, map_from_ego)
    primitives = scene.primitives_at([time_s], torch.device("cpu"))
    owners = scene.labels_on(torch.device("cpu"))[primitives.owner].long()
    labels = _win(labels, fill_solids(primitives, owners, map_from_ego))
    masks = []
    for packets in (_camera_packets(scene, time_s), _lidar_packets(ego_pose)):
        hit = cast_packets(scene, [time_s], packets, shade=False)
        origins, directions = packets.flat()
        ego_from_map = torch.from_numpy(invert_rigid(ego_pose)).float()
        start = (origins - map_from_ego[:3, 3]) @ ego_from_map[:3, :3].T
        seen, last = observe(start, directions @ ego_from_map[:3, :3].T, hit.distance)
        masks.append(seen)
        labels = torch.where(labels == FREE_LABEL, _met(last, hit.class_id), labels)
    shape = GRID_SHAPE
    return OccupancyTruth(
        labels.view(shape).numpy(), masks[0].view(shape).numpy(), masks[1].view(shape).numpy()
    )


def _met(last: Int[Tensor, " R"], class_id: UInt8[Tensor, " R"]) -> UInt8[Tensor, " V"]:
    """Label of voxels in which rays ended: thin things that slip through the lattice."""
    met = last >= 0
    found = torch.full((_CELLS,), FREE_LABEL, dtype=torch.long)
    return found.scatter_reduce_(0, last[met], class_id[met].long(), "amin").to(torch.uint8)


def _win(first: UInt8[Tensor, " V"], second: UInt8[Tensor, " V"]) -> UInt8[Tensor, " V"]:
    """Per voxel, the label that wins."""
    rank = _ranks()
    return torch.where(rank[second.long()] < rank[first.long()], second, first)


def _ranks() -> Tensor:
    """Rank of each label among the winners; free is last."""
    order = [_WINNERS.index(name) for name in OCC3D_CLASSES]
    return torch.tensor([*order, len(order)])


def fill_ground(ground: Ground, map_from_ego: Float[Tensor, "4 4"]) -> UInt8[Tensor, " V"]:
    """Label the voxels that the ground's surface passes through, by majority of 16 points."""
    side = torch.arange(GRID_SHAPE[0] * _FINE) // _FINE
    within = torch.linspace(0.001, 0.999, _FINE).repeat(GRID_SHAPE[0])
    steps = (side + within) * VOXEL_M + ORIGIN_M[0]
    x, y = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3)
    for _ in range(3):  # the ego frame is tilted: slide along its z axis onto the surface
        at = points @ map_from_ego[:3, :3].T + map_from_ego[:3, 3]
        points[:, 2] -= at[:, 2] - ground.height(at[:, :2])
    at = points @ map_from_ego[:3, :3].T + map_from_ego[:3, 3]
    cell = cells(points)
    label = ground.class_at(at[:, :2])
    good = cell >= 0
    votes = torch.bincount(cell[good] * 4 + label[good] - DRIVEABLE, minlength=_CELLS * 4)
    most, which = votes.view(-1, 4).max(dim=1)
    return torch.where(most > 0, which + DRIVEABLE, FREE_LABEL).to(torch.uint8)


def cells(points: Float[Tensor, "P 3"]) -> Int[Tensor, " P"]:
    """Flat voxel number of ego points, -1 outside the grid."""
    index = torch.floor((points - torch.tensor(ORIGIN_M)) / VOXEL_M).long()
    size = torch.tensor(GRID_SHAPE)
    within = ((index >= 0) & (index < size)).all(dim=1)
    flat = (index[:, 0] * GRID_SHAPE[1] + index[:, 1]) * GRID_SHAPE[2] + index[:, 2]
    return torch.where(within, flat, -1)


def fill_solids(
    primitives: Primitives, labels: Int[Tensor, " K"], map_from_ego: Float[Tensor, "4 4"]
) -> UInt8[Tensor, " V"]:
    """Label the voxels that solids reach into.

    Args:
        primitives: K solids.
        labels: (K,) their Occ3D classes.
        map_from_ego: the grid's frame.
    """
    low, span = _voxel_boxes(primitives, map_from_ego)
    volume = span.prod(dim=1)
    ranks = torch.full((_CELLS,), len(OCC3D_CLASSES), dtype=torch.long)
    label_rank = _ranks()[labels]
    for rows, fine in ((volume <= _LARGE_VOXELS, _FINE), (volume > _LARGE_VOXELS, _COARSE)):
        chosen = (rows & (volume > 0)).nonzero()[:, 0]
        budget = 3_000_000 // fine**3
        for part in _batches(chosen, volume[chosen], budget):
            solid, index = _pairs(part, low, span)
            flat = (index[:, 0] * GRID_SHAPE[1] + index[:, 1]) * GRID_SHAPE[2] + index[:, 2]
            full = _reached(primitives, solid, index, map_from_ego, fine)
            ranks.scatter_reduce_(0, flat[full], label_rank[solid[full]], "amin")
    names = [OCC3D_CLASSES.index(name) for name in _WINNERS]
    return torch.tensor([*names, FREE_LABEL], dtype=torch.uint8)[ranks]


def _voxel_boxes(primitives: Primitives, map_from_ego: Tensor) -> tuple[Tensor, Tensor]:
    """First voxel (K, 3) and number of voxels (K, 3) of each solid's bounding box."""
    turn = map_from_ego[:3, :3]
    center = (primitives.center - map_from_ego[:3, 3]) @ turn
    reach = (turn.T @ primitives.half_axes).abs().sum(dim=2)
    origin, size = torch.tensor(ORIGIN_M), torch.tensor(GRID_SHAPE)
    low = torch.floor((center - reach - origin) / VOXEL_M).long().clamp(min=0)
    high = torch.floor((center + reach - origin) / VOXEL_M).long() + 1
    high = torch.minimum(high, size)
    return low, (high - low).clamp(min=0)


def _batches(rows: Tensor, volume: Tensor, budget: int) -> list[Tensor]:
    """Split rows so that each part holds about ``budget`` voxels."""
    if len(rows) == 0:
        return []
    part = volume.cumsum(0) // budget
    return list(rows.split(torch.unique_consecutive(part, return_counts=True)[1].tolist()))


def _pairs(rows: Tensor, low: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
    """(solid, voxel index (M, 3)) for every voxel of every row's box."""
    sizes = span[rows]
    volume = sizes.prod(dim=1)
    which = torch.arange(len(rows)).repeat_interleave(volume)
    offset = torch.arange(len(which)) - (volume.cumsum(0) - volume)[which]
    size = sizes[which]
    z = offset % size[:, 2]
    y = offset // size[:, 2] % size[:, 1]
    x = offset // (size[:, 2] * size[:, 1])
    return rows[which], low[rows[which]] + torch.stack([x, y, z], dim=1)


def _reached(
    primitives: Primitives, solid: Tensor, index: Tensor, map_from_ego: Tensor, fine: int
) -> Bool[Tensor, " M"]:
    """Which voxels have a lattice point inside their solid."""
    steps = torch.linspace(0.001, 0.999, fine)
    lattice = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1).view(-1, 3)
    corner = index * VOXEL_M + torch.tensor(ORIGIN_M)
    corner = corner @ map_from_ego[:3, :3].T + map_from_ego[:3, 3]
    offsets = lattice @ map_from_ego[:3, :3].T * VOXEL_M
    full = torch.zeros(len(solid), dtype=torch.bool)
    quadric = primitives.quadric[solid]
    for kind in (False, True):
        rows = (quadric == kind).nonzero()[:, 0]
        points = corner[rows][:, None] + offsets[None]
        full[rows] = inside(primitives, solid[rows], points, quadric=kind).any(dim=1)
    return full


def observe(
    origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"], distance: Float[Tensor, " R"]
) -> tuple[Bool[Tensor, " V"], Int[Tensor, " R"]]:
    """Voxels that rays cross before they end, with the one they end in.

    Walks each ray from voxel to voxel (Amanatides and Woo, 1987).

    Args:
        origins: start of each ray in the ego frame.
        directions: (R, 3) of any length.
        distance: where each ray ends, in units of its direction; infinity for never.

    Returns:
        The observed voxels, and the flat number of the voxel each ray ends in (-1: outside).
    """
    seen = torch.zeros(_CELLS, dtype=torch.bool)
    directions = torch.where(directions.abs() < 1e-9, 1e-9, directions)
    nudge = 0.01 / directions.norm(dim=1)
    end = distance + nudge
    last = cells(origins + torch.where(torch.isfinite(end), end, 1e6)[:, None] * directions)
    seen[last[last >= 0]] = True
    enter, leave = _grid_span(origins, directions)
    leave = torch.minimum(leave, end)
    rows = (enter < leave).nonzero()[:, 0]
    origin, direction, t, stop = origins[rows], directions[rows], enter[rows], leave[rows]
    at = (origin + (t + 1e-4)[:, None] * direction - torch.tensor(ORIGIN_M)) / VOXEL_M
    voxel = torch.minimum(at.floor().long().clamp(min=0), torch.tensor(GRID_SHAPE) - 1)
    step = torch.where(direction > 0, 1, -1)
    border = (voxel + (direction > 0)) * VOXEL_M + torch.tensor(ORIGIN_M)
    cross = (border - origin) / direction
    delta = VOXEL_M / direction.abs()
    stride = torch.tensor([GRID_SHAPE[1] * GRID_SHAPE[2], GRID_SHAPE[2], 1])
    flat, jump = (voxel * stride).sum(dim=1), step * stride
    for count in range(sum(GRID_SHAPE)):
        seen[flat] = True
        t, axis = cross.min(dim=1)
        alive = t < stop
        if count % 8 == 7:
            keep = alive.nonzero()[:, 0]
            flat, jump, cross, delta = flat[keep], jump[keep], cross[keep], delta[keep]
            stop, axis, alive = stop[keep], axis[keep], alive[keep]
            if len(keep) == 0:
                break
        axis = axis[:, None]
        flat = torch.where(alive, flat + jump.gather(1, axis)[:, 0], flat)
        cross.scatter_add_(1, axis, torch.where(alive[:, None], delta.gather(1, axis), 0.0))
    return seen, last


def _grid_span(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the grid; a hair inside, so that walks stay within."""
    low = torch.tensor(ORIGIN_M) + 1e-3
    high = torch.tensor(ORIGIN_M) + torch.tensor(GRID_SHAPE) * VOXEL_M - 1e-3
    first, second = (low - origins) / directions, (high - origins) / directions
    enter = torch.minimum(first, second).amax(dim=1).clamp(min=0)
    return enter, torch.maximum(first, second).amin(dim=1)


def _camera_packets(scene: Scene, time_s: float) -> Packets:
    """Rays of all cameras, each from where it was when it fired."""
    names = CAMERA_NAMES
    poses = [
        scene.ego_pose(time_s + rig.CAMERAS[name].stamp_offset_s)
        @ rig.CAMERAS[name].ego_from_camera
        for name in names
    ]
    map_from_camera = torch.from_numpy(np.stack(poses)).float()
    intrinsics = torch.from_numpy(np.stack([rig.CAMERAS[name].intrinsics for name in names]))
    rays = camera_rays(intrinsics.float(), map_from_camera, rig.IMAGE_SIZE_PX, _MASK_GRID)
    rows, cols = _MASK_GRID
    tile = torch.arange(len(names) * rows * cols).view(len(names), rows // 12, 12, cols // 12, 12)
    order = tile.permute(0, 1, 3, 2, 4).reshape(-1)
    return Packets.from_rays(rays.origins[order], rays.directions[order], 144)


def _lidar_packets(map_from_ego: np.ndarray) -> Packets:
    """All lidar beams."""
    map_from_lidar = torch.from_numpy(map_from_ego @ rig.ego_from_lidar()).float()
    beams = rig.lidar_beams()[0].transpose(1, 2).reshape(-1, 3) @ map_from_lidar[:3, :3].T
    return Packets.from_rays(map_from_lidar[:3, 3].expand_as(beams), beams, PACKET_RAYS)
