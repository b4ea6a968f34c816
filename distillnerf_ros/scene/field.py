"""The field of a scene: what stands, what moves and how, the sky, and the cameras' exposure.

After EmerNeRF (Yang et al. 2024): a static field of space, a moving field of space and time whose
features are gathered along learnt velocities, densities that add up, a shadow that moving things
throw on standing ones, and a sky by direction. Colour is decoded once per ray from the composited
latent instead of once per sample.

Scene frame: x forward, y left, z up, metres: base_link at the keyframe in the middle of the
drive. Times are seconds since the scene's first image.
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillnerf_ros.scene.config import SceneConfig
from distillnerf_ros.scene.encoding import SimplexGrid
from distillnerf_ros.scene.proposals import ProposalGrid
from distillnerf_ros.voxels.contraction import Contraction
from distillnerf_ros.voxels.field import FieldSample, density_from_logit

_EMPTY_LOGIT = -3.5
"""Density begins at exp(-4.5), 0.01 per metre: rays see through the scene at first."""
CLEAR_PROPOSAL = 0.25
"""Cap per metre on what the shared renderer is told: cells begin up to their edge before their
surface, and its intervals of 0.2 m may each take all that is left of a ray."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a scene's field says of points.

    Attributes:
        static: (P,) extinction per metre of what stands.
        moving: (P,) extinction per metre of what moves.
        latent: (P, C) of both, mixed by density.
        shade: (P,) share of light that moving things take from what stands.
    """

    static: Float[Tensor, " P"]
    moving: Float[Tensor, " P"]
    latent: Float[Tensor, "P C"]
    shade: Float[Tensor, " P"]

    @property
    def density(self) -> Float[Tensor, " P"]:
        """Extinction per metre of both."""
        return self.static + self.moving

    @property
    def shadow(self) -> Float[Tensor, " P"]:
        """Share of the colour that is lost: shadows fall on what stands alone."""
        return self.shade * self.static / self.density


class SceneField(nn.Module):
    """A ``Field`` in the scene frame; without a time it is what stands, alone.

    :meth:`at` gives the field of one moment, which renderer, queries and edits can use.
    """

    def __init__(self, config: SceneConfig) -> None:
        """Make an empty scene; weights come from torch's global source of chance."""
        super().__init__()
        self.config = config
        self.contraction = Contraction(config.inner_m, config.alpha)
        cells = [config.cells(edge) for edge in config.static_cells_m]
        self.static = SimplexGrid(list(cells), config.static_rows, config.channels)
        moving = [(*config.cells(e), config.steps(s)) for e, s in config.moving_cells]
        self.moving = SimplexGrid(list(moving), config.moving_rows, config.channels)
        flow = (*config.cells(config.flow_cell[0]), config.steps(config.flow_cell[1]))
        self.flow_grid = SimplexGrid([flow], config.moving_rows, 4)
        self.static_head = _mlp(self.static.width, 32, 1 + config.latent)
        self.moving_head = _mlp(self.moving.width, 32, 2 + config.latent)
        self.flow_head = _mlp(4, 16, 6)
        self.color_head = _mlp(config.latent + 9, 32, 3)
        self.feature_head = nn.Linear(config.latent, config.features) if config.features else None
        sky = [(count, count, count) for count in config.sky_cells]
        self.sky_grid = SimplexGrid(list(sky), config.static_rows, config.channels)
        self.sky_head = _mlp(9 + self.sky_grid.width, 32, 3)
        knots = max(2, round(config.duration_s / config.exposure_knot_s) + 1)
        self.exposure = nn.Parameter(torch.zeros(len(config.cameras), knots, 3))
        self.vignette = nn.Parameter(torch.zeros(len(config.cameras)))
        space_m, time_s = config.moving_proposal
        self.proposals = ProposalGrid(
            config.cells(config.proposal_m), (config.steps(time_s), *config.cells(space_m))
        )
        for parameter in self.flow_head[-1].parameters():  # nothing moves until it must
            nn.init.zeros_(parameter)

    def unit(self, points_m: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
        """Scene metres to the unit cube, by contraction."""
        return (self.contraction.contract(points_m) + 1) / 2

    def parts(self, points_m: Float[Tensor, "P 3"], time_s: Float[Tensor, " P"] | None) -> Parts:
        """Everything about points at their times; without times, of what stands alone."""
        unit = self.unit(points_m)
        raw = self.static_head(self.static(unit))
        static, latent = _density(raw[:, 0]), raw[:, 1:]
        nothing = torch.zeros_like(static)
        if time_s is None:
            return Parts(static, nothing, latent, nothing)
        share = time_s / self.config.duration_s
        here = self.proposals.may_move(unit, share).nonzero()[:, 0]
        raw = self.moving_head(self._moving_features(points_m[here], unit[here], time_s[here]))
        found = _density(raw[:, 0])
        moving = nothing.index_put((here,), found)
        part = (found / (found + static[here]))[:, None]
        mixed = latent.index_put((here,), torch.lerp(latent[here], raw[:, 2:], part))
        shade = nothing.index_put((here,), torch.sigmoid(raw[:, 1] - 3))
        return Parts(static, moving, mixed, shade)

    def flow(
        self, points_m: Float[Tensor, "P 3"], time_s: Float[Tensor, " P"]
    ) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
        """Velocity of what moves, in m/s: towards the next moment, and towards the one before."""
        return self._flow(self.unit(points_m), time_s)

    def _flow(self, unit: Tensor, time_s: Tensor) -> tuple[Tensor, Tensor]:
        ahead, back = self.flow_head(self.flow_grid(self._spacetime(unit, time_s))).chunk(2, -1)
        return 10 * ahead, 10 * back

    def _spacetime(self, unit: Tensor, time_s: Tensor) -> Tensor:
        return torch.cat([unit, (time_s / self.config.duration_s)[:, None]], dim=-1)

    def _moving_features(self, points_m: Tensor, unit: Tensor, time_s: Tensor) -> Tensor:
        """Features of now and of where things were and will be (EmerNeRF's aggregation)."""
        ahead, back = self._flow(unit, time_s)
        step_s = self.config.moving_cells[-1][1]
        later = self.unit(points_m + ahead * step_s)
        sooner = self.unit(points_m + back * step_s)
        places = torch.cat([unit, later, sooner])
        times = torch.cat([time_s, time_s + step_s, time_s - step_s])
        now, after, before = self.moving(self._spacetime(places, times)).chunk(3)
        return 0.5 * now + 0.25 * (after + before)

    def color(
        self, latent: Float[Tensor, "*shape C"], directions: Float[Tensor, "*shape 3"]
    ) -> Float[Tensor, "*shape 3"]:
        """Colour in 0..1, before exposure."""
        seen = torch.cat([latent, harmonics(directions)], dim=-1)
        return torch.sigmoid(self.color_head(seen))

    def features(self, latent: Float[Tensor, "*shape C"]) -> Float[Tensor, "*shape F"]:
        """Foundation features; of width 0 where none were fitted."""
        return latent[..., :0] if self.feature_head is None else self.feature_head(latent)

    def sky(self, directions: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Colour in 0..1 of what lies beyond everything, before exposure."""
        unit = F.normalize(directions, dim=-1).reshape(-1, 3)
        fine = self.sky_grid((unit + 1) / 2).reshape(*directions.shape[:-1], -1)
        return torch.sigmoid(self.sky_head(torch.cat([harmonics(directions), fine], dim=-1)))

    def gain(
        self,
        camera: Int[Tensor, " R"],
        time_s: Float[Tensor, " R"],
        radius: Float[Tensor, " R"],
    ) -> Float[Tensor, "R 3"]:
        """What a camera multiplies colours by.

        Args:
            camera: index into ``config.cameras``.
            time_s: when it fired; the exposure is linear in time between knots.
            radius: squared distance from the image's middle, 1 at the end of its wider side.
        """
        last = self.exposure.shape[1] - 1
        place = (time_s / self.config.duration_s).clamp(0, 1) * last
        low = place.long().clamp(max=last - 1)
        share = (place - low)[:, None]
        steps = torch.lerp(self.exposure[camera, low], self.exposure[camera, low + 1], share)
        return torch.exp(steps + (self.vignette[camera] * radius)[:, None])

    def at(self, time_s: float) -> "Moment":
        """The field of one moment."""
        return Moment(self, time_s)

    def forward(
        self,
        points_m: Float[Tensor, "*shape 3"],
        directions: Float[Tensor, "*shape 3"] | None = None,
        time: float | None = None,
    ) -> FieldSample:
        """Density, colour and features; seen from above where no direction is given."""
        shape, flat = points_m.shape[:-1], points_m.reshape(-1, 3)
        parts = self.parts(flat, None if time is None else torch.full_like(flat[:, 0], time))
        down = flat.new_tensor([0.0, 0.0, -1.0]).expand(len(flat), 3)
        views = down if directions is None else directions.reshape(-1, 3)
        rgb = self.color(parts.latent, views) * (1 - parts.shadow[:, None])
        features = self.features(parts.latent)
        return FieldSample(
            parts.density.reshape(shape), rgb.reshape(*shape, 3), features.reshape(*shape, -1)
        )

    def density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Extinction per metre of what stands."""
        return self.parts(points_m.reshape(-1, 3), None).static.reshape(points_m.shape[:-1])

    def proposal_density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Largest density of what stands near each point, capped; no gradient."""
        return self.near_density(points_m, None).clamp(max=CLEAR_PROPOSAL)

    @torch.no_grad()
    def near_density(
        self,
        points_m: Float[Tensor, "*shape 3"],
        time_s: Float[Tensor, "*#shape"] | None,
        wide: bool = False,
    ) -> Float[Tensor, "*shape"]:
        """Largest density near each point, of what stands and, with times, of what moves.

        Args:
            points_m: in the scene frame.
            time_s: when; None = what stands, alone.
            wide: points lie more than a proposal cell apart.
        """
        shape = points_m.shape[:-1]
        unit = self.unit(points_m.reshape(-1, 3))
        if time_s is not None:
            time_s = time_s.expand(shape).reshape(-1) / self.config.duration_s
        return self.proposals.density(unit, time_s, wide).reshape(shape)


@dataclasses.dataclass(frozen=True)
class Moment:
    """A ``Field``: a scene at one time.

    Attributes:
        scene: the scene's field.
        time_s: seconds since the scene's begin.
        scene_from_frame: (4, 4) where the points' frame lies in the scene; None = is the scene's.
    """

    scene: SceneField
    time_s: float
    scene_from_frame: Float[Tensor, "4 4"] | None = None

    def seen_from(self, scene_from_frame: Float[Tensor, "4 4"]) -> "Moment":
        """The same moment in another frame, for example that of the vehicle."""
        return Moment(self.scene, self.time_s, scene_from_frame)

    def __call__(
        self,
        points_m: Float[Tensor, "*shape 3"],
        directions: Float[Tensor, "*shape 3"] | None = None,
        time: float | None = None,
    ) -> FieldSample:
        """Density, colour and features; ``time`` stands in for the moment's own."""
        turned = directions
        if directions is not None and self.scene_from_frame is not None:
            turned = directions @ self.scene_from_frame[:3, :3].T
        return self.scene(self._placed(points_m), turned, self.time_s if time is None else time)

    def density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Extinction per metre."""
        flat = self._placed(points_m).reshape(-1, 3)
        parts = self.scene.parts(flat, torch.full_like(flat[:, 0], self.time_s))
        return parts.density.reshape(points_m.shape[:-1])

    def proposal_density(self, points_m: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape"]:
        """Largest density near each point, capped; no gradient."""
        time_s = points_m.new_tensor(self.time_s).expand(points_m.shape[:-1])
        near = self.scene.near_density(self._placed(points_m), time_s)
        return near.clamp(max=CLEAR_PROPOSAL)

    def sky(self, directions: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 3"]:
        """Colour in 0..1 of what lies beyond everything, before exposure."""
        if self.scene_from_frame is not None:
            directions = directions @ self.scene_from_frame[:3, :3].T
        return self.scene.sky(directions)

    def _placed(self, points_m: Tensor) -> Tensor:
        if self.scene_from_frame is None:
            return points_m
        pose = self.scene_from_frame
        return points_m @ pose[:3, :3].T + pose[:3, 3]


def harmonics(directions: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 9"]:
    """Products up to degree 2 of the unit direction: a basis of the spherical harmonics."""
    unit = F.normalize(directions, dim=-1)
    x, y, z = unit.unbind(-1)
    products = [torch.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1]
    return torch.stack(products, dim=-1)


def _density(logit: Tensor) -> Tensor:
    """Extinction per metre, of the voxel field's activation."""
    return density_from_logit(logit + _EMPTY_LOGIT)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
