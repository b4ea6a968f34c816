"""Networks from an image to depth in local files: ONNX and TorchScript."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from distillnerf_ros.errors import CheckpointError

_NOT_METRES = ("disp", "inverse", "relative")
"""Parts of the names of outputs that are no metric depth."""
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxNetwork:
    """An ONNX file; opened anew in each process, because sessions do not survive a fork.

    Attributes:
        fixed_size: height and width of the image it takes; None if it takes any.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            CheckpointError: it is no ONNX file of one image, its output is named as something
                else than depth, or onnxruntime is not installed.
        """
        self._path = path
        self._session: Any = None
        self._process = -1
        session = self._opened()
        inputs = session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _FLOATS:
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise CheckpointError(
                f"{path} takes {found or 'nothing'}; expected one float image (1, 3, h, w)"
            )
        self._input = inputs[0].name
        self._number = _FLOATS[inputs[0].type]
        batch, channels, rows, cols = inputs[0].shape
        if _other(batch, 1) or _other(channels, 3):
            raise CheckpointError(f"{path} takes {inputs[0].shape}; expected (1, 3, h, w)")
        whole = isinstance(rows, int) and isinstance(cols, int)
        self.fixed_size: tuple[int, int] | None = (rows, cols) if whole else None
        self._output = _depth_output(path, [output.name for output in session.get_outputs()])

    def __reduce__(self) -> tuple[type["OnnxNetwork"], tuple[Path]]:
        """Another process opens the file itself."""
        return OnnxNetwork, (self._path,)

    def _opened(self) -> Any:
        """This process's session."""
        if self._process != os.getpid():
            self._session, self._process = _open_session(self._path), os.getpid()
        return self._session

    def __call__(self, image: Float[Tensor, "1 3 h w"]) -> Tensor:
        """What the network says of a normalised image.

        Raises:
            CheckpointError: it fails.
        """
        session = self._opened()
        array = np.ascontiguousarray(image.numpy().astype(self._number))
        try:
            said = session.run([self._output], {self._input: array})[0]
        except Exception as error:  # onnxruntime's errors share no other base
            raise _failed(self._path, image, error) from error
        return torch.from_numpy(np.asarray(said, np.float32))


def _open_session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckpointError(
            f"opening {path} needs onnxruntime: pip install 'distillnerf_ros[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        providers = onnxruntime.get_available_providers()
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no other base
        raise CheckpointError(f"{path} is no ONNX file that can be run: {error}") from error


def _other(found: object, wanted: int) -> bool:
    """Whether a dimension is fixed to something else; names and None stand for any size."""
    return isinstance(found, int) and found != wanted


def _depth_output(path: Path, names: list[str]) -> str:
    """The output that is named depth, else the first."""
    chosen = next((name for name in names if "depth" in name.lower()), names[0])
    if any(part in chosen.lower() for part in _NOT_METRES):
        raise CheckpointError(
            f"{path} says {chosen!r}; expected metric depth: networks of disparity or relative "
            "depth cannot be used"
        )
    return chosen


class ScriptNetwork:
    """A TorchScript file, on the CPU.

    Attributes:
        fixed_size: None; such a file does not say what size it takes.
    """

    fixed_size: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            CheckpointError: it is no TorchScript.
        """
        self._path = path
        try:
            self._module = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} is no TorchScript file ({str(error).splitlines()[0]}); expected what "
                "torch.jit.save writes (not a state dictionary), or a file that ends in .onnx"
            ) from error

    def __reduce__(self) -> tuple[type["ScriptNetwork"], tuple[Path]]:
        """Another process opens the file itself."""
        return ScriptNetwork, (self._path,)

    def __call__(self, image: Float[Tensor, "1 3 h w"]) -> Tensor:
        """What the network says of a normalised image: its first output, or the one named depth.

        Raises:
            CheckpointError: it fails, or says no tensor.
        """
        try:
            said = self._module(image)
        except RuntimeError as error:
            raise _failed(self._path, image, error) from error
        if isinstance(said, dict):
            said = said[_depth_output(self._path, list(said))]
        elif isinstance(said, tuple | list):
            said = said[0]
        if not isinstance(said, Tensor):
            raise CheckpointError(f"{self._path} says {type(said).__name__}; expected a tensor")
        return said


def _failed(path: Path, image: Tensor, error: Exception) -> CheckpointError:
    cause = str(error).strip().splitlines()[-1]  # TorchScript's first lines are a traceback
    return CheckpointError(
        f"{path} fails on an image of {tuple(image.shape)} ({cause[:300]}); give a size that it "
        "takes (--mono-size), often a multiple of 14 or 32"
    )
