"""What can be watched of long work: a bar, a curve, pictures, and TensorBoard."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from distillnerf_ros.errors import DistillNerfError
from distillnerf_ros.files import json_lines, whole_file

Picture8 = UInt8[np.ndarray, "height width 3"]
_LOG_EVERY = 50


class Progress:
    """Shows and keeps the running means of a loss's terms.

    TensorBoard's log is written if ``tensorboardX`` is installed.
    """

    def __init__(
        self,
        out: Path,
        steps: int,
        step: int,
        error: type[DistillNerfError],
        elapsed_s: float = 0.0,
        enabled: bool = True,
    ) -> None:
        """Open the folder of a run.

        Args:
            out: the folder.
            steps: how many it takes at most.
            step: steps taken already.
            error: what is raised where something cannot be written.
            elapsed_s: what those steps took.
            enabled: False in all processes but the first: nothing is shown or written.
        """
        self._out, self._error, self._enabled = out, error, enabled
        self._curve = out / "curve.jsonl"
        self._mean: dict[str, float] = {}
        self._started = time.monotonic() - elapsed_s
        self._bar = tqdm(
            total=steps, initial=step, unit="step", smoothing=0.02, disable=not enabled
        )
        self._board = _tensorboard(out / "tensorboard") if enabled else None
        if enabled:
            self._rewind(step)

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

    def add(self, step: int, terms: dict[str, float], **figures: float) -> None:
        """Take in the terms of a step, and figures that are kept as they are.

        Raises:
            DistillNerfError: of the given kind; the curve cannot be written.
        """
        for key, value in terms.items():
            self._mean[key] = 0.98 * self._mean.get(key, value) + 0.02 * value
        self._bar.update()
        self._bar.set_postfix({k: f"{v:.3f}" for k, v in self._mean.items()}, refresh=False)
        if not self._enabled or step % _LOG_EVERY:
            return
        seconds = round(time.monotonic() - self._started, 1)
        line = {"step": step, "seconds": seconds} | figures | self._mean
        try:
            with self._curve.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise self._error(f"{self._curve} cannot be written: {error}") from error
        if self._board is not None:
            for key, value in self._mean.items():
                self._board.add_scalar(f"loss/{key}", value, step)
            for key, value in figures.items():
                self._board.add_scalar(key, value, step)

    def _rewind(self, step: int) -> None:
        """Forget the steps after the state that is gone on from: they are taken again."""
        if not self._curve.is_file():
            return
        lines = json_lines(self._curve.read_bytes())
        known = [line for line in lines if line["step"] <= step]
        if len(known) < len(lines):
            with whole_file(self._curve, self._error) as part:
                part.write_text("".join(json.dumps(line) + "\n" for line in known))

    def show(self, step: int, name: str, picture: Picture8) -> None:
        """Write a picture into ``pictures/`` and TensorBoard.

        Raises:
            DistillNerfError: of the given kind; it cannot be written.
        """
        path = self._out / "pictures" / f"{name}_{step:06d}.png"
        write_picture(path, picture, self._error)
        if self._board is not None:
            self._board.add_image(name, picture, step, dataformats="HWC")


def write_picture(path: Path, picture: Picture8, error: type[DistillNerfError]) -> None:
    """Write a PNG, and its folder where there is none.

    Raises:
        DistillNerfError: of the given kind; it cannot be written.
    """
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture[..., ::-1]):
        raise error(f"{path} cannot be written; is the disk full?")


def _tensorboard(folder: Path) -> Any:
    """A writer of TensorBoard's log; None where ``tensorboardX`` is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
