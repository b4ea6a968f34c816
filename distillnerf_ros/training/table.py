"""The figures of an evaluation as text."""

import math

from distillnerf_ros.training.figures import Figures

_ROWS = (
    ("depth AbsRel (lower is better)", ("depth", "abs_rel"), ("per_pixel_mean", "flat_road")),
    ("depth delta < 1.25", ("depth", "d1"), ("per_pixel_mean", "flat_road")),
    ("occupancy IoU, camera mask", ("occupancy", "iou"), ("majority_voxel", "flat_road")),
    ("occupancy mIoU, 17 classes", ("occupancy", "miou_17"), ("flat_road",)),
    ("occupancy mIoU, 15 classes", ("occupancy", "miou_15"), ("flat_road",)),
    ("occupancy F-mIoU, 12 classes", ("occupancy", "f_miou"), ("flat_road",)),
    ("occupancy RayIoU", ("occupancy", "ray_iou"), ("flat_road",)),
    ("text query mAP, class names", ("query", "map"), ("class_prior",)),
    ("  absent classes rejected", ("query", "absent_rejection"), ()),
    ("  absent things rejected", ("query", "absent_things_rejection"), ()),
    ("  present classes found", ("query", "recall"), ()),
    ("reconstruction PSNR, dB", ("reconstruction", "psnr"), ()),
    ("reconstruction SSIM", ("reconstruction", "ssim"), ()),
    ("novel view PSNR, dB", ("novel_view", "psnr"), ("still_picture",)),
    ("novel view SSIM", ("novel_view", "ssim"), ("still_picture",)),
    ("feature PSNR, dB", ("features", "psnr"), ("mean_feature",)),
)
_DENSE_ROWS = (
    ("depth of every pixel, AbsRel", ("depth", "dense", "abs_rel"), ()),
    ("  delta < 1.25", ("depth", "dense", "d1"), ()),
    ("  sky taken for a surface", ("depth", "dense", "sky_hit"), ()),
)
"""Where dense depth was judged."""
_COLUMNS = (
    ("AbsRel", ("depth", "abs_rel")),
    ("d1", ("depth", "d1")),
    ("IoU", ("occupancy", "iou")),
    ("mIoU15", ("occupancy", "miou_15")),
    ("RayIoU", ("occupancy", "ray_iou")),
    ("mAP", ("query", "map")),
    ("absent", ("query", "absent_rejection")),
    ("PSNR", ("reconstruction", "psnr")),
    ("next", ("novel_view", "psnr")),
    ("feature", ("features", "psnr")),
)


def summary(content: Figures) -> str:
    """The headline figures with their baselines, then a line per scene.

    Args:
        content: what :func:`figures.figures` gives.
    """
    lines = [f"{'':34}{'model':>8}   baselines"]
    dense = _DENSE_ROWS if "dense" in content["depth"] else ()
    for title, path, baselines in (*_ROWS[:2], *dense, *_ROWS[2:]):
        others = [
            f"{name} {_cell(_look_up(content['baselines'][name], path), path)}"
            for name in baselines
        ]
        lines.append(f"{title:34}{_cell(_look_up(content, path), path):>8}   {', '.join(others)}")
    speed = content["speed"]
    lines += [
        f"{'speed, frames per second':34}{speed['frames_hz']:>8.2f}   encode "
        f"{speed['encode_s']:.3f} s, depth {speed['depth_s']:.3f} s, occupancy "
        f"{speed['occupancy_s']:.3f} s",
        "",
        f"{'scene':18}{'frames':>7}" + "".join(f"{title:>8}" for title, _ in _COLUMNS),
    ]
    for name, one in content["scenes"].items():
        cells = [_cell(_look_up(one, path), path) for _, path in _COLUMNS]
        lines.append(f"{name:18}{one['frames']:>7}" + "".join(f"{cell:>8}" for cell in cells))
    return "\n".join(line.rstrip() for line in lines)


def _look_up(content: Figures | None, path: tuple[str, ...]) -> float | None:
    for key in path:
        content = None if content is None else content[key]
    return content  # type: ignore[return-value]


def _cell(value: float | None, path: tuple[str, ...]) -> str:
    """A figure; decibels have two digits, fractions three."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}" if path[-1] == "psnr" else f"{value:.3f}"
