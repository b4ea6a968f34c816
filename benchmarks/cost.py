"""What a glance costs, stage by stage: time, multiplications, bytes moved and peak memory.

Example::

    OMP_NUM_THREADS=1 python benchmarks/cost.py --preset base

Weights are random, the glance is of the procedural world, and stage 1's depth is replaced by the
true one, so that as many voxels exist as a trained model finds. Operations are the multiplications
and additions of convolutions, matrix products and weighted gathers. Bytes are all that the tensor
operations read and write, as if nothing stayed in a cache; of a table that is gathered from, the
rows that are read. "Bound" is the shortest time in which this machine could do either, by a matrix
product and a copy that are timed in the same run.

``--device meta`` computes nothing: it counts operations, bytes and memory, in chunks and with as
many rows as a GPU would take, within seconds on any machine.
"""

import argparse
import dataclasses
import resource
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from distillnerf_ros import model as model_page
from distillnerf_ros.config import PRESETS, preset
from distillnerf_ros.device import resolve_device
from distillnerf_ros.lift.coarse_depth import CoarseDepth
from distillnerf_ros.model import DistillNeRF
from distillnerf_ros.voxels import sparse_conv
from distillnerf_ros.voxels.grid import SparseGrid
from distillnerf_ros.world.frames import Glance, glance
from distillnerf_ros.world.scene import make_scene


@dataclasses.dataclass
class Cost:
    """Of one stage: seconds, operations, bytes moved, and the most bytes of tensors at a time."""

    seconds: float = 0.0
    operations: float = 0.0
    moved: float = 0.0
    peak: float = 0.0


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operations move, and watches those that tensors hold."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = self.held = self.peak = 0
        self.bag_operations = 0
        self._owners: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        made = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        if name in ("index_select", "index", "gather", "embedding"):
            self.moved += sum(map(_bytes, given[1:])) + 2 * _bytes(made[0])
        elif name.startswith("_embedding_bag"):
            table, rows = given[0], given[1].numel()
            self.moved += sum(map(_bytes, given[1:])) + _bytes(made[0])
            self.moved += rows * table.shape[1] * table.element_size()
            self.bag_operations += 2 * rows * table.shape[1]
        elif not func.is_view:
            self.moved += sum(map(_bytes, given + made))
        for tensor in made:
            self._hold(tensor)
        return out

    def _hold(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._owners:
            self._owners[key] = 0
            self.held += size
            self.peak = max(self.peak, self.held)
        self._owners[key] += 1
        weakref.finalize(tensor, self._let_go, key, size)

    def _let_go(self, key: int, size: int) -> None:
        self._owners[key] -= 1
        if not self._owners[key]:
            del self._owners[key]
            self.held -= size


class Profile:
    """The costs of a model's stages, by wrapping them where the model calls them."""

    def __init__(self, model: DistillNeRF, device: torch.device) -> None:
        """Wrap the stages; they do not call one another."""
        self._costs: dict[str, Cost] = {}
        self._device = device
        self._flops, self._traffic = FlopCounterMode(display=False), Traffic()
        self._counting = False
        net = model.voxel_net
        stages: list[tuple[str, Any, str]] = [
            ("backbone", model.backbone, "forward"),
            ("stage 1: coarse depth", model.coarse_depth, "forward"),
            ("stage 2: candidates", model.fine_depth, "forward"),
            ("lift", model_page, "lift"),
            ("grid", model_page, "build_grid"),
            ("splat", model_page, "splat_mean"),
            ("neighbours", SparseGrid, "coarse_neighbors"),
            ("neighbours", SparseGrid, "fine_neighbors"),
            *(("fine convolutions", layer, "forward") for layer in net.fine),
            ("fine to coarse", net.down, "forward"),
            ("coarse convolutions", net.coarse_in, "forward"),
            *(("coarse convolutions", layer, "forward") for layer in net.coarse),
            ("density complement", model_page, "complement_density"),
            ("first pass", model_page, "image_edges"),
            ("second pass", model_page, "render_rays"),
            ("decoder", model, "decode"),
        ]
        if net.birds_eye is not None:
            stages.append(("look from above", net.birds_eye, "forward"))
            stages.append(("look from above", sparse_conv, "proposed_cells"))
        for name, owner, attribute in stages:
            setattr(owner, attribute, self._wrapped(name, getattr(owner, attribute)))

    def _wrapped(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            return self._measure(name, lambda: work(*args, **kwargs))

        return measured

    def _measure(self, name: str, work: Callable[[], Any]) -> Any:
        traffic, cost = self._traffic, self._costs.setdefault(name, Cost())
        before, traffic.peak = self._read(), traffic.held
        result = work()
        after = self._read()
        cost.seconds += (after[0] - before[0]) * (not self._counting)
        cost.operations += after[1] - before[1]
        cost.moved += after[2] - before[2]
        cost.peak = max(cost.peak, traffic.peak)
        return result

    def _read(self) -> tuple[float, float, float]:
        operations = 0
        if self._counting:
            operations = self._flops.get_total_flops() + self._traffic.bag_operations
        return seconds(self._device), operations, self._traffic.moved

    def run(self, work: Callable[[], Any]) -> tuple[Any, dict[str, Cost]]:
        """Run a pass twice, for its time and for the rest; what no stage does is "else"."""
        self._costs = {}
        start = seconds(self._device)
        work()
        spent = seconds(self._device) - start
        self._counting = True
        with self._traffic, self._flops:
            before = self._read()
            result = work()
            after = self._read()
        self._counting = False
        other = Cost(spent, after[1] - before[1], after[2] - before[2])
        for cost in self._costs.values():
            other.seconds -= cost.seconds
            other.operations -= cost.operations
            other.moved -= cost.moved
        return result, {**self._costs, "everything else": other}


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def seconds(device: torch.device) -> float:
    """A clock; on one CPU thread it stands still while other processes have the core."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def machine(device: torch.device) -> tuple[float, float]:
    """Operations per second of a matrix product, bytes per second of a copy; best of several."""
    size = 1024 if device.type == "cpu" else 8192
    a, big = torch.randn(size, size, device=device), torch.zeros(1 << 26, device=device)
    other = torch.empty_like(big)

    def best(work: Callable[[], Any]) -> float:
        work()
        times = []
        for _ in range(5):
            start = seconds(device)
            work()
            times.append(seconds(device) - start)
        return min(times)

    return 2 * size**3 / best(lambda: a @ a), 2 * _bytes(big) / best(lambda: other.copy_(big))


def pooled_depth(made: Glance, size: tuple[int, int]) -> torch.Tensor:
    """(N, h, w) true depth of a glance in metres along the optical axis, NaN for sky."""
    depth = torch.as_tensor(made.depth_m)[:, None]
    return torch.nn.functional.interpolate(depth, size, mode="nearest")[:, 0]


def give_true_depth(model: DistillNeRF, made: Glance) -> None:
    """Let stage 1 say the true depth of the glance's pixels."""

    def hook(_module: Any, _args: Any, coarse: CoarseDepth) -> CoarseDepth:
        rows, cols = coarse.depth_m.shape[1:]
        depth = pooled_depth(made, (rows, cols)).to(coarse.depth_m)
        sky = ~depth.isfinite()
        depth, opacity = torch.where(sky, 120.0, depth), 1.0 - sky.to(depth)
        return dataclasses.replace(coarse, depth_m=depth, opacity=opacity)

    model.coarse_depth.register_forward_hook(hook)


def report(costs: dict[str, Cost], limits: tuple[float, float] | None) -> None:
    """Print a table, and how near each stage comes to what the machine can do."""
    head = ("GFLOP", "GB", "peak GB", "s", "GFLOP/s", "GB/s", "bound s", "of it")
    print(f"{'stage':<24}" + "".join(f"{word:>9}" for word in head[: 8 if limits else 3]))
    for name, cost in costs.items():
        line = f"{cost.operations / 1e9:9.2f}{cost.moved / 1e9:9.2f}{cost.peak / 1e9:9.2f}"
        if limits:
            bound = max(cost.operations / limits[0], cost.moved / limits[1])
            spent = max(cost.seconds, 1e-9)
            rates = cost.operations / spent / 1e9, cost.moved / spent / 1e9
            line += f"{spent:9.3f}{rates[0]:9.1f}{rates[1]:9.1f}{bound:9.3f}{bound / spent:9.0%}"
        print(f"{name:<24}{line}")
    whole = [sum(getattr(c, key) for c in costs.values()) for key in ("operations", "moved")]
    line = f"{'in all':<24}{whole[0] / 1e9:9.2f}{whole[1] / 1e9:9.2f}"
    print(line + f"{'':9}{sum(c.seconds for c in costs.values()):9.3f}" * bool(limits), flush=True)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda:0, or meta")
    parser.add_argument("--seed", type=int, default=7000, help="of the street")
    args = parser.parse_args()
    counted = args.device == "meta"
    device = torch.device("meta") if counted else resolve_device(args.device)
    config = preset(args.preset)
    size = (config.backbone.image_height_px, config.backbone.image_width_px)
    made = glance(make_scene(args.seed), 2.0, image_size=size)
    rig = made.rig.to(device)
    torch.manual_seed(0)
    model = DistillNeRF(config).eval().to(device)
    if not counted:
        give_true_depth(model, made)
    limits = None if counted else machine(device)
    print(f"{args.preset}, six images of {size[1]}x{size[0]}, {device}")
    if limits:
        print(f"the machine: {limits[0] / 1e9:.0f} GFLOP/s, {limits[1] / 1e9:.1f} GB/s")
    weights = sum(map(_bytes, model.parameters()))
    print(f"weights {weights / 1e9:.2f} GB")
    profile = Profile(model, device)
    field, costs = profile.run(lambda: model.fuse(rig, *model.depth_stages(rig)))
    print(f"\nencode: {field.grid.coarse_count} coarse and {field.grid.fine_count} fine rows")
    report(costs, limits)
    print("\nrender colour, depth and features")
    report(profile.run(lambda: model.render(field, rig))[1], limits)
    if device.type == "cuda":
        print(f"peak GPU memory {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB")
    if not counted:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"peak memory of the process {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
