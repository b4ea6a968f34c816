"""Named colours, linear 0..1, and small helpers to vary them."""

import numpy as np

Color = tuple[float, float, float]

PAINTS: dict[str, Color] = {
    "white": (0.78, 0.78, 0.76),
    "black": (0.018, 0.018, 0.02),
    "grey": (0.17, 0.175, 0.18),
    "silver": (0.45, 0.46, 0.47),
    "red": (0.42, 0.018, 0.018),
    "blue": (0.03, 0.09, 0.42),
    "dark blue": (0.015, 0.025, 0.09),
    "light blue": (0.2, 0.42, 0.62),
    "green": (0.03, 0.2, 0.06),
    "yellow": (0.72, 0.5, 0.03),
    "orange": (0.7, 0.2, 0.02),
    "brown": (0.11, 0.055, 0.028),
    "beige": (0.5, 0.42, 0.3),
    "purple": (0.14, 0.03, 0.22),
    "pink": (0.62, 0.2, 0.3),
}

VEHICLE_SHARE: dict[str, float] = {
    "white": 0.22, "black": 0.15, "grey": 0.13, "silver": 0.14, "red": 0.1, "blue": 0.07,
    "dark blue": 0.06, "light blue": 0.02, "green": 0.03, "yellow": 0.03, "orange": 0.02,
    "brown": 0.01, "beige": 0.02,
}  # fmt: skip

DARK: Color = (0.02, 0.02, 0.022)
RUBBER: Color = (0.022, 0.022, 0.024)
GLASS: Color = (0.025, 0.032, 0.036)
STEEL: Color = (0.3, 0.3, 0.31)
CONCRETE: Color = (0.36, 0.35, 0.33)
LAMP_WHITE: Color = (0.85, 0.83, 0.76)
LAMP_RED: Color = (0.55, 0.01, 0.01)
LAMP_AMBER: Color = (0.85, 0.32, 0.02)

SKINS: tuple[Color, ...] = (
    (0.6, 0.38, 0.27), (0.48, 0.28, 0.18), (0.3, 0.16, 0.09), (0.12, 0.06, 0.035),
)  # fmt: skip
HAIRS: tuple[Color, ...] = (
    (0.015, 0.012, 0.01), (0.07, 0.035, 0.018), (0.35, 0.24, 0.1), (0.3, 0.3, 0.3),
)  # fmt: skip


def pick_paint(
    rng: np.random.Generator, share: dict[str, float] | None = None
) -> tuple[str, Color]:
    """A colour's name and a slightly varied value; all names equally likely without shares."""
    names = list(share or PAINTS)
    weights = np.array(list(share.values())) if share else np.ones(len(names))
    name = str(rng.choice(names, p=weights / weights.sum()))
    return name, vary(rng, PAINTS[name])


def vary(rng: np.random.Generator, color: Color, amount: float = 0.15) -> Color:
    """The colour with its brightness and each channel changed a little."""
    factor = np.exp(rng.normal(0, amount) + rng.normal(0, amount / 3, 3))
    r, g, b = np.clip(np.array(color) * factor, 0.004, 0.88)
    return float(r), float(g), float(b)


def choose(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    """One of several colours, slightly varied."""
    return vary(rng, colors[int(rng.integers(len(colors)))], 0.1)


def scaled(color: Color, factor: float) -> Color:
    """The colour made lighter or darker, kept below white."""
    r, g, b = (min(channel * factor, 0.85) for channel in color)
    return r, g, b
