r"""How well labels and keypoints are carried from one keyframe to another, by the world's truth.

Example::

    distillnerf world --out runs/unseen --scenes 5 --seed 7000 --seconds 3 --size 800x450 \
        --no-sweeps
    python benchmarks/transfer.py --dataroot runs/unseen --out runs/transfer.json

Labels: every pixel that hits something in one keyframe has the class of the truth; those of
another keyframe take theirs over (``carry_labels``), and are judged by their own truth where that
is of a class that both show, beside the labels that the class names give them. Keypoints: the
middle of every thing of which both keyframes show at least 12 pixels; found is it within a metre
of what it shows in the other.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from distillnerf_ros.cameras import camera_rays
from distillnerf_ros.data import nuscenes
from distillnerf_ros.pipeline import Pipeline
from distillnerf_ros.query.correspondence import Places, carry_labels, match_keypoints
from distillnerf_ros.scene.truth import world_settings
from distillnerf_ros.world.frames import glance
from distillnerf_ros.world.scene import make_scene

LEAST_PIXELS = 12
NEAR_M = 1.0
"""A keypoint is found if it is so near to what the other keyframe shows of its thing."""
SURE_M = 1.0
"""The way back of a sure keypoint ends so near to it."""


class Frame:
    """A keyframe: what the model makes of it, and the truth of every pixel that hits something."""

    def __init__(self, pipeline: Pipeline, root: Path, name: str, number: int) -> None:
        nusc = nuscenes.open_dataset(root)
        settings = world_settings(nusc)
        if settings is None:
            raise SystemExit(f"{root} is no procedural world: nobody knows its truth")
        token = nuscenes.keyframes(nusc, nuscenes.find_scene(nusc, name))[number]
        scene = make_scene(int(name.removeprefix("scene-")), settings.seconds)
        size = pipeline.depth_size
        truth = glance(scene, settings.keyframe_times_s()[number], size)
        rig = nuscenes.load_glance(nusc, token, pipeline.image_size)
        field = pipeline.encode(rig)
        seen = pipeline.render(field, rig)
        points, _, features = pipeline.occupied_voxels(field)
        rays = camera_rays(truth.rig.intrinsics, truth.rig.ego_from_camera, size, size)
        self.ends_m = rays.at(truth.depth_m.reshape(-1, 1)).reshape(-1, 3)
        known = seen.depth_m.isfinite() & truth.depth_m.isfinite()
        self.places = Places(points, features)
        self.features = seen.features.permute(0, 2, 3, 1)[known]
        self.labels = truth.labels[known].long()
        self.instances, self.classes = truth.instances.flatten(), truth.labels.flatten().long()

    def things(self) -> dict[int, Tensor]:
        """Where the pixels of each thing end."""
        ids, counts = self.instances[self.instances > 0].unique(return_counts=True)
        kept = ids[counts >= LEAST_PIXELS].tolist()
        return {number: self.ends_m[self.instances == number] for number in kept}


def judge_labels(first: Frame, second: Frame, pipeline: Pipeline, sums: dict) -> None:
    """Confusion of carried labels, and of those by class names."""
    pca = pipeline.semantics.pca
    carried = carry_labels(first.features, first.labels, second.features, pca, 0.0).labels
    named = pipeline.semantics.labels(second.features).long()
    keep = torch.isin(second.labels, first.labels)
    for name, said in (("carried", carried), ("named", named)):
        key = second.labels[keep] * 32 + said[keep]
        sums[name] = sums.get(name, 0) + torch.bincount(key, minlength=32 * 32).reshape(32, 32)


def judge_keypoints(first: Frame, second: Frame, pipeline: Pipeline, rows: list) -> None:
    """Whether each thing that both show is found."""
    here, there = first.things(), second.things()
    for number in here.keys() & there.keys():
        middle = here[number].mean(dim=0, keepdim=True)
        got = match_keypoints(middle, first.places, second.places, pipeline.semantics.pca)
        label = int(first.classes[first.instances == number].mode().values)
        alike = second.ends_m[second.classes == label]
        apart = torch.cdist(got.points_m, there[number]).min()
        rows.append(
            {
                "same": bool(apart < NEAR_M),
                "kind": bool(torch.cdist(got.points_m, alike).min() < NEAR_M),
                "sure": bool(got.return_m < SURE_M),
            }
        )


def figures(labels: dict[str, Tensor], points: list[dict]) -> dict:
    """Mean IoU and accuracy of labels; shares of keypoints that were found."""
    said: dict = {}
    for name, confusion in labels.items():
        right = confusion.diag().double()
        either = confusion.sum(0) + confusion.sum(1) - confusion.diag()
        there = confusion.sum(1) > 0
        said[f"{name}_miou"] = float((right[there] / either[there]).mean())
        said[f"{name}_accuracy"] = float(right.sum() / confusion.sum())
    for name, some in (("all", points), ("sure", [p for p in points if p["sure"]])):
        said[f"points_{name}"] = len(some)
        for key in ("same", "kind"):
            said[f"{name}_{key}"] = float(np.mean([p[key] for p in some])) if some else None
    return said


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataroot", type=Path, required=True, help="procedural scenes")
    parser.add_argument("--weights", default="tiny")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    pipeline = Pipeline.load(args.weights)
    nusc = nuscenes.open_dataset(args.dataroot)
    names = [scene["name"] for scene in nusc.scene]
    count = min(len(nuscenes.keyframes(nusc, scene)) for scene in nusc.scene)
    pairs = {"0.5 s later": [(n, 0, n, 1) for n in names]}
    pairs[f"{(count - 1) / 2:g} s later"] = [(n, 0, n, count - 1) for n in names]
    pairs["another street"] = [
        (a, 0, b, 0) for a, b in zip(names, names[1:] + names[:1], strict=True)
    ]
    frames: dict = {}
    table = {}
    for title, asked in pairs.items():
        labels: dict[str, Tensor] = {}
        points: list[dict] = []
        for a, i, b, j in tqdm(asked, desc=title):
            for key in ((a, i), (b, j)):
                if key not in frames:
                    frames[key] = Frame(pipeline, args.dataroot, *key)
            judge_labels(frames[a, i], frames[b, j], pipeline, labels)
            if a == b:
                judge_keypoints(frames[a, i], frames[b, j], pipeline, points)
        table[title] = figures(labels, points)
    args.out.write_text(json.dumps(table, indent=1))
    for title, said in table.items():
        print(title, {k: v if v is None else round(v, 3) for k, v in said.items()})


if __name__ == "__main__":
    main()
