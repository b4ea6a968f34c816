"""The Occ3D-nuScenes classes: names, indices and display colours (Occ3D challenge README)."""

OCC3D_CLASSES: tuple[str, ...] = (
    "others",
    "barrier",
    "bicycle",
    "bus",
    "car",
    "construction vehicle",
    "motorcycle",
    "pedestrian",
    "traffic cone",
    "trailer",
    "truck",
    "driveable surface",
    "other flat",
    "sidewalk",
    "terrain",
    "manmade",
    "vegetation",
)
"""Index in this tuple = label in Occ3D's ``labels.npz``."""

THINGS = 11
"""The first so many classes are things; ground, buildings and plants follow."""

FREE_LABEL = 17
"""Occ3D's label of an empty voxel."""

SKY_LABEL = 255
"""Label of a pixel whose ray leaves the world; never a voxel's label."""

OCC3D_COLORS: tuple[tuple[int, int, int], ...] = (
    (112, 112, 112),
    (255, 120, 50),
    (255, 192, 203),
    (255, 255, 0),
    (0, 150, 245),
    (0, 220, 220),
    (200, 180, 0),
    (255, 0, 0),
    (255, 240, 150),
    (135, 60, 0),
    (160, 32, 240),
    (139, 137, 160),
    (90, 70, 110),
    (75, 0, 75),
    (150, 240, 80),
    (205, 190, 160),
    (0, 150, 60),
)
"""Display colour (R, G, B, 0..255) of each class."""
