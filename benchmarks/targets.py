r"""Trains on lidar alone, on distilled targets and on truth, judges each, and writes a table.

Example::

    distillnerf world --out runs/drives --scenes 6 --seed 8000 --seconds 4 --size 400x225
    for scene in 8000 8001 8002 8003 8004 8005; do
        distillnerf scene --dataroot runs/drives --scene scene-$scene --out runs/fit_$scene \
            --minutes 15 --size 224x128 --hold-out 0 --export runs/targets
    done
    distillnerf world --out runs/unseen --scenes 5 --seed 7000 --seconds 3 --size 800x450 \
        --no-sweeps
    python benchmarks/targets.py --dataroot runs/drives --targets runs/targets \
        --eval-root runs/unseen --steps 600 --out runs/targets_table

All rows train for the same number of steps on the same keyframes with the same seed, from random
weights. Truth is cast anew in the procedural world, for the same cameras and the same moved ones,
and written in the layout of an export, so that it is read just as distilled targets are. Depth is
judged at lidar points and, by the world's truth, in every pixel, as the paper's table 2 does both.
Finished rows and keyframes are kept: an interrupted table goes on.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ablation import COLUMNS, cell, distillnerf
from tqdm import tqdm

from distillnerf_ros.cameras import CameraRig
from distillnerf_ros.config import preset
from distillnerf_ros.data import nuscenes
from distillnerf_ros.errors import TrainingError
from distillnerf_ros.files import whole_file
from distillnerf_ros.scene.export import FORMAT, OFFSETS_M
from distillnerf_ros.scene.truth import world_settings
from distillnerf_ros.world.frames import Glance, glance
from distillnerf_ros.world.scene import Scene, make_scene

DENSE_COLUMNS = (
    ("AbsRel, every pixel", ("depth", "dense", "abs_rel"), 3),
    ("delta1, every pixel", ("depth", "dense", "d1"), 3),
    ("sky taken for a surface", ("depth", "dense", "sky_hit"), 3),
    ("surfaces taken for sky", ("depth", "dense", "no_hit"), 4),
)
DIFFERENT = 0.1
"""Mean difference of images of other streets (0.18 measured); of the same: 0.02, 0.04 at 80x45."""


def export_truth(dataroot: Path, out: Path, image_size: tuple[int, int]) -> None:
    """Cast the targets of every keyframe of a procedural data set; goes on where it stopped."""
    nusc = nuscenes.open_dataset(dataroot)
    settings = world_settings(nusc)
    if settings is None:
        raise SystemExit(f"{dataroot} is no procedural world: nobody knows its truth")
    work = []
    for record in nusc.scene:
        header = {
            "format": FORMAT,
            "scene": record["name"],
            "size": list(image_size),
            "offsets_m": [list(offset) for offset in OFFSETS_M],
            "field": "truth",
        }
        folder = out / record["name"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scene.json").write_text(json.dumps(header, indent=1))
        times = settings.keyframe_times_s()
        for token, time_s in zip(nuscenes.keyframes(nusc, record), times, strict=True):
            work.append((record["name"], folder / f"{token}.npz", time_s))
    for name, path, time_s in tqdm(work, desc="truth", unit="keyframe"):
        if not path.is_file():
            scene = make_scene(int(name.removeprefix("scene-")), settings.seconds)
            seen = glance(scene, time_s, image_size)
            _same(seen, nuscenes.load_glance(nusc, path.stem, image_size), name)
            arrays = _targets(seen, scene, time_s)
            with whole_file(path, TrainingError) as part, part.open("wb") as file:
                np.savez_compressed(file, **arrays)


def _same(cast: Glance, stored: CameraRig, name: str) -> None:
    """Refuse a data set that an earlier version of the world wrote: its truth is gone."""
    error = float((cast.rig.images - stored.images).abs().mean())
    if error > DIFFERENT:
        raise SystemExit(
            f"the images of {name} differ from what the world shows there ({error:.2f} on the "
            f"mean, expected less than {DIFFERENT}); write the data set again"
        )


def _targets(seen: Glance, scene: Scene, time_s: float) -> dict[str, np.ndarray]:
    """What ``SceneTargets`` says a file holds, as the world knows it."""
    size = seen.rig.image_size
    moved = [glance(scene, time_s, size, offset_m=offset) for offset in OFFSETS_M]
    depth = np.stack([_depth(view) for view in moved])
    images = np.stack([view.rig.images.numpy() for view in moved])
    return {
        "names": np.array(seen.rig.names),
        "depth_m": _depth(seen),
        "sky": np.isinf(_depth(seen)),
        "intrinsics": seen.rig.intrinsics.numpy(),
        "virtual_rgb": (images * 255).round().astype(np.uint8),
        "virtual_depth_m": depth,
        "virtual_valid": np.ones(depth.shape, bool),
        "virtual_pose": np.stack([view.rig.ego_from_camera.numpy() for view in moved]),
    }


def _depth(seen: Glance) -> np.ndarray:
    """(N, H, W) float16; the world knows that a ray that hits nothing sees the sky."""
    return np.nan_to_num(seen.depth_m.numpy(), nan=np.inf, posinf=np.inf).astype(np.float16)


def row(name: str, options: list[str], args: argparse.Namespace) -> dict:
    """Figures of one row, trained and judged unless they are there."""
    folder = args.out / f"{name.replace(' ', '_')}_{args.steps}_{args.seed}"
    figures = folder / "figures.json"
    if not figures.is_file():
        common = ["--preset", args.preset, "--steps", str(args.steps), "--seed", str(args.seed)]
        data = ["--data", "nuscenes", "--dataroot", str(args.dataroot)]
        data += ["--cache", str(args.out / "cache"), *(["--half"] if args.half else [])]
        distillnerf("train", "--out", str(folder), *common, *data, *options)
        judge = ["--dataroot", str(args.eval_root), "--every", str(args.every)]
        judge += ["--targets", str(args.out / "truth_unseen")]
        weights = str(folder / "weights.safetensors")
        distillnerf("eval", "--weights", weights, "--json", str(figures), *judge)
    return json.loads(figures.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataroot", type=Path, required=True, help="procedural scenes, fitted")
    parser.add_argument("--targets", type=Path, required=True, help="their exports")
    parser.add_argument("--eval-root", type=Path, required=True, help="scenes to judge on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; resumes")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--every", type=int, default=1, help="judge every K-th keyframe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", action="store_true", help="train in bfloat16")
    args = parser.parse_args()
    backbone = preset(args.preset).backbone
    truth = args.out / "truth"
    size = (backbone.image_height_px, backbone.image_width_px)
    export_truth(args.dataroot, truth, size)
    export_truth(args.eval_root, args.out / "truth_unseen", size)
    rows = {
        "lidar alone": [],
        "distilled": ["--targets", str(args.targets)],
        "truth": ["--targets", str(truth)],
    }
    columns = (*DENSE_COLUMNS, *COLUMNS)
    lines = ["| depth from | " + " | ".join(title for title, _, _ in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for name, options in rows.items():
        content = row(name, options, args)
        cells = [cell(content, path, digits) for _, path, digits in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
