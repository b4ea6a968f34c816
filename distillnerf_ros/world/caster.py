"""The one batched ray caster: cameras, lidar and the truth see the same geometry through it."""

import dataclasses
import typing

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from distillnerf_ros.taxonomy import SKY_LABEL
from distillnerf_ros.world.ground import Ground
from distillnerf_ros.world.ground_texture import ground_color
from distillnerf_ros.world.light import SHADOW_RANGE_M, shadowed, sky_color
from distillnerf_ros.world.looks import Look
from distillnerf_ros.world.primitives import Primitives
from distillnerf_ros.world.solids import PACKET_RAYS, Packets, nearest
from distillnerf_ros.world.textures import Spots, paint

PIXEL_RAD = 0.003
"""Angle a pixel covers in the default picture (1 / 316 px focal length)."""


@typing.runtime_checkable
class World(typing.Protocol):
    """What the caster asks of a scene."""

    look: Look

    def ground_on(self, device: torch.device) -> Ground:
        """The ground with its raster on a device."""

    def primitives_at(self, times_s: list[float], device: torch.device) -> Primitives:
        """Solids near the ego vehicle, moving ones once per time with group 0, 1, ..."""

    def labels_on(self, device: torch.device) -> Tensor:
        """(O,) class of every object."""


@dataclasses.dataclass(frozen=True)
class Hit:
    """What R rays met first.

    Attributes:
        distance: (R,) in units of the ray's direction, infinity for the sky.
        class_id: (R,) Occ3D class, 255 for the sky.
        instance: (R,) id of the object, 0 for ground and sky.
        rgb: (R, 3) radiance, linear, before exposure; zeros where shading was not asked for.
    """

    distance: Float[Tensor, " R"]
    class_id: UInt8[Tensor, " R"]
    instance: Int[Tensor, " R"]
    rgb: Float[Tensor, "R 3"]


def cast(
    scene: World,
    time_s: float,
    origins_map: Float[Tensor, "R 3"],
    directions_map: Float[Tensor, "R 3"],
    *,
    shade: bool = True,
) -> Hit:
    """Cast rays at one instant. Neighbouring rays should be neighbours in the list: it is faster.

    Args:
        scene: the scene.
        time_s: seconds since the scene's start.
        origins_map: start of each ray in the map frame, metres.
        directions_map: (R, 3) in the map frame, of any length.
        shade: also compute colours.
    """
    packets = Packets.from_rays(origins_map, directions_map, PACKET_RAYS)
    hit = cast_packets(scene, [time_s], packets, shade=shade)
    count = origins_map.shape[0]
    return Hit(hit.distance[:count], hit.class_id[:count], hit.instance[:count], hit.rgb[:count])


def cast_packets(
    scene: World,
    times_s: list[float],
    packets: Packets,
    *,
    shade: bool,
    pixel_rad: float = PIXEL_RAD,
) -> Hit:
    """Cast packets whose ``group`` indexes ``times_s``; results are flat in packet order."""
    device = packets.origins.device
    ground = scene.ground_on(device)
    primitives = scene.primitives_at(times_s, device)
    rays_shape = packets.origins[:, 0].shape
    origins, directions = packets.flat()
    floor, kerb = ground.intersect(origins, directions)
    t, solid = nearest(primitives, packets, floor.view(rays_shape))
    t, solid = t.reshape(-1), solid.reshape(-1)
    met = _Met(
        origins, directions, t, solid, kerb, packets.group[:, None].expand(rays_shape).reshape(-1)
    )
    labels = torch.full_like(t, SKY_LABEL, dtype=torch.uint8)
    on_ground, on_solid = met.ground_rows(), (solid >= 0).nonzero()[:, 0]
    labels[on_ground] = ground.class_at(met.points(on_ground)[:, :2]).to(torch.uint8)
    instance = torch.zeros_like(t, dtype=torch.int32)
    owner = primitives.owner[solid[on_solid]]
    labels[on_solid] = scene.labels_on(device)[owner]
    instance[on_solid] = (owner + 1).to(torch.int32)
    rgb = torch.zeros_like(origins)
    if shade:
        rgb = _shade(scene.look, ground, primitives, met, labels, pixel_rad)
    return Hit(t, labels, instance, rgb)


@dataclasses.dataclass(frozen=True)
class _Met:
    """Rays and what they met."""

    origins: Tensor
    directions: Tensor
    t: Tensor
    solid: Tensor
    kerb: Tensor
    group: Tensor

    def points(self, rows: Tensor) -> Tensor:
        """Map positions of the hits."""
        return self.origins[rows] + self.t[rows, None] * self.directions[rows]

    def ground_rows(self) -> Tensor:
        """Rays that met the ground."""
        return (torch.isfinite(self.t) & (self.solid < 0)).nonzero()[:, 0]


def _shade(
    look: Look, ground: Ground, primitives: Primitives, met: _Met, labels: Tensor, pixel_rad: float
) -> Float[Tensor, "R 3"]:
    """Radiance along every ray."""
    length = met.directions.norm(dim=1)
    view = met.directions / length[:, None]
    hit = torch.isfinite(met.t).nonzero()[:, 0]
    far = met.t[hit] * length[hit]
    footprint = far * pixel_rad
    albedo, normal = torch.zeros_like(met.origins), torch.zeros_like(met.origins)
    glow, mirror = torch.zeros_like(met.origins), torch.zeros_like(met.t)
    wide = torch.zeros_like(met.t)
    wide[hit] = footprint.clamp(min=0.002)
    rows = met.ground_rows()
    albedo[rows], normal[rows], mirror[rows] = _ground_surface(
        look, ground, met, rows, labels, wide
    )
    rows = (met.solid >= 0).nonzero()[:, 0]
    albedo[rows], normal[rows], glow[rows], mirror[rows] = _solid_surface(
        look, primitives, met, rows, wide
    )
    lit = _lit(look, primitives, met, hit, far, normal)
    color = _illuminate(look, albedo[hit], normal[hit], lit) + glow[hit]
    bounce = view[hit] - 2 * (view[hit] * normal[hit]).sum(1, keepdim=True) * normal[hit]
    facing = (view[hit] * normal[hit]).sum(1).abs()
    share = (mirror[hit] * (1 + 4 * (1 - facing) ** 5)).clamp(max=0.75)
    color = torch.lerp(color, sky_color(look, bounce), share[:, None])
    fog = 1 - torch.exp(-far / look.haze_m)
    rgb = sky_color(look, view)
    horizon = color.new_tensor(look.horizon)
    rgb[hit] = torch.lerp(color, horizon, fog[:, None])
    return rgb


def _ground_surface(
    look: Look, ground: Ground, met: _Met, rows: Tensor, labels: Tensor, wide: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Albedo, normal and mirror share of ground hits."""
    xy = met.points(rows)[:, :2]
    label = labels[rows]
    steep = 1 / (-met.directions[rows, 2] / met.directions[rows].norm(dim=1)).clamp(min=0.1)
    footprint = wide[rows] * steep.sqrt()
    albedo = ground_color(ground, look, xy, label.long(), footprint)
    kerb = met.kerb[rows]
    stone = albedo.new_tensor([[0.36, 0.35, 0.33]])
    edge = ((0.16 - ground.sample(xy, slice(1, 2))[:, 0].abs()) / footprint + 0.5).clamp(0, 1)
    behind = (ground.raised(xy) > 0).to(edge) * edge
    albedo = torch.lerp(albedo, stone, torch.maximum(behind, kerb)[:, None])
    normal = ground.normal(xy)
    back = -met.directions[rows, :2] / met.directions[rows, :2].norm(dim=1, keepdim=True)
    upright = torch.cat([back, torch.zeros_like(back[:, :1])], dim=1)
    normal = torch.where(kerb[:, None] > 0, upright, normal)
    smooth = (label <= 13).to(edge) * look.wetness
    return albedo * (1 - 0.45 * look.wetness), normal, 0.06 * smooth


def _solid_surface(
    look: Look, primitives: Primitives, met: _Met, rows: Tensor, wide: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Albedo, normal, glow and mirror share of hits on solids."""
    index = met.solid[rows]
    affine = primitives.unit_from_map[index]
    points = met.points(rows)
    unit = (affine[:, :, :3] @ points[:, :, None])[..., 0] + affine[:, :, 3]
    normal_unit = _unit_normal(primitives, index, unit)
    normal = (affine[:, :, :3].transpose(1, 2) @ normal_unit[:, :, None])[..., 0]
    normal = torch.nn.functional.normalize(normal, dim=1)
    facing = (normal * met.directions[rows]).sum(dim=1, keepdim=True)
    normal = torch.where(facing > 0, -normal, normal)
    spots = Spots(unit, normal_unit, primitives.surface[index], wide[rows], look.lamps)
    albedo, glow, mirror = paint(spots)
    return albedo, normal, glow, mirror


def _unit_normal(primitives: Primitives, index: Tensor, unit: Tensor) -> Float[Tensor, "R 3"]:
    """Outward normal on the unit shape at each hit."""
    form, quadric = primitives.form[index], primitives.quadric[index]
    x, y, z = unit.unbind(dim=1)
    s, a, b = form.unbind(dim=1)
    side = torch.stack([x, y, s * z - b * (a + b * z)], dim=1)
    cap = torch.stack([0 * x, 0 * x, z.sign()], dim=1)
    round_ = torch.where(((z.abs() > 0.9999) & (s == 0))[:, None], cap, side)
    lean = (z + 1) / 2
    half = form / 2
    front, back = x + form[:, 0] * lean, -x + form[:, 1] * lean
    left, right = y + form[:, 2] * lean, -y + form[:, 2] * lean
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    normals = torch.stack(
        [
            torch.stack([one, zero, half[:, 0]], 1),
            torch.stack([-one, zero, half[:, 1]], 1),
            torch.stack([zero, one, half[:, 2]], 1),
            torch.stack([zero, -one, half[:, 2]], 1),
            torch.stack([zero, zero, one], 1),
            torch.stack([zero, zero, -one], 1),
        ],
        dim=1,
    )
    face = torch.stack([front, back, left, right, z, -z], dim=1).argmax(dim=1)
    flat = normals[torch.arange(len(face), device=face.device), face]
    return torch.where(quadric[:, None], round_, flat)


def _lit(
    look: Look, primitives: Primitives, met: _Met, hit: Tensor, far: Tensor, normal: Tensor
) -> Tensor:
    """Cosine to the sun of each hit, 0 in shadow."""
    sun = normal.new_tensor(look.sun_direction)
    cosine = (normal[hit] @ sun).clamp(min=0)
    asked = ((cosine > 0.01) & (far < SHADOW_RANGE_M)).nonzero()[:, 0]
    if len(asked) == 0:
        return cosine
    rays = hit[asked]
    points = met.points(rays) + 0.03 * normal[rays]
    hidden = shadowed(primitives, look, points, met.group[rays])
    cosine[asked] = cosine[asked] * ~hidden
    return cosine


def _illuminate(look: Look, albedo: Tensor, normal: Tensor, lit: Tensor) -> Tensor:
    """Sun plus an ambient light that is weaker from below and towards walls' feet."""
    ambient = normal.new_tensor(look.ambient) * (0.72 + 0.28 * normal[:, 2:])
    return albedo * (normal.new_tensor(look.sun) * lit[:, None] + ambient)
