"""The report: one HTML file with all pictures in it."""

import base64
import dataclasses
import html
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from distillnerf_ros.demo import canvas, colors, overview
from distillnerf_ros.demo.birds_eye import draw_birds_eye
from distillnerf_ros.demo.snapshot import CameraView, Found, Picture, Snapshot, Voxels
from distillnerf_ros.demo.truth import Judgement
from distillnerf_ros.demo.voxel_view import draw_voxels
from distillnerf_ros.training.metrics import DepthErrors

_STYLE = """
:root { color-scheme: dark }
body { background: #101218; color: #e8eaf0; margin: 2rem auto; max-width: 1500px; padding: 0 1rem;
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
p { max-width: 60rem } .faint { color: #969caa }
table { border-collapse: collapse } th, td { padding: .25rem .9rem; text-align: right }
th { color: #969caa; font-weight: 500; border-bottom: 1px solid #343845 }
th:first-child, td:first-child { text-align: left }
img { display: block; width: 100%; border-radius: 4px }
.pixels img { image-rendering: pixelated }
.cameras { display: grid; grid-template-columns: repeat(6, 1fr); gap: 5px; font-size: 13px }
.space { display: grid; grid-template-columns: 16fr 9fr; gap: 8px; align-items: start }
.bar { background: #4f7cff; height: 10px; border-radius: 3px }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 6px;
  font-size: 12px }
@media (max-width: 900px) { .cameras { grid-template-columns: repeat(2, 1fr) }
  .space { grid-template-columns: 1fr } }
"""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the service said about one prompt.

    Attributes:
        prompt: the words.
        score: best score in view, 0..1; NaN = nothing in view.
        found: things over the threshold, best first.
    """

    prompt: str
    score: float
    found: tuple[Found, ...]


@dataclasses.dataclass(frozen=True)
class Contents:
    """Everything the report tells.

    Attributes:
        title: what was played.
        snapshot: the glance that is shown, with pictures.
        snapshots: all glances.
        queries: standing queries behind the heat.
        answers: of the service, about the shown glance.
        truth: what is really occupied and visible at that glance; None where it is not known.
        judgement: errors against the truth; None where there is none to compare with.
        stages_ms: mean milliseconds of each stage of the node.
        memory_mib: peak memory of the node.
        counts: recorded messages per topic.
        facts: name and value of what else is worth knowing.
    """

    title: str
    snapshot: Snapshot
    snapshots: tuple[Snapshot, ...]
    queries: tuple[str, ...]
    answers: tuple[Answer, ...]
    truth: Voxels | None
    judgement: Judgement | None
    stages_ms: dict[str, float]
    memory_mib: float
    counts: dict[str, int]
    facts: dict[str, str]


def found_things(answers: Sequence[Answer], at_most: int = 2) -> list[Found]:
    """The best things of every prompt, for the picture from above."""
    return [thing for answer in answers for thing in answer.found[:at_most]]


def report(contents: Contents) -> str:
    """The HTML text."""
    sections = [
        f"<h1>{html.escape(contents.title)}</h1>",
        _facts(contents.facts),
        _cameras(contents),
        _space(contents),
        _answers(contents),
        _errors(contents.judgement),
        _latency(contents),
        _strip(contents.snapshots),
        _topics(contents.counts),
    ]
    body = "\n".join(sections)
    title = html.escape(contents.title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>\n"
    )


def image_tag(picture: Picture, text: str, photo: bool = False) -> str:
    """An ``img`` element with the picture in it: JPEG for photos, PNG for the rest."""
    buffer = io.BytesIO()
    kind = "jpeg" if photo else "png"
    Image.fromarray(picture).save(buffer, format=kind, quality=88, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(text, quote=True)}" src="data:image/{kind};base64,{data}">'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _facts(facts: dict[str, str]) -> str:
    pairs = " · ".join(f"{html.escape(k)}: {html.escape(v)}" for k, v in facts.items())
    return f'<p class="faint">{pairs}</p>'


def _cameras(contents: Contents) -> str:
    views = overview.in_order(contents.snapshot.cameras)
    names = "".join(f"<div>{html.escape(view.name)}</div>" for view in views)
    parts = [f'<h2>Every camera</h2><div class="cameras">{names}</div>']
    for title, draw, photo in (
        ("camera", _picture, True),
        ("rendered colour", lambda view: view.rgb, False),
        ("depth", _depth, False),
        ("features, first three principal components", lambda view: view.features, False),
        (_query_title(contents.queries), overview.heat_tile, True),
    ):
        pictures = [draw(view) for view in views]
        if all(picture is None for picture in pictures):
            continue
        cells = "".join(
            "<div>not published</div>"
            if picture is None
            else f"<div>{image_tag(picture, f'{title}, {view.name}', photo)}</div>"
            for view, picture in zip(views, pictures, strict=True)
        )
        kind = "cameras pixels" if title == "depth" else "cameras"
        parts.append(f'<p class="faint">{html.escape(title)}</p><div class="{kind}">{cells}</div>')
        if title == "depth":
            scale = canvas.color_bar(*colors.depth_scale(), width=700, title="depth")
            parts.append(f'<div style="max-width:700px">{image_tag(scale, "depth scale")}</div>')
    return "\n".join(parts)


def _query_title(queries: Sequence[str]) -> str:
    return f"relevancy of {', '.join(queries)}" if queries else "relevancy"


def _picture(view: CameraView) -> Picture | None:
    return view.picture


def _depth(view: CameraView) -> Picture | None:
    return None if view.depth_m is None else colors.depth_picture(view.depth_m)


def _space(contents: Contents) -> str:
    snapshot = contents.snapshot
    above = draw_birds_eye(snapshot.voxels, 720, snapshot.grid, found_things(contents.answers))
    legend = overview.class_legend(snapshot.voxels, 1280)
    count = len(snapshot.voxels.points_m)
    truth = ""
    if contents.truth is not None:
        truth = (
            '<p class="faint">The truth, as far as the cameras can see it:</p>'
            + _view_and_map(contents.truth, draw_birds_eye(contents.truth, 720))
            + image_tag(overview.class_legend(contents.truth, 1280), "class colours")
        )
    return (
        f"<h2>Occupancy: {count} voxels of 0.4 m</h2>"
        f"{_view_and_map(snapshot.voxels, above)}{image_tag(legend, 'class colours')}"
        '<p class="faint">Right: from above, forward is up, rings every 10 m; boxes are answers '
        f"to the text queries below; the darkest cells were not seen.</p>{truth}"
    )


def _view_and_map(voxels: Voxels, above: Picture) -> str:
    view = image_tag(draw_voxels(voxels, (720, 1280)), "occupied voxels in perspective")
    return f'<div class="space">{view}{image_tag(above, "occupancy from above")}</div>'


def _answers(contents: Contents) -> str:
    if not contents.answers:
        return "<h2>Text queries</h2><p>None was answered; see the facts above.</p>"
    rows = []
    for answer in contents.answers:
        best = answer.found[0] if answer.found else None
        where = "not here" if best is None else where_is(best)
        rows.append((answer.prompt, number(answer.score, 2), str(len(answer.found)), where))
    text = (
        "Asked through the service <code>~/query_text</code> while the bag was playing. The score "
        "is the best one in view, over or under the threshold; 0.5 is neutral."
    )
    head = ("prompt", "score", "things", "best")
    return f"<h2>Text queries</h2><p>{text}</p>{table(head, rows)}"


_DIRECTIONS = (
    "ahead",
    "ahead left",
    "left",
    "behind left",
    "behind",
    "behind right",
    "right",
    "ahead right",
)


def where_is(thing: Found) -> str:
    """Distance and direction of a thing from the vehicle, in words."""
    x, y, _ = thing.center_m
    degrees = math.degrees(math.atan2(y, x))
    return f"{math.hypot(x, y):.0f} m {_DIRECTIONS[round(degrees / 45) % 8]}"


def _errors(judgement: Judgement | None) -> str:
    if judgement is None:
        return "<h2>Errors against the truth</h2><p>No processed glance was a keyframe.</p>"
    rows = [_error_row(name, errors) for name, errors in judgement.depth.items()]
    rows.append(_error_row("all cameras", judgement.all_depth))
    rows.append(_error_row("a flat empty road instead", judgement.flat_depth))
    head = ("depth against lidar", "AbsRel", "δ < 1.25", "RMSE (m)")
    if judgement.occupancy_frames:
        iou = (
            f"Occupancy IoU (occupied against free, camera mask, {judgement.occupancy_frames} "
            f"keyframes): <b>{judgement.occupancy_iou:.1%}</b>."
        )
    else:
        iou = "This data set has no Occ3D labels (gts/), so occupancy is not judged."
    return (
        f"<h2>Errors against the truth ({judgement.keyframes} keyframes)</h2>"
        f"{table(head, rows)}<p>{iou}</p>"
    )


def _error_row(name: str, errors: DepthErrors) -> tuple[str, ...]:
    return name, number(errors.abs_rel), number(errors.d1), number(errors.rmse, 2)


def _latency(contents: Contents) -> str:
    stages = contents.stages_ms
    if not stages:
        return "<h2>Latency</h2><p>The node published no timing.</p>"
    longest, total = max(stages.values()), sum(stages.values())
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{value:.1f} ms</td>"
        f'<td style="width:420px"><div class="bar" style="width:{100 * value / longest:.1f}%">'
        "</div></td></tr>"
        for name, value in stages.items()
    )
    return (
        f"<h2>Latency by stage: {total:.0f} ms a glance, all outputs subscribed</h2>"
        f"<table>{rows}</table><p class='faint'>Mean, from /diagnostics. Peak memory of the node: "
        f"{contents.memory_mib:.0f} MiB.</p>"
    )


def _strip(snapshots: Sequence[Snapshot]) -> str:
    start_ns = snapshots[0].stamp_ns
    shown = [snapshots[i] for i in np.unique(np.linspace(0, len(snapshots) - 1, 24).astype(int))]
    cells = "".join(
        f"<div>{image_tag(draw_birds_eye(s.voxels, 200, s.grid), 'occupancy from above')}"
        f"{(s.stamp_ns - start_ns) / 1e9:.2f} s</div>"
        for s in shown
    )
    return f'<h2>{len(snapshots)} glances</h2><div class="strip">{cells}</div>'


def _topics(counts: dict[str, int]) -> str:
    rows = [(topic, str(count)) for topic, count in sorted(counts.items())]
    return f"<h2>Recorded in outputs/</h2>{table(('topic', 'messages'), rows)}"
