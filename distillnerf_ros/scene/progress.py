"""What can be watched of a fit: a bar, a curve, pictures, and TensorBoard."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from distillnerf_ros.errors import SceneError
from distillnerf_ros.scene.pictures import Picture8, write_picture

_LOG_EVERY = 50


class FitProgress:
    """Shows and keeps the running means of a fit's terms.

    TensorBoard's log is written if ``tensorboardX`` is installed.
    """

    def __init__(self, out: Path, steps: int, step: int) -> None:
        """Open the folder of a fit.

        Args:
            out: the folder.
            steps: how many the fit takes at most.
            step: steps taken already.
        """
        self._out = out
        self._mean: dict[str, float] = {}
        self._bar = tqdm(total=steps, initial=step, unit="step", smoothing=0.02)
        self._board = tensorboard(out / "tensorboard")

    def __enter__(self) -> "FitProgress":
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

    def add(self, step: int, seconds: float, terms: dict[str, float]) -> None:
        """Take in the terms of a step.

        Raises:
            SceneError: the curve cannot be written.
        """
        for key, value in terms.items():
            self._mean[key] = 0.98 * self._mean.get(key, value) + 0.02 * value
        self._bar.update()
        self._bar.set_postfix({k: f"{v:.4f}" for k, v in self._mean.items()}, refresh=False)
        if step % _LOG_EVERY:
            return
        line = {"step": step, "seconds": round(seconds, 1)} | self._mean
        try:
            with (self._out / "curve.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise SceneError(f"curve.jsonl in {self._out} cannot be written: {error}") from error
        if self._board is not None:
            for key, value in self._mean.items():
                self._board.add_scalar(f"loss/{key}", value, step)

    def show(self, step: int, name: str, picture: Picture8) -> None:
        """Write a picture into ``pictures/`` and TensorBoard.

        Raises:
            SceneError: it cannot be written.
        """
        write_picture(self._out / "pictures" / f"{name}_{step:06d}.png", picture)
        if self._board is not None:
            self._board.add_image(name, picture, step, dataformats="HWC")


def tensorboard(folder: Path) -> Any:
    """A writer of TensorBoard's log; None where ``tensorboardX`` is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
