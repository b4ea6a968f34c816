"""Trains and judges the model with one component left out at a time, and writes a table.

Example::

    distillnerf world --out runs/unseen --scenes 5 --seed 7000 --seconds 3 --size 800x450
    python benchmarks/ablation.py --steps 600 --dataroot runs/unseen --out runs/ablation
    # a third of the time:
    python benchmarks/ablation.py --steps 600 --dataroot runs/unseen --out runs/ablation_small \
        --set backbone.image_height_px=64 --set backbone.image_width_px=112 \
        --set render.ray_rows=32 --set render.ray_cols=56

Every row trains for the same number of steps on the same glances with the same seed, from random
weights. Finished rows are kept: an interrupted table goes on.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

DENSE_TERMS = ("coarse_bins", "coarse_depth", "candidates", "depth")
DIRECT_TERMS = ("occupancy", "lidar_occupancy", "blocks")
ROWS: dict[str, list[str]] = {
    "full": [],
    "no cross view": ["--set", "backbone.cross_view_blocks=0"],
    "no two-stage depth": ["--set", "fine_depth.candidates=1"],
    "no density complement": [
        *("--set", "voxels.complement=false"),
        *("--set", "voxels.completion=false"),
    ],
    "no look from above": ["--set", "voxels.birds_eye_channels=0"],
    "no decoder": ["--set", "render.decoder=false"],
    "no paint": ["--set", "render.paint=false"],
    "no depth distillation": ["--lidar-only"],
    "no contraction": ["--set", "grid.linear=true"],
    "no direct 3D supervision": [
        *(word for term in DIRECT_TERMS for word in ("--loss", f"{term}=0")),
        *("--set", "voxels.birds_eye_channels=0"),
    ],
    "no camera dropout": ["--drop-camera", "0"],
    "no virtual views": ["--no-virtual"],
    "no features": ["--no-features"],
    "no colour": ["--loss", "rgb=0", "--loss", "virtual_rgb=0"],
}
COLUMNS = (
    ("AbsRel", ("depth", "abs_rel"), 3),
    ("delta1", ("depth", "d1"), 3),
    ("IoU", ("occupancy", "iou"), 3),
    ("mIoU_15", ("occupancy", "miou_15"), 3),
    ("mAP", ("query", "map"), 3),
    ("PSNR, dB", ("reconstruction", "psnr"), 2),
    ("novel view PSNR, dB", ("novel_view", "psnr"), 2),
)


def distillnerf(*words: str) -> None:
    """Run a verb."""
    subprocess.run([sys.executable, "-m", "distillnerf_ros.cli", *words], check=True)


def row(name: str, args: argparse.Namespace) -> dict:
    """Figures of one row, trained and judged unless they are there."""
    folder = args.out / f"{name.replace(' ', '_')}_{args.seed}"
    figures = folder / "figures.json"
    if not figures.is_file():
        common = ["--preset", args.preset, "--steps", str(args.steps), "--seed", str(args.seed)]
        common += [word for change in args.set for word in ("--set", change)]
        data = ["--scenes", str(args.scenes), "--cache", str(args.out / "cache")]
        distillnerf("train", "--out", str(folder), *common, *data, *ROWS[name])
        weights = str(folder / "weights.safetensors")
        judge = ["--dataroot", str(args.dataroot), "--every", str(args.every)]
        distillnerf("eval", "--weights", weights, "--json", str(figures), *judge)
    return json.loads(figures.read_text())


def cell(content: dict, path: tuple[str, ...], digits: int) -> str:
    value = content
    for key in path:
        value = value[key]
    return "-" if value is None else f"{value:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataroot", type=Path, required=True, help="scenes to judge on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; resumes")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="for every row"
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--scenes", type=int, default=100, help="scenes to train on")
    parser.add_argument("--every", type=int, default=3, help="judge every K-th keyframe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=tuple(ROWS))
    args = parser.parse_args()
    lines = ["| | " + " | ".join(title for title, _, _ in COLUMNS) + " |"]
    lines.append("|---|" + "---|" * len(COLUMNS))
    for name in args.rows:
        content = row(name, args)
        cells = [cell(content, path, digits) for _, path, digits in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
