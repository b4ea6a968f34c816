"""Finds what would make the host wait for a GPU, on a machine without one.

Two ways make it wait: the host reads a value or a size that the device computes, or copies memory
of its own to the device (a Python list in ``torch.tensor``). The first are operations; the second
happen before any operation and are seen where the functions are called.
"""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import distillnerf_ros

PACKAGE = Path(distillnerf_ros.__file__).parent

_SIZES = {
    "nonzero",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "repeat_interleave",
}
"""Operations whose result has a size that the data decide."""
_VALUES = {
    "_local_scalar_dense",
    "item",
    "equal",
    "is_nonzero",
    "_linalg_check_errors",
    "linalg_inv_ex",
}
"""Operations that hand a value to the host, or check one there; `item` in inference mode alone."""
_UPLOADS = {"tensor", "new_tensor", "as_tensor", "asarray", "from_numpy"}
_DOWNLOADS = {"tolist", "numpy", "__array__", "cpu"}


class HostWaits(TorchDispatchMode):
    """While open, notes the place in the package of every wait as ``(file, function, what)``."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self._calls = _Calls(self)

    def __enter__(self) -> "HostWaits":
        self._calls.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._calls.__exit__(*error)

    def note(self, what: str) -> None:
        """Keep a wait with the innermost function of the package that is being run."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
            frame = frame.f_back
        assert frame is not None, f"{what} was called by no function of the package"
        file = Path(frame.f_code.co_filename).relative_to(PACKAGE)
        self.found.append((file.as_posix(), frame.f_code.co_name, what))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_number = func._overloadname == "self_int"  # repeat_interleave by one number
        if name in _SIZES | _VALUES and not by_number:
            self.note("a value is read" if name in _VALUES else name)
        if name.startswith(("index", "_index_put")) and len(args) > 1 and _masked(name, args):
            self.note(f"{name} by a mask")
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Notes the calls that copy between host and device without an operation to be seen."""

    def __init__(self, waits: HostWaits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _DOWNLOADS or (name in _UPLOADS and not isinstance(args[-1], torch.Tensor)):
            self._waits.note(name)
        if name in ("__getitem__", "__setitem__") and _listed(args[1]):
            self._waits.note(f"{name} by a list")
        return func(*args, **(kwargs or {}))


def _masked(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a tensor is indexed by a mask; writing one value under a mask needs no size."""
    indices = args[1] if isinstance(args[1], (list, tuple)) else ()
    mask = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
    return mask and not (name.startswith("index_put") and args[2].numel() == 1)


def _listed(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, (list, range)) for part in parts)
