"""A device that is not the CPU, on a machine without one: numbers that say they lie elsewhere.

Every operation is done by the CPU, but as strictly as a GPU would take it: tensors of two devices
do not mix, NumPy cannot read from the device, chance comes from the device's own generator, and
integers have no matrix product. What runs here has all its tensors where they belong; whether a
GPU is fast, or has enough memory, is not told.
"""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_NAME = "pretend"
_COPIES = {"copy_", "_to_copy", "_copy_from"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "convolution"}
_CPU = torch.device("cpu")


class _Backend:
    """What ``torch.pretend`` answers about the device."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None:
        pass

    def _is_in_bad_fork(self) -> bool:
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend(_NAME, _Backend())
DEVICE = torch.device(_NAME, 0)
done: Counter[str] = Counter()
"""Operations that were done there, by name."""


class OnGpu(torch.Tensor):
    """Shares its memory with ``host``, and says that it lies on the device."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> "OnGpu":
        made = torch.Tensor._make_subclass(cls, host, host.requires_grad, dispatch_device=True)
        made.host = host
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy")
        return self.detach().cpu().numpy()

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None, **kwargs: Any) -> Any:
        return torch.tensor(data, dtype=dtype or self.dtype, device=DEVICE, **kwargs)

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnGpu":
        if id(self) not in memo:
            made = self.detach().clone().requires_grad_(self.requires_grad)
            memo[id(self)] = torch.nn.Parameter(made) if hasattr(self, "_is_param") else made
        return memo[id(self)]

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else repr(self)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnGpu({self.host!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"a tensor of {DEVICE} is handed to another process or a pickle")


class PretendGpu(TorchDispatchMode):
    """While open, tensors can be made on and moved to :data:`DEVICE`."""

    def __enter__(self) -> "PretendGpu":
        # Parameters change their class when they move; lists become tensors before they move.
        self._swapped = torch.__future__.get_swap_module_params_on_conversion()
        self._lifted = torch._C._only_lift_cpu_tensors()
        torch.__future__.set_swap_module_params_on_conversion(True)
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self._lifted)
        torch.__future__.set_swap_module_params_on_conversion(self._swapped)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    if func is torch.ops.prim.device.default:
        return DEVICE
    if _comes_apart(func):  # in inference mode operations come before they are taken apart
        with PretendGpu():
            return func.decompose(*args, **kwargs)
    tensors: list[torch.Tensor] = []
    known: dict[int, torch.Tensor] = {}

    def to_host(tensor: torch.Tensor) -> torch.Tensor:
        host = tensor.host if isinstance(tensor, OnGpu) else tensor
        tensors.append(tensor)
        known[id(host)] = tensor
        return host

    host_args, host_kwargs = _mapped(args, to_host), _mapped(kwargs, to_host)
    device = kwargs.get("device")
    on_gpu = any(isinstance(tensor, OnGpu) for tensor in tensors)
    if device is not None:
        on_gpu, host_kwargs["device"] = torch.device(device).type == _NAME, _CPU
    _check(func, args, kwargs, tensors, on_gpu)
    done[func.overloadpacket.__name__] += on_gpu
    made = func(*host_args, **host_kwargs)

    def back(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in known:  # worked in place, on whichever device
            same = known[id(tensor)]
            assert same is tensor or same.shape == tensor.shape, f"{func} changes a shape"
            return same
        return OnGpu(tensor) if on_gpu else tensor

    return _mapped(made, back)


@functools.cache
def _comes_apart(func: Any) -> bool:
    return func._can_decompose()


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same with all tensors changed, in whatever lists, tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) is dict:
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(item, change) for item in value])
    return value


def _check(func: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor], on_gpu: bool) -> None:
    """Refuse what a GPU would refuse.

    Raises:
        RuntimeError: tensors of both devices, the CPU's generator for the device's numbers, or
            products of integers.
    """
    name = func.overloadpacket.__name__
    if on_gpu and name in _PRODUCTS and not args[0].dtype.is_floating_point:
        raise RuntimeError(f"{name} is not implemented for {args[0].dtype} on {DEVICE}")
    generator = kwargs.get("generator")
    if on_gpu and generator is not None and generator.device == _CPU:
        raise RuntimeError(f"{name} on {DEVICE} draws from a generator of the CPU")
    if name in _COPIES:
        return
    if name in _INDEXED and isinstance(args[0], OnGpu):
        tensors = [args[0], *args[2:3]]  # indices may lie on the CPU
    places = {isinstance(tensor, OnGpu) for tensor in tensors if tensor.dim() > 0}
    scalars_there = any(isinstance(t, OnGpu) for t in tensors if t.dim() == 0)
    if len(places) > 1 or (places == {False} and scalars_there and name in _INDEXED):
        shapes = [(tuple(t.shape), str(t.device)) for t in tensors]
        raise RuntimeError(f"{name} of tensors on two devices: {shapes}")
