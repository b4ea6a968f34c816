"""Choice of the compute device."""

import ctypes

import torch

from distillnerf_ros.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""


def resolve_device(name: str) -> torch.device:
    """Turn a device name into a device that is really there.

    Args:
        name: ``"auto"`` (the first GPU if there is one, else the CPU), ``"cpu"``, ``"cuda"`` or
            ``"cuda:K"``.

    Raises:
        ConfigError: the name is unknown, or names a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} is unknown; use auto, cpu or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r} is not supported; use auto, cpu or cuda:0")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r} asked for, but PyTorch sees {torch.cuda.device_count()} GPUs; "
            "use device:=cpu, or install a CUDA build of torch"
        )
    return device


def keep_memory() -> None:
    """Let the C library keep freed memory for reuse instead of giving it back to the system.

    Tensors of some megabytes come fresh from the system each time otherwise, and clearing their
    pages costs a quarter of a training step on a CPU. Does nothing where the C library is not
    glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
