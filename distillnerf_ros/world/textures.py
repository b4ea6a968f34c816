"""Colours of solids from where on them a ray lands: no image files, only numbers."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.world.ground_texture import band
from distillnerf_ros.world.noise import cell_noise, fractal_noise
from distillnerf_ros.world.shapes import Texture

FLOOR_M = 3.2


@dataclasses.dataclass(frozen=True)
class Spots:
    """R places on solids.

    Attributes:
        unit: (R, 3) position on the unit shape.
        normal_unit: (R, 3) outward normal of the unit shape, not normalised.
        surface: (R, 12) see ``primitives.SolidTable``.
        footprint: (R,) metres a pixel covers there.
        lamps: 0..1, how much lamps and windows glow.
    """

    unit: Float[Tensor, "R 3"]
    normal_unit: Float[Tensor, "R 3"]
    surface: Float[Tensor, "R 12"]
    footprint: Float[Tensor, " R"]
    lamps: float

    def select(self, rows: Tensor) -> "Spots":
        """The spots at an index."""
        return Spots(
            self.unit[rows],
            self.normal_unit[rows],
            self.surface[rows],
            self.footprint[rows],
            self.lamps,
        )

    @property
    def color(self) -> Tensor:
        """(R, 3) first colour."""
        return self.surface[:, 0:3]

    @property
    def color2(self) -> Tensor:
        """(R, 3) second colour."""
        return self.surface[:, 3:6]

    @property
    def param(self) -> Tensor:
        """(R,) the texture's parameter."""
        return self.surface[:, 7]

    @property
    def luck(self) -> Tensor:
        """(R,) the solid's random number in 0..1."""
        return self.surface[:, 11]

    @property
    def metres(self) -> Tensor:
        """(R, 3) position in metres from the solid's centre, along its own axes."""
        return self.unit * self.surface[:, 8:11] / 2

    def wall_coordinates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Metres along a wall, metres above the solid's foot, and which spots are on walls."""
        normal, metres = self.normal_unit.abs(), self.metres
        on_wall = normal[:, 2] < torch.maximum(normal[:, 0], normal[:, 1])
        faces_x = normal[:, 0] > normal[:, 1]
        along = torch.where(faces_x, metres[:, 1] + 17.3, metres[:, 0])
        return along, metres[:, 2] + self.surface[:, 10] / 2, on_wall


def paint(spots: Spots) -> tuple[Float[Tensor, "R 3"], Float[Tensor, "R 3"], Float[Tensor, " R"]]:
    """Albedo, emitted light and mirror share of each spot."""
    albedo = spots.color.clone()
    glow = torch.zeros_like(albedo)
    mirror = torch.zeros_like(spots.footprint)
    texture = spots.surface[:, 6].long()
    for number in torch.unique(texture).tolist():
        painter = _PAINTERS.get(number)
        if painter is not None:
            rows = (texture == number).nonzero()[:, 0]
            albedo[rows], glow[rows], mirror[rows] = painter(spots.select(rows))
    return albedo, glow, mirror


_Painted = tuple[Tensor, Tensor, Tensor]


def _matte(albedo: Tensor) -> _Painted:
    return albedo, torch.zeros_like(albedo), torch.zeros_like(albedo[:, 0])


def _grain(spots: Spots, period_m: float) -> Tensor:
    """Noise on the solid's surface, faded where a pixel covers it."""
    m = spots.metres
    value = fractal_noise(
        (m[:, 0] + 0.7 * m[:, 1]) / period_m + spots.luck * 9, (m[:, 2] + 0.4 * m[:, 1]) / period_m
    )
    return value * (0.12 * period_m / spots.footprint).clamp(max=1)


def _car_paint(spots: Spots) -> _Painted:
    dirt = 1 - 0.25 * (0.35 - spots.unit[:, 2] * 0.5).clamp(0, 1)
    albedo = spots.color * dirt[:, None]
    return albedo, torch.zeros_like(albedo), torch.full_like(dirt, 0.1)


def _glass(spots: Spots) -> _Painted:
    return spots.color, torch.zeros_like(spots.color), torch.full_like(spots.footprint, 0.35)


def _tyre(spots: Spots) -> _Painted:
    radius = spots.unit[:, :2].norm(dim=1)
    on_side = (spots.normal_unit[:, 2].abs() > 0.5).float()
    hub = band(radius, 0.62, spots.footprint * 3) * on_side
    spokes = torch.sin(5 * torch.atan2(spots.unit[:, 1], spots.unit[:, 0])) > -0.4
    shine = torch.where(spokes | (radius < 0.2), 1.0, 0.35)
    return _matte(torch.lerp(spots.color, spots.color2 * shine[:, None], hub[:, None]))


def _foliage(spots: Spots) -> _Painted:
    """Leaves: dark gaps between bright tufts, lighter towards the top."""
    m = spots.metres
    leaf = fractal_noise(m[:, 0] / 2 + spots.luck * 9, (m[:, 1] + m[:, 2]) / 2)
    leaf = leaf + fractal_noise(m[:, 1] / 2, (m[:, 2] - m[:, 0]) / 2 + spots.luck * 5)
    tuft = cell_noise(m[:, 0] * 7 + m[:, 2] * 3, m[:, 2] * 7 - m[:, 1] * 4) - 0.5
    leaf = leaf * (0.4 / spots.footprint).clamp(max=1)
    leaf = leaf + 2.0 * tuft * (0.07 / spots.footprint).clamp(max=1)
    depth = 0.7 + 0.3 * spots.unit[:, 2]
    albedo = spots.color * (depth * torch.exp(0.45 * leaf))[:, None]
    bright = (0.25 * leaf - 0.2).clamp(0, 0.6)[:, None]
    return _matte(torch.lerp(albedo, spots.color2, bright).clamp(max=0.85))


def _bark(spots: Spots) -> _Painted:
    return _matte(spots.color * (1 + 0.35 * _grain(spots, 0.6)).clamp(min=0.3)[:, None])


def _cloth(spots: Spots) -> _Painted:
    fold = 1 + 0.12 * _grain(spots, 0.5)
    return _matte(spots.color * fold[:, None])


def _stripes(spots: Spots) -> _Painted:
    """Slanted stripes of two colours along the longest side."""
    m = spots.metres
    size = spots.surface[:, 8:11]
    along = torch.where(size[:, 1] > size[:, 0], m[:, 1], m[:, 0])
    phase = torch.remainder((along + 0.7 * m[:, 2]) / spots.param, 1.0) - 0.5
    share = band(phase, 0.25, spots.footprint / spots.param)
    return _matte(torch.lerp(spots.color, spots.color2, share[:, None]))


def _bands(spots: Spots) -> _Painted:
    """Level bands of two colours, as on cones and posts."""
    phase = torch.remainder(spots.unit[:, 2] * spots.param + 0.25, 1.0) - 0.5
    share = band(phase, 0.22, spots.footprint * spots.param)
    return _matte(torch.lerp(spots.color, spots.color2, share[:, None]))


def _lamp(spots: Spots) -> _Painted:
    return spots.color, spots.color * (0.12 + 2.2 * spots.lamps), torch.zeros_like(spots.footprint)


def _tail(spots: Spots) -> _Painted:
    """Tail lights: always a little, at night or with ``param`` 1 (braking) strongly lit."""
    lit = 0.1 + 0.5 * spots.lamps + 0.7 * spots.param
    return spots.color, spots.color * lit[:, None], torch.zeros_like(spots.footprint)


def _concrete(spots: Spots) -> _Painted:
    along, up, _ = spots.wall_coordinates()
    stain = fractal_noise(along / 9 + spots.luck * 7, up / 23)
    return _matte(spots.color * (1 + 0.14 * stain + 0.07 * _grain(spots, 1.0))[:, None])


def _brick_tone(along: Tensor, up: Tensor, footprint: Tensor) -> Tensor:
    """Factor of bricks of 0.5 x 0.17 m with light joints, faded with distance."""
    row = torch.floor(up / 0.17)
    u = along / 0.5 + 0.5 * torch.remainder(row, 2.0)
    joint = band(torch.remainder(u, 1.0) - 0.5, 0.46, footprint / 0.5) * band(
        torch.remainder(up / 0.17, 1.0) - 0.5, 0.42, footprint / 0.17
    )
    stone = cell_noise(u, up / 0.17) - 0.5
    fade = (0.12 / footprint).clamp(max=1)
    return 1 + fade * (0.4 * stone + 0.35 * (1 - joint))


def _brick(spots: Spots) -> _Painted:
    along, up, _ = spots.wall_coordinates()
    return _matte(spots.color * _brick_tone(along, up, spots.footprint)[:, None])


def _roof(spots: Spots) -> _Painted:
    m = spots.metres
    tile = torch.remainder(m[:, 2] / 0.3, 1.0)
    fade = (0.15 / spots.footprint).clamp(max=1)
    return _matte(
        spots.color * (1 + 0.1 * _grain(spots, 2.0) - 0.3 * fade * (tile - 0.5))[:, None]
    )


def _poster(spots: Spots) -> _Painted:
    """A sign or advertisement: blocks and lettering in two colours and white."""
    along, up, on_wall = spots.wall_coordinates()
    scale = spots.param.clamp(min=0.05)
    block = cell_noise(along / scale + spots.luck * 200, up / scale)
    letters = cell_noise(along / scale * 3 + spots.luck * 99, up / scale * 2) > 0.6
    row = torch.remainder(up / scale, 1.0) < 0.4
    albedo = torch.where((block > 0.7)[:, None], spots.color2, spots.color)
    near = spots.footprint < scale * 0.4
    ink = torch.full_like(albedo, 0.75)
    albedo = torch.where((letters & row & on_wall & near)[:, None], ink, albedo)
    return albedo, albedo * 0.6 * spots.lamps, torch.zeros_like(spots.footprint)


def _facade(spots: Spots) -> _Painted:
    """A house front: floors of windows with frames, sills and curtains, shops at the foot."""
    along, up, on_wall = spots.wall_coordinates()
    pitch, luck = spots.param.clamp(min=1.0), spots.luck
    up = up - 1.5  # the solid starts 1.5 m below the ground
    column, floor = along / pitch, up / FLOOR_M
    across = (torch.remainder(column, 1.0) - 0.5) * pitch
    height = (torch.remainder(floor, 1.0) - 0.5) * FLOOR_M
    shop = (up < FLOOR_M) & (luck > 0.35)
    wide = torch.where(shop, 0.44, 0.16 + 0.27 * torch.remainder(luck * 7, 1.0)) * pitch
    tall = torch.where(
        shop, torch.full_like(luck, 1.2), 0.55 + 0.75 * torch.remainder(luck * 13, 1.0)
    )
    offset = torch.where(shop, height + 0.35, height - 0.1)
    window = band(across, wide, spots.footprint) * band(offset, tall, spots.footprint)
    frame = band(across, wide + 0.12, spots.footprint) * band(offset, tall + 0.12, spots.footprint)
    wall = _facade_wall(spots, along, up)
    chance = cell_noise(column + luck * 231, floor)
    glass, glow = _windows(spots, chance, across, offset, wide, shop)
    door = (up < 2.3) & (cell_noise(column + luck * 71, 0 * floor) > 0.8) & (across.abs() < 0.6)
    awning = shop & (height > 0.95) & (height < 1.5)
    albedo = torch.lerp(wall, spots.color2, frame[:, None])
    albedo = torch.lerp(albedo, glass, window[:, None])
    sign = 0.08 + 0.6 * torch.stack(
        [cell_noise(column + k, floor + luck * 9) for k in (3, 57, 91)], 1
    )
    albedo = torch.where(awning[:, None], sign, albedo)
    albedo = torch.where(door[:, None], spots.color2 * 0.35, albedo)
    keep = (on_wall & (up > 0.05) & ~door & ~awning).float()
    window = window * keep
    albedo = torch.where(on_wall[:, None], albedo, spots.color * 0.6)
    return albedo, glow * window[:, None], 0.3 * window * (chance < 0.75)


def _facade_wall(spots: Spots, along: Tensor, up: Tensor) -> Tensor:
    """Plaster, brick or panels between the windows."""
    luck = torch.remainder(spots.luck * 31, 1.0)
    stain = fractal_noise(along / 41 + spots.luck * 7, up / 57)
    tone = 1 + 0.1 * stain
    tone = torch.where(luck < 0.4, tone * _brick_tone(along, up, spots.footprint), tone)
    ledge = band(torch.remainder(up, FLOOR_M) - 0.1, 0.12, spots.footprint)
    tone = torch.where(luck > 0.6, tone * (1 - 0.3 * ledge), tone)
    foot = (1.15 - up).clamp(0, 0.3) * (luck > 0.3)
    return spots.color * (tone - foot)[:, None]


def _windows(
    spots: Spots, chance: Tensor, across: Tensor, offset: Tensor, wide: Tensor, shop: Tensor
) -> tuple[Tensor, Tensor]:
    """Albedo and glow behind the panes: dark rooms, curtains, lit rooms."""
    dark = across.new_tensor([[0.035, 0.045, 0.055]])
    curtain = across.new_tensor([[0.45, 0.42, 0.36]]) * (0.5 + chance[:, None])
    drawn = (chance > 0.75) | ((chance > 0.45) & (offset > 0.25) & ~shop)
    albedo = torch.where(drawn[:, None], curtain, dark.expand(len(across), 3))
    bar = band(across, 0.04, spots.footprint) + band(offset - 0.2, 0.03, spots.footprint)
    albedo = torch.lerp(albedo, spots.color2, (bar * ~shop).clamp(0, 1)[:, None])
    warm = across.new_tensor([[0.55, 0.4, 0.2]])
    lit = ((torch.remainder(chance * 17, 1.0) > 0.55) | shop).float() * spots.lamps
    return albedo, warm * (lit * (0.25 + 0.75 * chance))[:, None]


_PAINTERS = {
    Texture.PAINT: _car_paint,
    Texture.GLASS: _glass,
    Texture.TYRE: _tyre,
    Texture.FACADE: _facade,
    Texture.FOLIAGE: _foliage,
    Texture.BARK: _bark,
    Texture.CLOTH: _cloth,
    Texture.STRIPES: _stripes,
    Texture.BANDS: _bands,
    Texture.LAMP: _lamp,
    Texture.TAIL: _tail,
    Texture.CONCRETE: _concrete,
    Texture.BRICK: _brick,
    Texture.ROOF: _roof,
    Texture.POSTER: _poster,
}
