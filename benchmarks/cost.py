"""What a glance costs, stage by stage: multiplications, bytes moved, time and peak memory.

Example::

    python benchmarks/cost.py --preset base --device cuda:0

Weights are random and the glance is of the procedural world. Bytes are the sizes of all that the
tensor operations read and write, as if nothing stayed in a cache.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from distillnerf_ros.config import PRESETS, preset
from distillnerf_ros.device import resolve_device
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.world.frames import glance
from distillnerf_ros.world.scene import make_scene


class ByteCounter(TorchDispatchMode):
    """Adds up the bytes of every operation's tensors; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in tree_leaves((args, kwargs, out)):
                if isinstance(leaf, torch.Tensor):
                    self.bytes += leaf.numel() * leaf.element_size()
        return out


def measure(work: Callable[[], Any], device: torch.device) -> tuple[Any, str]:
    """Run a stage three times: for its time, its multiplications and its bytes."""
    gpu = device.type == "cuda"
    if gpu:
        work()
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    result = work()
    if gpu:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    with FlopCounterMode(display=False) as flops:
        work()
    with ByteCounter() as moved:
        work()
    count = flops.get_total_flops() / 1e9
    return result, f"{seconds * 1000:>9.1f} {count:>10.2f} {moved.bytes / 1e9:>9.2f}"


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:0")
    parser.add_argument("--seed", type=int, default=7000, help="of the street")
    args = parser.parse_args()
    device, config = resolve_device(args.device), preset(args.preset)
    size = (config.backbone.image_height_px, config.backbone.image_width_px)
    rig = glance(make_scene(args.seed), 2.0, image_size=size).rig.to(device)
    torch.manual_seed(0)
    model = DistillNeRF(config).eval().to(device)
    rows = (config.render.ray_rows, config.render.ray_cols)
    print(f"{args.preset}, six images of {size[1]}x{size[0]}, {device}")
    print(f"{'stage':<28}{'ms':>9} {'GFLOP':>10} {'GB moved':>9}")
    stages: dict[str, Any] = {}

    def stage(name: str, work: Callable[[], Any]) -> Any:
        stages[name], line = measure(work, device)
        print(f"{name:<28}{line}", flush=True)
        return stages[name]

    features, context = stage("backbone", lambda: model.backbone(rig))
    coarse = stage("stage 1, coarse depth", lambda: model.coarse_depth(features))
    fine = stage("stage 2, candidates", lambda: model.fine_depth(coarse))
    field = stage("lift, splat, sparse layers", lambda: model.fuse(rig, coarse, fine, context))
    stage("six depth images", lambda: model.render_depth(field, rig, rows))
    stage("colour, depth, features", lambda: model.render(field, rig))
    print(f"{field.grid.coarse_count} coarse and {field.grid.fine_count} fine voxels")
    if device.type == "cuda":
        print(f"peak GPU memory {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {peak:.2f} GiB")


if __name__ == "__main__":
    main()
