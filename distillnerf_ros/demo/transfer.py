"""``distillnerf transfer``: labels and keypoints given in one keyframe are carried to another."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from distillnerf_ros.cameras import camera_rays
from distillnerf_ros.demo import canvas
from distillnerf_ros.demo.colors import label_overlay, prompt_color
from distillnerf_ros.demo.edit import looked_at, tiles
from distillnerf_ros.demo.glance import add_glance_arguments, answers
from distillnerf_ros.demo.overview import TILE_PX, tile_rows
from distillnerf_ros.demo.query import table
from distillnerf_ros.demo.snapshot import Picture
from distillnerf_ros.demo.subject import (
    Subject,
    add_fit_arguments,
    glance_subject,
    scene_subject,
)
from distillnerf_ros.errors import ConfigError, QueryError
from distillnerf_ros.pipeline import IMAGE_THRESHOLD
from distillnerf_ros.query.clusters import gather_hits
from distillnerf_ros.query.correspondence import Matches, Places, carry_labels, match_keypoints
from distillnerf_ros.query.hits import Hits
from distillnerf_ros.query.region import Region, find_things
from distillnerf_ros.render.renderer import Rendered
from distillnerf_ros.teachers.pca import Pca
from distillnerf_ros.training.cache import make_folder_of
from distillnerf_ros.training.evaluate import write_json

VERB_HELP = "carry labels and keypoints from one keyframe to another, of any street"
EXAMPLE = (
    "distillnerf transfer --dataroot /data/nuscenes --frame 0 --to-frame 5 "
    '--label-at "our van" CAM_FRONT 812 455 --point CAM_FRONT 640 500 --out transfer.png'
)
_FOUND = 1e-6
"""Whatever took a name over is found: ``--least`` has been asked before."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distillnerf transfer``."""
    add_glance_arguments(parser)
    add_fit_arguments(parser)
    what = parser.add_argument_group("what is carried; each may be given several times")
    what.add_argument(
        "--label-at",
        nargs=4,
        action="append",
        default=[],
        metavar=("NAME", "CAM", "U", "V"),
        help="the thing at a pixel has this name",
    )
    what.add_argument(
        "--label",
        nargs=7,
        action="append",
        default=[],
        metavar=("NAME", *["M"] * 6),
        help="what a box holds has this name: X Y Z of the lowest corner, the highest",
    )
    what.add_argument(
        "--point", nargs=3, action="append", default=[], metavar=("CAM", "U", "V"), help="keypoint"
    )
    where = parser.add_argument_group("where to")
    where.add_argument("--to-scene", metavar="NAME", help="default: the same")
    where.add_argument("--to-frame", type=int, metavar="K", help="default: the next keyframe")
    parser.add_argument(
        "--least", type=float, default=IMAGE_THRESHOLD, metavar="0..1", help="cosine of a label"
    )
    parser.add_argument("--out", type=Path, default=Path("transfer.png"), metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found")


def run(args: argparse.Namespace) -> int:
    """Carry over, draw both keyframes, and list what was found.

    Raises:
        CheckpointError: weights or fit cannot be loaded, or do not belong together.
        ConfigError: nothing is to be carried, a number is none or out of range, or a file cannot
            be written where asked.
        DatasetError: the data set, a scene or a keyframe is not there.
        QueryError: a pixel or box points nowhere, or there are no features.
    """
    _check(args)
    for file in filter(None, (args.out, args.json)):
        make_folder_of(file)
    first, second = (_Seen.of(given) for given in (args, target_of(args)))
    names, regions = labelled(args, first)
    points = [looked_at(words, first.subject, first.rendered)[0] for words in args.point]
    keypoints = first.places.points_m.new_tensor(points).reshape(-1, 3)
    matches = match_keypoints(keypoints, first.places, second.places, first.pca)
    hits = carry(names, regions, first, second, args.least) if names else Hits.none()
    given, found = pixel_labels(names, regions, first, second, args.least)
    rows = (
        drawn(f"given: {first.subject.name}", first.subject, given, names, keypoints),
        drawn(f"carried: {second.subject.name}", second.subject, found, names, matches.points_m),
    )
    canvas.save_png(stacked(rows, names), args.out)
    if args.json:
        write_json(args.json, figures(hits, keypoints, matches))
    print(f"{first.subject.name} -> {second.subject.name} -> {args.out}")
    print("\n".join([*([table(answers(hits))] if names else []), *point_table(matches)]))
    return 0


def _check(args: argparse.Namespace) -> None:
    if not (args.label or args.label_at or args.point):
        raise ConfigError("nothing to carry over: give --label-at, --label or --point")
    if not 0 <= args.least <= 1:
        raise ConfigError(f"--least {args.least}: expected a cosine in 0..1")


def target_of(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments of the other keyframe."""
    frame = args.frame + 1 if args.to_frame is None and args.to_scene is None else args.to_frame
    other = {"scene": args.to_scene or args.scene, "frame": frame or 0}
    return argparse.Namespace(**vars(args) | other)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A keyframe's field, what its cells hold, and what its cameras see of it."""

    subject: Subject
    places: Places
    rendered: Rendered
    pca: Pca

    @classmethod
    def of(cls, args: argparse.Namespace) -> "_Seen":
        subject = glance_subject(args) if args.fit is None else scene_subject(args)
        _, semantics = subject.asked()
        places = Places(*subject.cells())
        return cls(subject, places, subject.render(subject.field), semantics.pca)

    def ends_m(self) -> Float[Tensor, "N h w 3"]:
        """Where the ray of each rendered pixel ends; NaN where it hits nothing."""
        rig, depth = self.subject.rig, self.rendered.depth_m
        size = (depth.shape[1], depth.shape[2])
        rays = camera_rays(rig.intrinsics, rig.ego_from_camera, rig.image_size, size)
        return rays.at(depth.reshape(-1, 1)).reshape(*depth.shape, 3)


def labelled(args: argparse.Namespace, seen: _Seen) -> tuple[list[str], list[list[Region]]]:
    """Names, and the regions that carry each.

    Raises:
        ConfigError: a corner is no number.
        QueryError: a box is inside out, or a pixel points nowhere.
    """
    regions: dict[str, list[Region]] = {}
    like = seen.places.points_m
    for name, *corners in args.label:
        try:
            low, high = like.new_tensor([float(word) for word in corners]).split(3)
        except ValueError as error:
            raise ConfigError(f"--label {name}: expected six numbers, metres: {error}") from error
        regions.setdefault(name, []).append(Region.box(low, high))
    for name, *pixel in args.label_at:
        regions.setdefault(name, []).append(_thing_at(pixel, seen))
    return list(regions), list(regions.values())


def _thing_at(pixel: Sequence[str], seen: _Seen) -> Region:
    """What is connected with the place that a pixel shows, and looks like it."""
    place, feature = looked_at(pixel, seen.subject, seen.rendered)
    points_m, scores = seen.places.points_m, seen.pca.alike(seen.places.features, feature)
    things = find_things(points_m, scores, IMAGE_THRESHOLD, seen.subject.cell_m)
    if not things:
        raise QueryError(f"{' '.join(pixel)}: no cell there looks like the pixel; give --label")
    at = points_m.new_tensor(place)
    return min(things, key=lambda thing: thing.apart_m(at)).region


def _held(
    points_m: Float[Tensor, "*shape 3"], regions: Sequence[Sequence[Region]]
) -> Int[Tensor, "*shape"]:
    """Number of the name that a point carries, from 1; 0 for everything else."""
    labels = torch.zeros(points_m.shape[:-1], dtype=torch.long, device=points_m.device)
    for number, own in enumerate(regions, start=1):
        for region in own:
            labels[region.holds(points_m)] = number
    return labels


def carry(
    names: Sequence[str],
    regions: Sequence[Sequence[Region]],
    first: _Seen,
    second: _Seen,
    least: float,
) -> Hits:
    """Where the second field's cells took a name over, scored by their likeness.

    Raises:
        QueryError: what has a name holds nothing.
    """
    labels = _held(first.places.points_m, regions)
    for number, name in enumerate(names, start=1):
        if not (labels == number).any():
            raise QueryError(f"{name!r} names a part of space in which no cell holds anything")
    places = second.places
    carried = carry_labels(first.places.features, labels, places.features, first.pca, least)
    own = carried.labels[:, None] == torch.arange(1, len(names) + 1, device=labels.device)
    scores = torch.where(own, carried.scores.clamp(0, 1)[:, None], 0.0)
    return gather_hits(
        tuple(names), places.points_m, scores, torch.ones_like(carried.scores), _FOUND
    )


def pixel_labels(
    names: Sequence[str],
    regions: Sequence[Sequence[Region]],
    first: _Seen,
    second: _Seen,
    least: float,
) -> tuple[Int[Tensor, "N h w"], Int[Tensor, "M h w"]]:
    """Names of the first keyframe's pixels by where they end; of the second's by their features.

    Returns:
        Numbers of names from 1; 0 for everything else, and where nothing is hit.
    """
    given = _held(first.ends_m(), regions)
    hit, there = first.rendered.depth_m.isfinite(), second.rendered.depth_m.isfinite()
    found = torch.zeros_like(there, dtype=torch.long)
    if names:
        shown = first.rendered.features.permute(0, 2, 3, 1)[hit]
        asked = second.rendered.features.permute(0, 2, 3, 1)[there]
        found[there] = carry_labels(shown, given[hit], asked, first.pca, least).labels.clamp(min=0)
    return given, found


def palette(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """A colour for each name."""
    return [prompt_color(number, len(names)) for number in range(len(names))]


def drawn(
    title: str,
    subject: Subject,
    labels: Int[Tensor, "N h w"],
    names: Sequence[str],
    points_m: Float[Tensor, "K 3"],
) -> Picture:
    """A keyframe's cameras under the colours of their labels, keypoints as numbers."""
    shown = np.array([(0, 0, 0), *palette(names)], np.uint8)[labels.cpu().numpy()]
    pictures = [
        label_overlay(picture, canvas.fit_cells(label, *TILE_PX))
        for picture, label in zip(tiles(subject.rig.images), shown, strict=True)
    ]
    return tile_rows(subject.rig.names, {title: _marked(pictures, subject, points_m)})


def stacked(rows: Sequence[Picture], names: Sequence[str]) -> Picture:
    """Rows of pictures one above the other, and the names in their colours below."""
    width = max(row.shape[1] for row in rows)
    under = canvas.blank(sum(row.shape[0] for row in rows), width)
    top = 0
    for row in rows:
        canvas.paste(under, row, top, 0)
        top += row.shape[0]
    legend = canvas.legend(list(zip(names, palette(names), strict=True)), width)
    return np.concatenate([under, legend])


def _marked(
    pictures: Sequence[Picture], subject: Subject, points_m: Float[Tensor, "K 3"]
) -> list[Picture]:
    """Pictures with the number of each keypoint where it lies, whether hidden or not."""
    rig, marked = subject.rig, list(pictures)
    scale = np.array([TILE_PX[1] / rig.image_size[1], TILE_PX[0] / rig.image_size[0]])
    camera_from_ego = torch.linalg.inv(rig.ego_from_camera)
    for number, point in enumerate(points_m, start=1):
        optical = camera_from_ego @ torch.cat([point, point.new_ones(1)])
        projected = (rig.intrinsics @ optical[:, :3, None])[..., 0]
        for camera, (u, v, ahead) in enumerate(projected.cpu().numpy()):
            col, row = np.array([u, v]) / max(ahead, 1e-6) * scale
            if ahead > 0 and 0 <= col < TILE_PX[1] and 0 <= row < TILE_PX[0]:
                marked[camera] = canvas.mark(marked[camera], str(number), (int(col), int(row)))
    return marked


def figures(hits: Hits, keypoints_m: Float[Tensor, "K 3"], matches: Matches) -> dict[str, object]:
    """What JSON holds of the answers."""
    points = zip(keypoints_m, matches.points_m, matches.scores, matches.return_m, strict=True)
    return {
        "labels": [dataclasses.asdict(answer) for answer in answers(hits)],
        "points": [
            {
                "from_m": there.tolist(),
                "to_m": here.tolist(),
                "score": float(score),
                "return_m": float(back),
            }
            for there, here, score, back in points
        ],
    }


def point_table(matches: Matches) -> list[str]:
    """A line per keypoint: where it is found, how alike, and how far off the way back ends."""
    if not len(matches.points_m):
        return []
    lines = [f"{'point':<7}{'found at, m (ahead, left, up)':<32}{'alike':>6}{'way back':>11}"]
    for number, (place, score, back) in enumerate(
        zip(matches.points_m, matches.scores, matches.return_m, strict=True), start=1
    ):
        at = "  ".join(f"{x:.1f}" for x in place.tolist())
        lines.append(f"{number:<7}{at:<32}{float(score):>6.2f}{float(back):>9.1f} m")
    return lines
