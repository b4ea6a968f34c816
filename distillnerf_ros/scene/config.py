"""What shapes a per-scene field."""

import dataclasses
import json
from typing import Any

from distillnerf_ros.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class SceneConfig:
    """Extent, cameras and sizes of a scene's field.

    Attributes:
        inner_m: end of the uncontracted part along x, y, z of the scene frame.
        duration_s: seconds from the scene's begin (time 0) to its end.
        cameras: camera names; each has its own exposure.
        alpha: share of each half axis that the uncontracted part takes.
        static_cells_m: cell edges of the levels of the static grid, in the uncontracted part.
        moving_cells: cell edge (metres) and duration (seconds) of the levels of the moving grid.
        flow_cell: the same of the grid of velocities.
        sky_cells: cells from -1 to 1 along each axis of a direction, of the levels of the sky's
            grid: about 10 and 3 degrees, for clouds. Without them clouds become fog in the scene.
        static_rows: rows per level of the static grid, a power of two; the sky's have no more.
        moving_rows: the same of the moving grid.
        channels: features per level.
        latent: width of what is composited along rays and then decoded to colour.
        features: width of foundation features; 0 for none.
        proposal_m: cell edge of the grid that places samples.
        moving_proposal: cell edge (metres) and duration (seconds) where things may move.
        exposure_knot_s: time between two knots of each camera's exposure.
        near_m: depth where rays begin.
        far_m: depth where rays end.
        intervals: intervals per ray of the first pass.
        samples: samples per ray of the second pass.
    """

    inner_m: tuple[float, float, float]
    duration_s: float
    cameras: tuple[str, ...]
    alpha: float = 0.8
    static_cells_m: tuple[float, ...] = (3.2, 1.4, 0.6, 0.28, 0.12, 0.05)
    moving_cells: tuple[tuple[float, float], ...] = ((2.0, 1.0), (0.8, 0.5), (0.3, 0.25))
    flow_cell: tuple[float, float] = (1.6, 0.5)
    sky_cells: tuple[int, ...] = (12, 40)
    static_rows: int = 1 << 19
    moving_rows: int = 1 << 17
    channels: int = 4
    latent: int = 16
    features: int = 0
    proposal_m: float = 0.4
    moving_proposal: tuple[float, float] = (0.8, 0.25)
    exposure_knot_s: float = 0.5
    near_m: float = 0.5
    far_m: float = 150.0
    intervals: int = 96
    samples: int = 20

    def to_json(self) -> str:
        """As text, for the file of the weights."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "SceneConfig":
        """Read what :meth:`to_json` wrote.

        Raises:
            ConfigError: not JSON, or of another version of this package.
        """
        try:
            data = json.loads(text)
            return cls(**{key: _tuples(value) for key, value in data.items()})
        except (json.JSONDecodeError, TypeError, AttributeError) as error:
            raise ConfigError(f"the scene's configuration cannot be read: {error}") from error

    def cells(self, edge_m: float) -> tuple[int, int, int]:
        """Cells of an edge along the contracted axes x, y, z."""
        counts = (max(2, round(2 * inner / (self.alpha * edge_m))) for inner in self.inner_m)
        x, y, z = counts
        return x, y, z

    def steps(self, duration_s: float) -> int:
        """Cells of a duration along the time axis."""
        return max(1, round(self.duration_s / duration_s))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
