"""Chance changes of a glance that keep its geometry true."""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.training.samples import TrainSample, View


def augment(sample: TrainSample, generator: torch.Generator, drop_camera: float) -> TrainSample:
    """Mirror the world left to right, blur, shift colours, lose a camera: each by chance.

    The blur stands for what resizing a large picture does to its edges.

    Args:
        sample: a glance with all its cameras.
        generator: source of chance.
        drop_camera: probability that one camera is missing.
    """
    draw = torch.rand(8, generator=generator)
    if draw[0] < 0.5:
        sample = mirrored(sample)
    rig, virtual = _recoloured(sample.rig, draw), sample.virtual
    if virtual is not None:
        virtual = dataclasses.replace(virtual, rig=_recoloured(virtual.rig, draw))
    if draw[6] < drop_camera:
        lost = int(torch.randint(len(rig.names), (1,), generator=generator))
        rig = rig.without(rig.names[lost])
    return dataclasses.replace(sample, rig=rig, virtual=virtual)


def blanked(sample: TrainSample, generator: torch.Generator) -> TrainSample:
    """Paint over a part of the things in half of the pictures, often in the colour of the sky.

    A plain white van fills a picture as an overcast sky does: what it is, and how far, its borders
    tell. For losses of single pictures: other views of the place still show what was painted over.
    """
    rig, depth = sample.rig, sample.depth_m
    count, _, height, width = rig.images.shape
    sky = depth.isinf()
    overcast = (rig.images * sky[:, None]).sum(dim=(0, 2, 3)) / sky.sum().clamp(min=1)
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
    virtual = sample.virtual
    return TrainSample(
        sample.name,
        _mirrored_rig(sample.rig),
        sample.depth_m.flip(-1),
        sample.lidar_origin_m * mirror,
        sample.lidar_points_m * mirror,
        sample.voxels.mirrored(sample.rig.image_size[1]),
        None if sample.features is None else sample.features.flip(-1),
        virtual and View(_mirrored_rig(virtual.rig), virtual.depth_m.flip(-1)),
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
