"""A picture of foundation features: their main components, and what they say to class names."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from distillnerf_ros.query.semantics import Semantics
from distillnerf_ros.taxonomy import OCC3D_CLASSES

SHOWN_CLASSES = ("car", "pedestrian", "driveable surface", "vegetation", "manmade")
_STD = 2.5
"""Standard deviations of a component that are drawn at full brightness."""
_RELEVANCY = (0.3, 0.7)
"""Ends of the colours of relevancy, from blue to red; 0.5 is neutral."""
_WIDTH_PX = 400
_ORDER = (5, 0, 1, 2, 3, 4)
"""Cameras from the front left clockwise."""

Picture8 = UInt8[np.ndarray, "height width 3"]


def draw_features(
    images: list[Float[Tensor, "3 H W"] | None],
    features: Float16[np.ndarray, "N C h w"],
    semantics: Semantics,
) -> Picture8:
    """One column per camera; rows: image, components 1 to 3 as colours, and the relevancy of
    some class names over the image (blue 0.3 and less, green 0.5, red 0.7 and more).

    Args:
        images: of the cameras, in their usual order; None where there is none (black).
        features: of the same cameras.
        semantics: the components, and the vectors of class names if the teacher reads.
    """
    maps = torch.from_numpy(features.astype(np.float32)).permute(0, 2, 3, 1)
    span = 2 * _STD * semantics.pca.std[:3].clamp(min=1e-12)
    rows = [maps[..., :3] / span + 0.5]
    names = ["", "components 1-3"]
    if semantics.has_texts:
        classes = semantics.classes[[OCC3D_CLASSES.index(name) for name in SHOWN_CLASSES]]
        scores = semantics.relevancy(maps, classes)
        low, high = _RELEVANCY
        rows += [_turbo((one - low) / (high - low)) for one in scores.unbind(-1)]
        names += SHOWN_CLASSES
    columns = [_column(images[camera], [row[camera] for row in rows], names) for camera in _ORDER]
    return np.concatenate(columns, axis=1)


def _column(image: Tensor | None, maps: list[Tensor], names: list[str]) -> Picture8:
    import cv2

    grid = maps[0].shape[:2]
    shown = next(((i.shape[1], i.shape[2]) for i in [image] if i is not None), grid)
    size = (round(_WIDTH_PX * shown[0] / shown[1]), _WIDTH_PX)
    top = torch.zeros(3, *size) if image is None else _resized(image, size)
    tiles = [top]
    for number, one in enumerate(maps):
        large = F.interpolate(one.permute(2, 0, 1)[None], size, mode="nearest")[0]
        tiles.append(large if number == 0 else large.lerp(top.mean(0, keepdim=True), 0.4))
    tiles = [tile.permute(1, 2, 0) for tile in tiles]
    pictures = [(t.nan_to_num().clamp(0, 1) * 255).byte().contiguous().numpy() for t in tiles]
    for picture, name in zip(pictures, names, strict=True):
        for color, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, thick)
    return np.concatenate(pictures)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _turbo(values: Float[Tensor, "N h w"]) -> Float[Tensor, "N h w 3"]:
    """Colours of values in 0..1; black for NaN."""
    import cv2

    levels = (values.nan_to_num().clamp(0, 1) * 255).byte().numpy()
    colors = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_TURBO)[:, 0, ::-1]
    shaped = torch.from_numpy(colors.copy()).view(*values.shape, 3) / 255
    return shaped.masked_fill(values.isnan()[..., None], 0.0)
