"""The nuScenes categories, their lidarseg indices and their Occ3D classes."""

from distillnerf_ros.taxonomy import OCC3D_CLASSES

LIDARSEG_CATEGORIES: tuple[tuple[str, str], ...] = (
    ("noise", "others"),
    ("animal", "others"),
    ("human.pedestrian.adult", "pedestrian"),
    ("human.pedestrian.child", "pedestrian"),
    ("human.pedestrian.construction_worker", "pedestrian"),
    ("human.pedestrian.personal_mobility", "others"),
    ("human.pedestrian.police_officer", "pedestrian"),
    ("human.pedestrian.stroller", "others"),
    ("human.pedestrian.wheelchair", "others"),
    ("movable_object.barrier", "barrier"),
    ("movable_object.debris", "others"),
    ("movable_object.pushable_pullable", "others"),
    ("movable_object.trafficcone", "traffic cone"),
    ("static_object.bicycle_rack", "others"),
    ("vehicle.bicycle", "bicycle"),
    ("vehicle.bus.bendy", "bus"),
    ("vehicle.bus.rigid", "bus"),
    ("vehicle.car", "car"),
    ("vehicle.construction", "construction vehicle"),
    ("vehicle.emergency.ambulance", "others"),
    ("vehicle.emergency.police", "others"),
    ("vehicle.motorcycle", "motorcycle"),
    ("vehicle.trailer", "trailer"),
    ("vehicle.truck", "truck"),
    ("flat.driveable_surface", "driveable surface"),
    ("flat.other", "other flat"),
    ("flat.sidewalk", "sidewalk"),
    ("flat.terrain", "terrain"),
    ("static.manmade", "manmade"),
    ("static.other", "others"),
    ("static.vegetation", "vegetation"),
    ("vehicle.ego", "others"),
)
"""(nuScenes category, Occ3D class), at its nuScenes-lidarseg index (lidarseg README)."""

OCC3D_FROM_CATEGORY: dict[str, int] = {
    category: OCC3D_CLASSES.index(name) for category, name in LIDARSEG_CATEGORIES
}
"""Occ3D class of a nuScenes category name."""

LIDARSEG_FROM_CATEGORY: dict[str, int] = {
    category: index for index, (category, _) in enumerate(LIDARSEG_CATEGORIES)
}
"""nuScenes-lidarseg index of a nuScenes category name."""
