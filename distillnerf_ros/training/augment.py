"""Chance changes of a glance that keep its geometry true."""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig, camera_rays
from distillnerf_ros.training.samples import TrainSample, View


def augment(sample: TrainSample, generator: torch.Generator, drop_camera: float) -> TrainSample:
    """Mirror the world left to right, blur, shift colours, lose a camera: each by chance.

    The blur stands for what resizing a large picture does to its edges.

    Args:
        sample: a glance with all its cameras.
        generator: source of chance.
        drop_camera: probability that one camera is missing; the last one never is.
    """
    draw = torch.rand(8, generator=generator)
    if draw[0] < 0.5:
        sample = mirrored(sample)
    rig = _recoloured(sample.rig, draw)
    virtual = tuple(View(_recoloured(view.rig, draw), view.depth_m) for view in sample.virtual)
    if draw[6] < drop_camera:
        there = rig.valid.nonzero()[:, 0]
        lost = there[torch.randint(len(there), (1,), generator=generator)]
        rig = rig.without(rig.names[int(lost)]) if len(there) > 1 else rig
    return dataclasses.replace(sample, rig=rig, virtual=virtual)


def blanked(sample: TrainSample, generator: torch.Generator) -> TrainSample:
    """Paint over a part of the things in half of the pictures, often in the colour of the sky.

    A plain white van fills a picture as an overcast sky does: what it is, and how far, its borders
    tell. For losses of single pictures: other views of the place still show what was painted over.
    """
    rig = sample.rig
    count, _, height, width = rig.images.shape
    sky, overcast = _sky(sample)
    draw = torch.rand(count, 12, generator=generator)
    cover = (0.7 + 0.3 * draw[:, 4])[:, None, None] * (draw[:, 5] < 0.5)[:, None, None]
    v = torch.linspace(0, 1, height)[:, None] - draw[:, 6, None, None]
    u = torch.linspace(0, 1, width) - draw[:, 7, None, None]
    tilt = (0.6 * draw[:, 8:10] - 0.3)[:, :, None, None]
    half = (0.05 + 0.3 * draw[:, 10:12])[:, :, None, None]
    inside = ((v + tilt[:, 0] * u).abs() < half[:, 0]) & ((u + tilt[:, 1] * v).abs() < half[:, 1])
    whole = ~(inside & sky).flatten(1).any(dim=1)  # a skyline in the sky's colour would be lost
    alike = (draw[:, 0] < 0.5) & whole & sky.any()
    colour = torch.where(alike[:, None], overcast, draw[:, 1:4])
    colour = colour[:, :, None, None]
    images = rig.images.lerp(colour, (cover * (inside & ~sky))[:, None])
    return dataclasses.replace(sample, rig=dataclasses.replace(rig, images=images))


def boarded(sample: TrainSample, generator: torch.Generator) -> TrainSample:
    """Stand a plain board close to the vehicle, half of the time in the colour of the sky.

    A lorry in the next lane is such a board, and rare on the streets to learn from. Cameras see it
    and the lidar hits it; voxels are left as they were and features go, so this is for losses of
    single pictures.
    """
    rig, draw = sample.rig, torch.rand(13, generator=generator)
    beside = draw[0] < 0.7
    turned = 0.5 * torch.pi * (2 * (draw[1] < 0.5) - beside.long()) + 0.6 * (draw[2] - 0.5)
    normal = torch.stack([turned.cos(), turned.sin(), torch.tensor(0.0)])
    along = torch.stack([-turned.sin(), turned.cos(), torch.tensor(0.0)])
    away = torch.where(beside, 1.3, 3.5) * 4 ** draw[3]  # metres, most boards are near
    middle = torch.tensor([1.4, 0.0, 0.0]) + away * normal + 8 * (draw[4] - 0.5) * along
    half, low, high = 0.5 + 5 * draw[5], 1.2 * draw[6], 1.6 + 2.6 * draw[7]

    def reach(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Where along a ray the board is, and how high from 0 to 1; infinite where it is not."""
        share = ((middle - origins) @ normal) / (directions @ normal)
        place = origins + share[:, None] * directions
        height = (place[:, 2] - low) / (high - low)
        inside = (((place - middle) @ along).abs() < half) & ((height - 0.5).abs() < 0.5)
        return torch.where(inside & (share > 0), share, torch.inf), height.clamp(0, 1)

    rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, rig.image_size)
    depth, height = (x.reshape(sample.depth_m.shape) for x in reach(rays.origins, rays.directions))
    seen = depth.isfinite() & ~(sample.depth_m <= depth) & rig.valid[:, None, None]
    colour = torch.where(draw[8] < 0.5, draw[9:12], _sky(sample)[1])
    shade = 1 - 0.2 * draw[12] * (1 - height[:, None])
    images = torch.where(seen[:, None], colour[:, None, None] * shade, rig.images)
    offsets = sample.lidar_points_m - sample.lidar_origin_m
    share = reach(sample.lidar_origin_m.expand_as(offsets), offsets)[0].clamp(max=1)
    return dataclasses.replace(
        sample,
        rig=dataclasses.replace(rig, images=images),
        depth_m=torch.where(seen, depth, sample.depth_m),
        lidar_points_m=sample.lidar_origin_m + share[:, None] * offsets,
        features=None,
    )


def disguised(sample: TrainSample, generator: torch.Generator) -> TrainSample:
    """For losses of single pictures: one glance in three :func:`boarded`, else :func:`blanked`."""
    change = boarded if torch.rand((), generator=generator) < 1 / 3 else blanked
    return change(sample, generator)


def _sky(sample: TrainSample) -> tuple[Bool[Tensor, "N H W"], Float[Tensor, " 3"]]:
    """Which pixels are sky, and their mean colour; black without any."""
    sky = sample.depth_m.isinf()
    return sky, (sample.rig.images * sky[:, None]).sum(dim=(0, 2, 3)) / sky.sum().clamp(min=1)


def _recoloured(rig: CameraRig, draw: Float[Tensor, " 8"]) -> CameraRig:
    """Blurred, and with another gain, tint and contrast; the same for all views of a glance."""
    gain, contrast = 0.8 + 0.4 * draw[1], 0.8 + 0.4 * draw[2]
    tint = 0.95 + 0.1 * draw[3:6]
    images = rig.images
    images = images.lerp(F.avg_pool2d(images, 3, 1, 1, count_include_pad=False), 0.8 * draw[7])
    images = images * gain * tint[:, None, None]
    return dataclasses.replace(rig, images=((images - 0.5) * contrast + 0.5).clamp(0, 1))


def mirrored(sample: TrainSample) -> TrainSample:
    """The same glance in a world mirrored at the vehicle's x-z plane (left becomes right)."""
    mirror = torch.tensor([1.0, -1.0, 1.0])
    return TrainSample(
        sample.name,
        _mirrored_rig(sample.rig),
        sample.depth_m.flip(-1),
        sample.lidar_origin_m * mirror,
        sample.lidar_points_m * mirror,
        sample.voxels.mirrored(sample.rig.image_size[1]),
        None if sample.features is None else sample.features.flip(-1),
        tuple(View(_mirrored_rig(view.rig), view.depth_m.flip(-1)) for view in sample.virtual),
    )


def _mirrored_rig(rig: CameraRig) -> CameraRig:
    flip_y = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    flip_u = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    intrinsics = rig.intrinsics.clone()
    intrinsics[:, 0, 2] = rig.image_size[1] - intrinsics[:, 0, 2]
    intrinsics[:, 0, 1] = -intrinsics[:, 0, 1]
    return dataclasses.replace(
        rig,
        images=rig.images.flip(-1),
        intrinsics=intrinsics,
        ego_from_camera=flip_y @ rig.ego_from_camera @ flip_u,
    )
