"""What is known of one glance, as plain arrays ready to draw; from a bag or from a pipeline."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int8, UInt8

Picture = UInt8[np.ndarray, "_ _ 3"]
"""RGB, 0..255."""


@dataclasses.dataclass(frozen=True)
class CameraView:
    """One camera at one stamp; None where nothing was published.

    Attributes:
        name: camera name.
        stamp_ns: stamp of the outputs.
        picture: what the camera saw.
        rgb: rendered colour.
        depth_m: rendered depth along the optical axis, NaN where nothing is hit.
        features: the first three principal components of the rendered features, as colours.
        heat: relevancy of the standing queries 0..1, NaN where nothing is hit.
    """

    name: str
    stamp_ns: int = 0
    picture: Picture | None = None
    rgb: Picture | None = None
    depth_m: Float[np.ndarray, "h w"] | None = None
    features: Picture | None = None
    heat: Float[np.ndarray, "h w"] | None = None


@dataclasses.dataclass(frozen=True)
class Voxels:
    """Occupied voxels in the ego frame.

    Attributes:
        points_m: (P, 3) centres.
        labels: (P,) Occ3D class; None where the weights carry no semantics.
        probability: (P,) that something is there.
    """

    points_m: Float[np.ndarray, "P 3"]
    labels: UInt8[np.ndarray, " P"] | None
    probability: Float[np.ndarray, " P"]


@dataclasses.dataclass(frozen=True)
class Found:
    """One thing that answers a prompt: an axis-aligned box in the ego frame.

    Attributes:
        prompt: the words asked for.
        center_m: (x, y, z).
        size_m: edges along x, y, z.
        score: 0..1.
        count: voxels in it.
    """

    prompt: str
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    score: float
    count: int


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything about one glance.

    Attributes:
        stamp_ns: reference stamp of the glance.
        cameras: one view per camera.
        voxels: occupied voxels.
        grid: (X, Y) bird's-eye grid of 0.4 m cells around the vehicle: -1 unseen, else
            0..100; indexed [x, y] with x forward, y left. None where there is none.
    """

    stamp_ns: int
    cameras: tuple[CameraView, ...]
    voxels: Voxels
    grid: Int8[np.ndarray, "X Y"] | None = None
