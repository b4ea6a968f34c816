"""What can be watched of a training: a bar, a curve, pictures, and TensorBoard."""

import json
import time
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from jaxtyping import UInt8
from tqdm import tqdm

from distillnerf_ros.data.check import depth_colors
from distillnerf_ros.errors import TrainingError
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.scene.progress import tensorboard
from distillnerf_ros.training.samples import TrainSample
from distillnerf_ros.training.schedule import Schedule

_LOG_EVERY = 50
_PICTURED_CAMERAS = 3


class Progress:
    """Shows and keeps the running means of a training's terms."""

    def __init__(self, out: Path, schedule: Schedule, step: int, enabled: bool = True) -> None:
        """Open the run's folder; TensorBoard's log is written if ``tensorboardX`` is installed.

        Args:
            out: folder of the run.
            schedule: how long it takes.
            step: steps taken already.
            enabled: False in all processes but the first.
        """
        self._out, self._schedule, self._enabled = out, schedule, enabled
        self._mean: dict[str, float] = {}
        self._started = time.monotonic()
        self._bar = tqdm(
            total=schedule.steps, initial=step, unit="step", smoothing=0.02, disable=not enabled
        )
        self._board = tensorboard(out / "tensorboard") if enabled else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        if self._board is not None:
            self._board.close()

    def add(self, step: int, terms: dict[str, float]) -> None:
        """Take in the terms of a step."""
        for key, value in terms.items():
            self._mean[key] = 0.98 * self._mean.get(key, value) + 0.02 * value
        self._bar.update()
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in self._mean.items()}, refresh=False)
        if not self._enabled or step % _LOG_EVERY:
            return
        line = {
            "step": step,
            "seconds": round(time.monotonic() - self._started, 1),
            "learning_rate": self._schedule.rate(step),
        }
        with (self._out / "curve.jsonl").open("a") as file:
            file.write(json.dumps(line | self._mean) + "\n")
        if self._board is not None:
            for key, value in self._mean.items():
                self._board.add_scalar(f"loss/{key}", value, step)
            self._board.add_scalar("learning_rate", line["learning_rate"], step)

    def draw(self, step: int, model: DistillNeRF, sample: TrainSample) -> None:
        """Draw what the model makes of a glance, into ``pictures/`` and TensorBoard.

        Raises:
            TrainingError: the picture cannot be written.
        """
        import cv2

        picture = draw_glance(model, sample)
        path = self._out / "pictures" / f"step_{step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        if not cv2.imwrite(str(path), picture[..., ::-1]):
            raise TrainingError(f"{path} cannot be written; is the disk full?")
        if self._board is not None:
            self._board.add_image("glance", picture, step, dataformats="HWC")


@torch.no_grad()
def draw_glance(model: DistillNeRF, sample: TrainSample) -> UInt8[np.ndarray, "height width 3"]:
    """One column per camera; rows: image, rendered colour, depth, and what it should have been.

    Depth: near red, far blue; black where there is sky, or nothing is known.
    """
    rig = sample.rig.present()
    rendered = model.render(model.encode(rig), rig)
    height, width = rig.image_size
    truth = sample.depth_m[sample.rig.valid]
    columns = []
    for camera in range(min(_PICTURED_CAMERAS, len(rig.names))):
        colors = (rig.images[camera], rendered.rgb[camera])
        rows = [(c.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy() for c in colors]
        for depth in (rendered.depth_m[camera], truth[camera]):
            rows.append(_depth_picture(depth.cpu().numpy(), (width, height)))
        columns.append(np.concatenate(rows))
    return np.concatenate(columns, axis=1)


def _depth_picture(depth_m: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    picture = np.zeros((*depth_m.shape, 3), np.uint8)
    hit = np.isfinite(depth_m)
    picture[hit] = depth_colors(depth_m[hit])
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
