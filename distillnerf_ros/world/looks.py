"""The look of a scene: light, sky, weather and exposure."""

import dataclasses

import numpy as np

LOOK_NAMES: tuple[str, ...] = ("sunny", "hazy", "overcast", "wet", "dusk", "low sun")


@dataclasses.dataclass(frozen=True)
class Look:
    """Light and weather; colours are linear RGB radiance relative to a white wall in the sun.

    Attributes:
        name: one of ``LOOK_NAMES``.
        sun_direction: unit vector towards the light that casts shadows.
        sun, ambient: colour of that light, and of the sky's diffuse light.
        zenith, horizon: colours of the sky.
        cloud_color: colour of clouds.
        clouds: share of the sky they cover, 0..1.
        wetness: 0 dry .. 1 wet road.
        lamps: 0 lamps and windows off .. 1 on.
        haze_m: distance at which 63 % of the contrast is lost.
        exposure: factor on radiance before the tone curve.
        noise: standard deviation of sensor noise at mid grey, 0..1 units.
        luck: seed offset of clouds and dirt.
    """

    name: str
    sun_direction: tuple[float, float, float]
    sun: tuple[float, float, float]
    ambient: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud_color: tuple[float, float, float]
    clouds: float
    wetness: float
    lamps: float
    haze_m: float
    exposure: float
    noise: float
    luck: float


_Row = tuple[
    tuple[float, float], tuple[float, float, float], tuple[float, float, float],
    tuple[float, float, float], tuple[float, float, float], tuple[float, float, float],
    tuple[float, float], float, float, tuple[float, float], float, float,
]  # fmt: skip

# elevation range (degrees), sun, ambient, zenith, horizon, cloud colour, cloud range, wetness,
# lamps, haze range, exposure, noise
_TABLE: dict[str, _Row] = {
    "sunny": (
        (35, 65), (1.5, 1.42, 1.25), (0.42, 0.48, 0.58), (0.16, 0.32, 0.72), (0.62, 0.76, 0.92),
        (1.0, 1.0, 1.0), (0.0, 0.55), 0.0, 0.0, (500, 2000), 0.85, 0.008,
    ),
    "hazy": (
        (25, 60), (0.95, 0.9, 0.8), (0.55, 0.58, 0.62), (0.45, 0.55, 0.7), (0.8, 0.83, 0.86),
        (0.95, 0.95, 0.95), (0.3, 0.8), 0.0, 0.0, (150, 400), 0.9, 0.01,
    ),
    "overcast": (
        (60, 85), (0.38, 0.38, 0.38), (0.66, 0.68, 0.72), (0.62, 0.66, 0.72), (0.8, 0.82, 0.85),
        (0.85, 0.87, 0.9), (0.7, 1.0), 0.0, 0.0, (250, 900), 1.05, 0.012,
    ),
    "wet": (
        (60, 85), (0.3, 0.3, 0.31), (0.52, 0.55, 0.6), (0.5, 0.54, 0.6), (0.68, 0.71, 0.75),
        (0.7, 0.73, 0.77), (0.8, 1.0), 1.0, 0.5, (180, 500), 1.15, 0.016,
    ),
    "dusk": (
        (40, 70), (0.07, 0.075, 0.11), (0.13, 0.14, 0.2), (0.06, 0.08, 0.17), (0.32, 0.24, 0.24),
        (0.2, 0.17, 0.2), (0.1, 0.8), 0.3, 1.0, (300, 900), 2.7, 0.03,
    ),
    "low sun": (
        (12, 22), (1.5, 1.05, 0.65), (0.34, 0.37, 0.46), (0.25, 0.36, 0.6), (0.95, 0.78, 0.58),
        (1.0, 0.86, 0.72), (0.1, 0.6), 0.0, 0.2, (250, 900), 0.95, 0.01,
    ),
}  # fmt: skip


def make_look(rng: np.random.Generator) -> Look:
    """Draw a look; sunny scenes are the most frequent."""
    share = np.array([0.3, 0.14, 0.18, 0.14, 0.1, 0.14])
    name = str(rng.choice(LOOK_NAMES, p=share))
    row = _TABLE[name]
    elevation, azimuth = np.radians(rng.uniform(*row[0])), rng.uniform(0, 2 * np.pi)
    direction = (
        float(np.cos(elevation) * np.cos(azimuth)),
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
    )
    return Look(
        name, direction, *row[1:6], float(rng.uniform(*row[6])), row[7], row[8],
        float(rng.uniform(*row[9])), row[10] * float(rng.uniform(0.85, 1.15)), row[11],
        float(rng.uniform(0, 100)),
    )  # fmt: skip
