"""How far the recorded depth and occupancy are from what a data set knows."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distillnerf_ros.cameras.transforms import invert_rigid
from distillnerf_ros.data import nuscenes, occ3d
from distillnerf_ros.demo.snapshot import Snapshot, Voxels
from distillnerf_ros.taxonomy import FREE_LABEL
from distillnerf_ros.training.baselines import flat_road_depth
from distillnerf_ros.training.metrics import Confusion, DepthErrors, depth_errors
from distillnerf_ros.training.truth import LidarTruth

if TYPE_CHECKING:
    from nuscenes.nuscenes import NuScenes
else:
    NuScenes = object


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Errors over all keyframes that were seen.

    Attributes:
        keyframes: keyframes whose images the node processed.
        depth: errors per camera against lidar.
        all_depth: errors over all cameras.
        flat_depth: what a flat road without anything on it would score.
        occupancy_iou: occupied against free under Occ3D's camera mask; NaN without truth.
        occupancy_frames: keyframes with Occ3D truth.
    """

    keyframes: int
    depth: dict[str, DepthErrors]
    all_depth: DepthErrors
    flat_depth: DepthErrors
    occupancy_iou: float
    occupancy_frames: int


class _Pairs:
    """Predicted and true depths of one camera, over all frames."""

    def __init__(self) -> None:
        self.predicted: list[np.ndarray] = []
        self.flat: list[np.ndarray] = []
        self.true: list[np.ndarray] = []


def judge(
    nusc: NuScenes, scene: dict[str, Any], snapshots: Sequence[Snapshot]
) -> Judgement | None:
    """Compare what was recorded at keyframes; None where no glance fell on one.

    Args:
        nusc: the data set.
        scene: scene record that was played.
        snapshots: what the node published.

    Raises:
        DatasetError: a file of the data set is missing or damaged.
    """
    pairs: dict[str, _Pairs] = {}
    confusion, keyframes, with_truth = Confusion(), 0, 0
    for token in nuscenes.keyframes(nusc, scene):
        stamps = _camera_stamps(nusc, token)
        snapshot = _snapshot_of(snapshots, stamps)
        if snapshot is None:
            continue
        keyframes += 1
        _collect_depth(nusc, token, snapshot, stamps, pairs)
        with_truth += _collect_occupancy(nusc, token, snapshot, stamps, confusion)
    if not keyframes:
        return None
    names = [name for name in pairs if pairs[name].true]
    return Judgement(
        keyframes,
        {name: _errors([pairs[name]]) for name in names},
        _errors([pairs[name] for name in names]),
        _errors([pairs[name] for name in names], flat=True),
        confusion.geometric_iou() if with_truth else float("nan"),
        with_truth,
    )


def _errors(pairs: Sequence[_Pairs], flat: bool = False) -> DepthErrors:
    said = [one for pair in pairs for one in (pair.flat if flat else pair.predicted)]
    true = [one for pair in pairs for one in pair.true]
    nothing = [np.zeros(0, np.float32)]
    return depth_errors(np.concatenate(said or nothing), np.concatenate(true or nothing))


def _camera_stamps(nusc: NuScenes, token: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """Stamp and record of every camera of a keyframe."""
    data = nusc.get("sample", token)["data"]
    records = {name: nusc.get("sample_data", data[name]) for name in data if "CAM" in name}
    return {name: (nuscenes.stamp_ns(record), record) for name, record in records.items()}


def _snapshot_of(
    snapshots: Sequence[Snapshot], stamps: dict[str, tuple[int, dict[str, Any]]]
) -> Snapshot | None:
    """The snapshot made of exactly this keyframe's images."""
    wanted = {name: stamp for name, (stamp, _) in stamps.items()}
    for snapshot in snapshots:
        if snapshot.cameras and all(
            wanted.get(view.name) == view.stamp_ns for view in snapshot.cameras
        ):
            return snapshot
    return None


def _collect_depth(
    nusc: NuScenes,
    token: str,
    snapshot: Snapshot,
    stamps: dict[str, tuple[int, dict[str, Any]]],
    pairs: dict[str, _Pairs],
) -> None:
    depths = {view.name: view.depth_m for view in snapshot.cameras if view.depth_m is not None}
    if not depths:
        return
    names = tuple(depths)
    rows, cols = next(iter(depths.values())).shape
    grid_size = rows, cols
    rig = nuscenes.load_glance(nusc, token, grid_size, names)
    truth = LidarTruth.nearest(nuscenes.lidar_points(nusc, token), rig, grid_size)
    flat = flat_road_depth(rig, grid_size).reshape(-1)
    camera, cell = np.divmod(truth.cells, rows * cols)
    for index, name in enumerate(names):
        mine = camera == index
        pair = pairs.setdefault(name, _Pairs())
        pair.predicted.append(depths[name].reshape(-1)[cell[mine]])
        pair.flat.append(flat[truth.cells[mine]])
        pair.true.append(truth.depth_m[mine])


def _collect_occupancy(
    nusc: NuScenes,
    token: str,
    snapshot: Snapshot,
    stamps: dict[str, tuple[int, dict[str, Any]]],
    confusion: Confusion,
) -> int:
    """Count one keyframe's voxels; 0 where the data set has no truth for it."""
    path = nuscenes.occ3d_path(nusc, token)
    at_reference = [record for stamp, record in stamps.values() if stamp == snapshot.stamp_ns]
    if not path.is_file() or not at_reference:
        return 0
    truth = occ3d.read_labels(path)
    map_from_keyframe = nuscenes.map_from_ego(nusc, nuscenes.reference_record(nusc, token))
    map_from_glance = nuscenes.map_from_ego(nusc, at_reference[0])
    moved = grid_in_frame(snapshot.voxels, invert_rigid(map_from_glance) @ map_from_keyframe)
    confusion.add(truth.semantics, moved, truth.mask_camera)
    return 1


def true_voxels(nusc: NuScenes, scene: dict[str, Any], snapshot: Snapshot) -> Voxels | None:
    """What Occ3D says is occupied and visible at the keyframe of a glance; None if it does not.

    Args:
        nusc: the data set.
        scene: scene record that was played.
        snapshot: a glance; the voxels are in the ego frame of its keyframe's LIDAR_TOP stamp.
    """
    for token in nuscenes.keyframes(nusc, scene):
        path = nuscenes.occ3d_path(nusc, token)
        if path.is_file() and _snapshot_of([snapshot], _camera_stamps(nusc, token)):
            truth = occ3d.read_labels(path)
            visible = truth.occupied & truth.mask_camera
            points = occ3d.voxel_centers_m()[visible]
            return Voxels(points, truth.semantics[visible], np.ones(len(points), np.float32))
    return None


def grid_in_frame(voxels: Voxels, glance_from_target: np.ndarray) -> np.ndarray:
    """Labels of the Occ3D grid of another vehicle pose, looked up at its voxel centres.

    Args:
        voxels: occupied voxels in the glance's ego frame.
        glance_from_target: (4, 4) the other pose in the glance's frame.

    Returns:
        (200, 200, 16) class, 17 = free; class 0 where the weights carry no semantics.
    """
    grid = np.full(occ3d.GRID_SHAPE, FREE_LABEL, np.uint8)
    origin, shape = np.array(occ3d.ORIGIN_M), np.array(occ3d.GRID_SHAPE)
    index = np.floor((voxels.points_m - origin) / occ3d.VOXEL_M).astype(int)
    inside = ((index >= 0) & (index < shape)).all(axis=1)
    labels = np.zeros(len(index), np.uint8) if voxels.labels is None else voxels.labels
    grid[tuple(index[inside].T)] = labels[inside]
    centers = occ3d.voxel_centers_m().reshape(-1, 3)
    points = centers @ glance_from_target[:3, :3].T + glance_from_target[:3, 3]
    cells = np.floor((points - origin) / occ3d.VOXEL_M).astype(int)
    known = ((cells >= 0) & (cells < shape)).all(axis=1)
    moved = np.full(len(centers), FREE_LABEL, np.uint8)
    moved[known] = grid[tuple(cells[known].T)]
    return moved.reshape(occ3d.GRID_SHAPE)
