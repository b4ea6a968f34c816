"""Puts the weights of a CLIP into one with more layers and wider blocks that then says the same.

New hidden units and new layers between the old ones start with outputs of zero: a residual block
then passes on what it is given (the idea of Net2Net, Chen et al., ICLR 2016). What was learnt is
kept, and there is more room to learn in.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from distillnerf_ros.errors import CheckpointError

_BLOCKS = "visual.transformer.resblocks."
_OUTPUTS = ("attn.out_proj.weight", "attn.out_proj.bias", "mlp.c_proj.weight", "mlp.c_proj.bias")
_WIDER = ("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight")


def grown(small: Mapping[str, Tensor], large: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the larger model that says what the smaller one says.

    Args:
        small: state of the smaller model.
        large: state of the larger one, whose values are kept where they change nothing.

    Raises:
        CheckpointError: they differ in more than the depth of the image tower and the width of
            its blocks, or the larger is the smaller.
    """
    old, new = _depth(small), _depth(large)
    place = {round((layer + 1) * new / old) - 1: layer for layer in range(old)}
    if new < old:
        raise CheckpointError(f"the weights have {old} layers, the model {new}: none is left out")
    state = {}
    for name, value in large.items():
        if not name.startswith(_BLOCKS):
            state[name] = _fitted(name, small.get(name), value)
            continue
        number, _, part = name.removeprefix(_BLOCKS).partition(".")
        if int(number) in place:
            source = small.get(f"{_BLOCKS}{place[int(number)]}.{part}")
            state[name] = _fitted(part, source, value)
        else:
            state[name] = torch.zeros_like(value) if part in _OUTPUTS else value.clone()
    return state


def _depth(state: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[3] for name in state if name.startswith(_BLOCKS)})


def _fitted(name: str, source: Tensor | None, target: Tensor) -> Tensor:
    """An old tensor in the shape of a new one: nobody listens to hidden units that are added."""
    if source is not None and source.shape == target.shape:
        return source.to(target)
    axis = int(name == "mlp.c_proj.weight")
    more = -1 if source is None else target.shape[axis] - source.shape[axis]
    if source is None or more < 0 or name not in _WIDER:
        got = "not there" if source is None else tuple(source.shape)
        raise CheckpointError(
            f"{name} is {got} in the weights and {tuple(target.shape)} in the model; only depth "
            "and the blocks' inner width of the image tower may grow"
        )
    added = target.narrow(axis, source.shape[axis], more)
    return torch.cat([source.to(target), torch.zeros_like(added) if axis else added], dim=axis)
