"""What a builder returns."""

import dataclasses

from distillnerf_ros.world.shapes import Shape


@dataclasses.dataclass(frozen=True)
class Model:
    """An object before it is placed: x ahead, z up, origin on the ground at the box's middle.

    Attributes:
        kind: what a person would call it ("sedan", "jersey barrier").
        category: nuScenes category name; static things have ``static.manmade`` or
            ``static.vegetation``.
        size_m: length, width, height of the annotated box.
        color: name of the colour that strikes the eye, or an empty string.
        shape: its solids.
    """

    kind: str
    category: str
    size_m: tuple[float, float, float]
    color: str
    shape: Shape
