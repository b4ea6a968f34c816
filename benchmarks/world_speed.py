"""Times one keyframe of the procedural world: six pictures with depth, classes and lidar.

Example::

    python benchmarks/world_speed.py --scenes 3
"""

import argparse
import statistics
import time

import torch

from distillnerf_ros.device import resolve_device
from distillnerf_ros.world.frames import glance
from distillnerf_ros.world.occupancy import occupancy_truth
from distillnerf_ros.world.scene import make_scene

SIZES = ((128, 224), (225, 400), (450, 800))
STAMPS_S = (2.0, 5.0)


def clock(work, device: torch.device) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, busy = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - busy


def report(name: str, times: list[tuple[float, float]]) -> None:
    wall, busy = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name:<28} wall {wall:6.2f} s   processor {busy:6.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=2, help="number of scenes to time")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda:0")
    args = parser.parse_args()
    device = resolve_device(args.device)
    print(f"{torch.get_num_threads()} threads, {device}")
    made = [clock(lambda k=k: make_scene(k), device) for k in range(args.scenes)]
    scenes = [make_scene(k) for k in range(args.scenes)]
    report("make_scene", made)
    for size in SIZES:
        glance(scenes[0], 1.0, size, device)
        times = [
            clock(lambda s=s, t=t, size=size: glance(s, t, size, device), device)
            for s in scenes
            for t in STAMPS_S
        ]
        report(f"glance {size[1]}x{size[0]}", times)
    times = [clock(lambda s=s: occupancy_truth(s, 3.0), device) for s in scenes]
    report("occupancy_truth", times)


if __name__ == "__main__":
    main()
