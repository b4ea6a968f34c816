"""Choice of the compute device."""

import os

import torch

from distillnerf_ros.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Turn a device name into a device that is really there.

    Args:
        name: ``"auto"`` (a GPU if there is one, else the CPU), ``"cpu"``, ``"cuda"`` or
            ``"cuda:K"``. Without a number it is the first GPU, or that of this process where
            ``torchrun`` started several (LOCAL_RANK).

    Raises:
        ConfigError: the name is unknown, or names a GPU that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
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


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a CPU has instructions for it (AVX512-BF16, AMX); others are slower in bfloat16."""
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
