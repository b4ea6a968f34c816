"""Fitting a scene's field: batches, steps, and the state that lets a run go on."""

import dataclasses
import hashlib
import json
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from distillnerf_ros.cameras import Rays
from distillnerf_ros.errors import CheckpointError, SceneError
from distillnerf_ros.scene import losses
from distillnerf_ros.scene.config import SceneConfig
from distillnerf_ros.scene.features import LogFeatures
from distillnerf_ros.scene.field import SceneField
from distillnerf_ros.scene.log import SceneLog
from distillnerf_ros.scene.march import CameraBundle, Marched, colors, features, march
from distillnerf_ros.scene.motion import mark_moving, moving_returns
from distillnerf_ros.scene.state import FORMAT, fill_field, read_tensors, write_tensors
from distillnerf_ros.scene.views import pixel_bundle

PATH_MARGIN_M = 50.0
"""Space is uncontracted up to here around the vehicle's path."""
HEIGHT_M = 8.0
"""The same above and below it."""
WARM_UP_STEPS = 300
"""Lidar alone shapes the field at first: colour would paint everything onto the sky."""
WARM_UP_BEAMS = 4
"""So many times as many beams per step meanwhile."""
_RETURNS_EVERY = 4
_BEAM_POINTS = 6
"""Points per beam that are told free or solid."""
_INSIDE_M = 0.2
_CLEAR_M = 0.4
"""A return is solid so far behind it; free are points so far before it and more."""
_REFRESH_EVERY = 16
_REFRESH_POINTS = 1 << 16
_NOTHING = "none"
"""Of what a fit was not given; states that do not know of it were not given it either."""


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """How a scene is fitted.

    Attributes:
        pixels: camera rays per step.
        beams: lidar rays per step.
        rate: learning rate of the grids at the begin; that of the networks is half of it.
        final: share of it that is left at the end.
        depth: weight of the depth of lidar returns.
        sight: weight of their line of sight.
        returns: weight of solid and free points on their beams.
        separation: weight of what their motion says.
        transience: weight of the moving part's opacity.
        sky: weight of sky masks.
        half: weight of half opacity.
        clearness: weight of any opacity.
        ground: weight of what rays that point down lack of it.
        features: weight of foundation features.
        seed: of every source of chance.
    """

    pixels: int = 2048
    beams: int = 1024
    rate: float = 1e-2
    final: float = 0.05
    depth: float = 0.1
    sight: float = 0.1
    returns: float = 0.02
    separation: float = 0.02
    transience: float = 0.002
    sky: float = 0.01
    half: float = 0.001
    clearness: float = 0.001
    ground: float = 0.03
    features: float = 0.1
    seed: int = 0


def config_of(log: SceneLog, features: int = 0) -> SceneConfig:
    """A field's configuration for a log: uncontracted around the vehicle's path."""
    reach = log.path_m.abs().amax(dim=0)
    inner = tuple(
        float(r) + margin
        for r, margin in zip(reach, (PATH_MARGIN_M, PATH_MARGIN_M, HEIGHT_M), strict=True)
    )
    duration_s = max(log.duration_s, 0.1)
    return SceneConfig((inner[0], inner[1], inner[2]), duration_s, log.cameras, features=features)


class Fitter:
    """One field, its log, and the optimiser between them."""

    def __init__(
        self,
        log: SceneLog,
        config: SceneConfig,
        settings: FitSettings,
        device: torch.device,
        teacher: LogFeatures | None = None,
    ) -> None:
        """Prepare a field that knows nothing yet but where lidar returns move.

        Args:
            log: the scene.
            config: of the field.
            settings: of the fit.
            device: where to compute.
            teacher: foundation features of images, ``config.features`` wide.
        """
        self.log, self.settings, self.device, self.teacher = log, settings, device, teacher
        torch.manual_seed(settings.seed)
        self.field = SceneField(config)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.step, self.elapsed_s = 0, 0.0
        self._fitted = (~log.held_out).nonzero()[:, 0]
        sweeps = log.sweeps
        if sweeps is not None:
            self._moving = moving_returns(sweeps)
            near = mark_moving(self.field, sweeps, self._moving)
            # Returns near moving ones are taken for standing ones too easily to be told so.
            self._known = self._moving | ~near
        self.field.to(device)
        tables = [p for name, p in self.field.named_parameters() if name.endswith("table")]
        others = [p for name, p in self.field.named_parameters() if not name.endswith("table")]
        groups = [{"params": tables, "share": 1.0}, {"params": others, "share": 0.5}]
        self.optimizer = torch.optim.Adam(groups, lr=settings.rate, eps=1e-12, fused=True)

    def take_step(self, progress: float) -> dict[str, float]:
        """One step.

        Args:
            progress: share of the whole fit that is done, for the learning rate.

        Returns:
            Each term of the loss.

        Raises:
            SceneError: the loss is not a number.
        """
        for group in self.optimizer.param_groups:
            rate = self.settings.rate * self.settings.final ** min(1.0, progress)
            group["lr"] = rate * group["share"] * min(1.0, (self.step + 1) / 50)
        terms = self._terms(progress)
        total = sum(terms.values(), start=torch.zeros((), device=self.device))
        if not torch.isfinite(total):
            raise SceneError(
                f"the loss is {total.item()} at step {self.step}; expected a finite number: "
                "continue from the last state with a smaller --rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.step += 1
        if self.step % _REFRESH_EVERY == 0:
            self._refresh()
        return {key: value.detach().item() for key, value in terms.items()}

    def _terms(self, progress: float) -> dict[str, Tensor]:
        """One march for pixels and beams: each would make gradients of the whole tables."""
        warm_up = self.step < WARM_UP_STEPS
        beams = self._draw_beams(self.settings.beams * (WARM_UP_BEAMS if warm_up else 1))
        if beams is not None and warm_up:
            return {"returns": self._returns_term(beams)}
        frame, pixel = self._draw_pixels()
        bundle = camera_bundle(self.log, frame, pixel, self.device)
        rays, times = bundle.rays, bundle.times_s
        if beams is not None:
            origins = torch.cat([rays.origins, beams.rays.origins])
            rays = Rays(origins, torch.cat([rays.directions, beams.rays.directions]))
            times = torch.cat([times, beams.times_s])
        marched = self._march(rays, times)
        terms = self._camera_terms(marched.rows(0, len(frame)), bundle, frame, pixel)
        if beams is not None:
            terms |= self._lidar_terms(marched.rows(len(frame), len(times)), beams, progress)
            if self.step % _RETURNS_EVERY == 0:
                terms["returns"] = self.settings.returns * self._returns_term(beams)
        return terms

    def _returns_term(self, beams: "_Beams") -> Tensor:
        """Points just behind each return, and anywhere before it: near it, and uniformly."""
        count = len(beams.ranges_m)
        draw = torch.rand(count, _BEAM_POINTS, generator=self.generator).to(self.device)
        ranges = beams.ranges_m[:, None]
        clear = (ranges - _CLEAR_M).clamp(min=0.1)
        far = torch.cat([ranges + _INSIDE_M * draw[:, :1], clear * draw[:, 1:]], dim=1)
        far[:, 1] = (clear[:, 0] - 3.0 * draw[:, 1]).clamp(min=0.1)
        points = beams.rays.at(far).reshape(-1, 3)
        parts = self.field.parts(points, beams.times_s[:, None].expand_as(far).reshape(-1))
        at_return = torch.zeros_like(far, dtype=torch.bool)
        at_return[:, 0] = True
        return losses.returns(parts, beams.moving, beams.known, at_return)

    def _camera_terms(
        self, marched: Marched, bundle: CameraBundle, frame: Tensor, pixel: Tensor
    ) -> dict[str, Tensor]:
        seen = self.log.images.flatten(2)[frame, :, pixel].to(self.device) / 255.0
        rgb = (colors(self.field, marched, bundle) - seen).square().mean()
        s, opacity = self.settings, marched.opacity
        terms = {
            "rgb": rgb,
            "transience": s.transience * losses.transience(marched),
            "half": s.half * losses.half_opacity(opacity),
            "clearness": s.clearness * losses.clearness(opacity),
            "ground": s.ground * losses.ground(opacity, bundle.rays.directions),
        }
        if self.log.sky is not None:
            sky = self.log.sky.flatten(1)[frame, pixel].to(self.device)
            terms["sky"] = s.sky * losses.sky_loss(opacity, sky)
        if self.teacher is not None:
            wanted, known = self.teacher.at(frame, pixel, self.log.image_size)
            said = features(self.field, marched)
            error = losses.feature_error(
                said, wanted.to(self.device), known.to(self.device), opacity
            )
            terms["features"] = s.features * error
        return terms

    def _draw_beams(self, number: int) -> "_Beams | None":
        sweeps = self.log.sweeps
        if sweeps is None:
            return None
        count = len(sweeps.points_m)
        index = torch.randint(count, (number,), generator=self.generator)
        rays, ranges = sweeps.rays(index)
        return _Beams(
            Rays(rays.origins.to(self.device), rays.directions.to(self.device)),
            ranges.to(self.device),
            sweeps.times_s[sweeps.sweep[index]].to(self.device),
            self._moving[index].to(self.device),
            self._known[index].to(self.device),
        )

    def _lidar_terms(
        self, marched: Marched, beams: "_Beams", progress: float
    ) -> dict[str, Tensor]:
        width_m = max(0.3, 2.0 * 0.1**progress)
        s = self.settings
        return {
            # Later more: a mean depth that is too far would be mended by fog before the surface.
            "depth": s.depth
            * min(1.0, 2 * progress)
            * losses.depth_error(marched, beams.ranges_m),
            "sight": s.sight * losses.line_of_sight(marched, beams.ranges_m, width_m),
            "separation": s.separation * losses.separation(marched, beams.moving, beams.known),
        }

    def _march(self, rays: Rays, times_s: Tensor) -> Marched:
        samples = self.field.config.samples
        marched = march(self.field, rays, times_s, samples, self.generator)
        unit = self.field.unit(marched.points_m.detach().reshape(-1, 3))
        share = times_s[:, None].expand_as(marched.depth_m).reshape(-1)
        share = share / self.field.config.duration_s
        parts = marched.parts
        self.field.proposals.raise_to(unit, share, parts.static.detach(), parts.moving.detach())
        return marched

    def _draw_pixels(self) -> tuple[Int[Tensor, " R"], Int[Tensor, " R"]]:
        height, width = self.log.image_size
        count = self.settings.pixels
        chosen = torch.randint(len(self._fitted), (count,), generator=self.generator)
        pixel = torch.randint(height * width, (count,), generator=self.generator)
        return self._fitted[chosen], pixel

    @torch.no_grad()
    def _refresh(self) -> None:
        """Let the proposals forget, and look anywhere."""
        grid = self.field.proposals
        grid.fade()
        unit, share = grid.draw(_REFRESH_POINTS, self.generator)
        points = self.field.contraction.expand(unit * 2 - 1)
        parts = self.field.parts(points, share * self.field.config.duration_s)
        grid.raise_to(unit, share, parts.static, parts.moving)
        grid.summarise()

    def save(self, path: Path) -> None:
        """Write everything a run needs to go on; the file appears whole or not at all.

        Raises:
            SceneError: it cannot be written.
        """
        tensors = {f"field.{k}": v for k, v in self.field.state_dict().items()}
        tensors["generator"] = self.generator.get_state()
        for number, state in self.optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"adam.{number}.{key}"] = value
        progress = {"step": str(self.step), "elapsed_s": repr(self.elapsed_s)}
        write_tensors(path, tensors, {"format": FORMAT} | self._identity() | progress)

    def _identity(self) -> dict[str, str]:
        """What a state belongs to."""
        images = (self.log.tokens, self.log.held_out.tolist(), self.log.image_size)
        sky = self.log.sky
        return {
            "scene": self.log.name,
            "images": _digest(repr(images).encode()),
            "sky masks": _NOTHING if sky is None else _digest(sky.numpy().tobytes()),
            "features": _NOTHING if self.teacher is None else self.teacher.name,
            "config": self.field.config.to_json(),
            "settings": json.dumps(dataclasses.asdict(self.settings)),
        }

    def restore(self, path: Path) -> None:
        """Go on from a state.

        Raises:
            CheckpointError: it is damaged, or of another scene, log or settings.
        """
        metadata, tensors = read_tensors(path)
        wanted = self._identity()
        for key, value in wanted.items():
            found = metadata.get(key, _NOTHING)
            if found != value:
                raise CheckpointError(
                    f"{path} was written for {key} {found}, now asked for {value}; "
                    "give another --out, or remove it"
                )
        fill_field(self.field, tensors, path)
        self.generator.set_state(tensors["generator"])
        state = self.optimizer.state_dict()
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, number, key = name.split(".")
                state["state"].setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict(state)
        self.step, self.elapsed_s = int(metadata["step"]), float(metadata["elapsed_s"])


def _digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Beams:
    """Lidar rays with unit directions, ranges and stamps; whether they met motion; if known."""

    rays: Rays
    ranges_m: Float[Tensor, " R"]
    times_s: Float[Tensor, " R"]
    moving: Bool[Tensor, " R"]
    known: Bool[Tensor, " R"]


def camera_bundle(
    log: SceneLog, frame: Int[Tensor, " R"], pixel: Int[Tensor, " R"], device: torch.device
) -> CameraBundle:
    """Rays through pixels (row * width + column) of frames of a log."""
    bundle = pixel_bundle(
        log.intrinsics[frame],
        log.scene_from_camera[frame],
        log.camera[frame],
        log.times_s[frame],
        pixel,
        log.image_size,
    )
    return bundle.to(device)
