"""What a training step is given: one glance with its targets."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.training.cache import Arrays
from distillnerf_ros.training.surface import VoxelLabels


@dataclasses.dataclass(frozen=True)
class View:
    """Images of cameras and their depth in metres: infinite for sky, NaN where nothing is known.

    Where depth is not known, colour is not either.
    """

    rig: CameraRig
    depth_m: Float[Tensor, "M H W"]

    def to(self, device: torch.device) -> "View":
        """Move every tensor to a device."""
        return View(self.rig.to(device), self.depth_m.to(device))


@dataclasses.dataclass(frozen=True)
class TrainSample:
    """One glance and what is known about it.

    Depth is along the optical axis: infinite for sky, NaN where nothing is known.

    Attributes:
        name: says which glance it is, for messages.
        rig: the cameras.
        depth_m: (N, H, W) depth.
        lidar_origin_m: (3,) ego metres; NaN without lidar.
        lidar_points_m: (P, 3) ego metres; none without lidar.
        voxels: what the dense depth says about the voxels of the Occ3D grid.
        features: (N, C, h, w) foundation features in PCA space, or None.
        virtual: what cameras moved together would see, one view for each place; or none.
    """

    name: str
    rig: CameraRig
    depth_m: Float[Tensor, "N H W"]
    lidar_origin_m: Float[Tensor, " 3"]
    lidar_points_m: Float[Tensor, "P 3"]
    voxels: VoxelLabels
    features: Float[Tensor, "N C h w"] | None = None
    virtual: tuple[View, ...] = ()

    def through(self, cameras: int, generator: torch.Generator) -> "TrainSample":
        """With so many moved cameras of one place alone, by chance: what a step looks through."""
        if not self.virtual:
            return self
        place = self.virtual[int(torch.randint(len(self.virtual), (), generator=generator))]
        some = torch.randperm(len(place.rig.names), generator=generator)[:cameras]
        view = View(place.rig.select(some), place.depth_m[some])
        return dataclasses.replace(self, virtual=(view,))

    def to(self, device: torch.device) -> "TrainSample":
        """Move every tensor to a device."""
        return TrainSample(
            self.name,
            self.rig.to(device),
            self.depth_m.to(device),
            self.lidar_origin_m.to(device),
            self.lidar_points_m.to(device),
            self.voxels.to(device),
            None if self.features is None else self.features.to(device),
            tuple(view.to(device) for view in self.virtual),
        )


def rig_arrays(rig: CameraRig) -> Arrays:
    """A rig as compact arrays, images in 8 bits; which cameras are valid is not among them."""
    return {
        "images": (rig.images * 255).round().byte().numpy(),
        "intrinsics": rig.intrinsics.numpy(),
        "ego_from_camera": rig.ego_from_camera.numpy(),
    }


def rig_of(arrays: Arrays, names: tuple[str, ...]) -> CameraRig:
    """The rig whose arrays :func:`rig_arrays` made, every camera of it valid."""
    return CameraRig(
        names,
        torch.from_numpy(arrays["images"]).float() / 255,
        torch.from_numpy(arrays["intrinsics"]),
        torch.from_numpy(arrays["ego_from_camera"]),
        torch.ones(len(names), dtype=torch.bool),
    )


def pool_depth(depth_m: Float[Tensor, "N H W"], size: tuple[int, int]) -> Float[Tensor, "N h w"]:
    """Depth on a coarser grid: infinite where most of what is known of a cell is sky.

    Averages inverse depth, which is linear over a plane, unless the cell crosses an edge, where
    the nearer surface counts. NaN where nothing is known.
    """
    count, height, width = depth_m.shape
    rows, cols = size
    cells = depth_m.reshape(count, rows, height // rows, cols, width // cols)
    cells = cells.permute(0, 1, 3, 2, 4).reshape(count, rows, cols, -1)
    hit, sky = cells.isfinite(), cells.isinf().sum(dim=-1)
    inverse = torch.where(hit, 1 / cells, 0.0)
    hits = hit.sum(dim=-1)
    mean = inverse.sum(-1) / hits.clamp(min=1)
    nearest = inverse.amax(-1)
    furthest = torch.where(hit, inverse, torch.inf).amin(-1)
    pooled = 1 / torch.where(nearest < 1.2 * furthest, mean, nearest)
    pooled = torch.where(hits >= sky, pooled, torch.inf)
    return torch.where(hits + sky > 0, pooled, torch.nan)
