"""Trains on one keyframe until it is known by heart: does the whole model learn from real data?

Example::

    python benchmarks/overfit_frame.py --dataroot /data/nuscenes --out runs/one_frame --steps 700

A third of the lidar points is held back. Prints the colour's PSNR at the training resolution, and
depth AbsRel at the lidar points that were trained on and at those that were held back.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from distillnerf_ros.cli import main as distillnerf
from distillnerf_ros.data import nuscenes
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.training.metrics import depth_errors, psnr
from distillnerf_ros.training.nuscenes_samples import NuScenesSamples, held_back
from distillnerf_ros.training.pictures import draw_glance
from distillnerf_ros.training.truth import LidarTruth

HOLD_BACK = 3
RGB_WEIGHT = 3
"""Weight of colour, whose aim takes longest: 28.3 dB after 900 steps with a weight of 1."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataroot", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--half", action="store_true", help="train in bfloat16")
    parser.add_argument("--start-from", help="weights to start from; default: random ones")
    args = parser.parse_args()
    words = ["train", "--data", "nuscenes", "--dataroot", str(args.dataroot)]
    words += ["--hold-back", str(HOLD_BACK), "--no-augment", "--steps", str(args.steps)]
    words += ["--loss", f"rgb={RGB_WEIGHT}"]
    words += ["--out", str(args.out), "--cache", str(args.out / "cache")]
    words += ["--half"] if args.half else []
    words += ["--start-from", args.start_from] if args.start_from else []
    if distillnerf(words):
        raise SystemExit(1)
    pipeline = Pipeline.load(str(args.out / "weights.safetensors"), "cpu")
    nusc = nuscenes.open_dataset(args.dataroot)
    token = nuscenes.keyframes(nusc, nusc.scene[0])[0]
    rig = nuscenes.load_glance(nusc, token, pipeline.image_size)
    rendered = pipeline.render(pipeline.encode(rig), rig)
    print(f"PSNR {psnr(rendered.rgb.numpy(), rig.images.numpy()):.2f} dB")
    points = nuscenes.lidar_points(nusc, token)
    held = held_back(len(points), HOLD_BACK)
    depth = rendered.depth_m.reshape(-1).numpy()
    for name, chosen in (("trained on", ~held), ("held back", held)):
        truth = LidarTruth.nearest(points[chosen], rig, pipeline.depth_size)
        errors = depth_errors(depth[truth.cells], truth.depth_m)
        print(f"lidar {name}: AbsRel {errors.abs_rel:.3f}, delta1 {errors.d1:.3f}")
    sample = NuScenesSamples(nusc, [token], pipeline.image_size)[0]
    with torch.inference_mode():
        picture: np.ndarray = draw_glance(pipeline.model, sample)
    cv2.imwrite(str(args.out / "one_frame.png"), picture[..., ::-1])


if __name__ == "__main__":
    main()
