"""Edits of a field: what lies in a region is taken away, kept alone, recoloured, moved or copied.

An edited field is a field: it is rendered, asked and edited again like any other (DFF, Kobayashi
et al. 2022, sec. 4.3; N3F, Tschernezki et al. 2022, sec. 4.3).
"""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from distillnerf_ros.query.region import Region
from distillnerf_ros.voxels.field import Field, FieldSample

Recolor = Callable[[Float[Tensor, "*shape 3"]], Float[Tensor, "*shape 3"]]
"""Maps colours in 0..1 to colours in 0..1."""


@dataclasses.dataclass(frozen=True)
class Edited:
    """A ``Field`` made of another.

    Attributes:
        field: the other.
        region: which part of it the edit is about.
        inside: whether what lies in the region stays where it is.
        outside: whether what lies outside stays.
        recolor: what becomes of the colours inside; None leaves them.
        new_from_old: (4, 4) where what lies inside is put (again); None puts it nowhere.
    """

    field: Field
    region: Region
    inside: bool = True
    outside: bool = True
    recolor: Recolor | None = None
    new_from_old: Float[Tensor, "4 4"] | None = None

    def __call__(
        self,
        points_m: Float[Tensor, "*shape 3"],
        directions: Float[Tensor, "*shape 3"] | None = None,
        time: float | None = None,
    ) -> FieldSample:
        """Density, colour and features; where two things overlap, mixed by their densities."""
        here = self.region.holds(points_m)
        sample = self.field(points_m, directions, time)
        kept = sample.density * self._kept(here)
        rgb = self._colored(sample.rgb, here)
        if self.new_from_old is None:
            return FieldSample(kept, rgb, sample.features)
        old = self._old(points_m)
        turned = None if directions is None else directions @ self.new_from_old[:3, :3]
        put, there = self.field(old, turned, time), self.region.holds(old)
        added = put.density * there
        share = (added / (kept + added).clamp(min=1e-9))[..., None]
        return FieldSample(
            kept + added,
            rgb.lerp(self._colored(put.rgb, there), share),
            sample.features.lerp(put.features, share),
        )

    def density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Density alone."""
        return self._changed(self.field.density, points_m)

    def proposal_density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Largest density in a small neighbourhood, of what is left and of what is put."""
        return self._changed(self.field.proposal_density, points_m)

    def sky(self, directions: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Colour of what lies beyond everything; white where what lies outside was taken away."""
        return self.field.sky(directions) if self.outside else torch.ones_like(directions)

    def _changed(self, density: Callable[[Tensor], Tensor], points_m: Tensor) -> Tensor:
        kept = density(points_m) * self._kept(self.region.holds(points_m))
        if self.new_from_old is None:
            return kept
        old = self._old(points_m)
        return kept + density(old) * self.region.holds(old)

    def _kept(self, here: Bool[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        return (here & self.inside) | (~here & self.outside)

    def _colored(self, rgb: Tensor, here: Tensor) -> Tensor:
        return (
            rgb if self.recolor is None else torch.where(here[..., None], self.recolor(rgb), rgb)
        )

    def _old(self, points_m: Tensor) -> Tensor:
        """Where what is now at the points was before."""
        assert self.new_from_old is not None
        pose = self.new_from_old.to(points_m)
        return (points_m - pose[:3, 3]) @ pose[:3, :3]


def deleted(field: Field, region: Region) -> Edited:
    """The field without what lies in the region."""
    return Edited(field, region, inside=False)


def extracted(field: Field, region: Region) -> Edited:
    """What lies in the region, alone."""
    return Edited(field, region, outside=False)


def recolored(field: Field, region: Region, recolor: Recolor) -> Edited:
    """The field with other colours in the region."""
    return Edited(field, region, recolor=recolor)


def moved(field: Field, region: Region, new_from_old: Float[Tensor, "4 4"]) -> Edited:
    """The field with what lies in the region elsewhere."""
    return Edited(field, region, inside=False, new_from_old=new_from_old)


def copied(field: Field, region: Region, new_from_old: Float[Tensor, "4 4"]) -> Edited:
    """The field with what lies in the region elsewhere, too."""
    return Edited(field, region, new_from_old=new_from_old)


def tinted(color: Float[Tensor, " 3"]) -> Recolor:
    """Gives things a colour and leaves them their light and shade.

    Args:
        color: in 0..1.
    """

    def recolor(rgb: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        light = rgb.amax(dim=-1, keepdim=True)
        return (light * color.to(rgb) / color.max().clamp(min=1e-3).to(rgb)).clamp(0, 1)

    return recolor
