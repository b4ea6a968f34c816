"""The figures of all scenes of a data set, as JSON and as a table."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distillnerf_ros.scene.fleet_task import Outcome, Task, events, write_whole

EXIT_INCOMPLETE = 2
"""Exit status where a scene is not done."""


def report(
    out: Path, tasks: Sequence[Task], outcomes: Sequence[Outcome], copy: Path | None
) -> int:
    """Write the summary, print its table, and tell the verb's exit status.

    Args:
        out: folder of the summary.
        tasks: all scenes.
        outcomes: of each, in the same order.
        copy: another file for the figures.

    Raises:
        SceneError: something cannot be written.
    """
    content = write_summary(out, tasks, outcomes)
    print(table(content), end="")
    if copy is not None:
        write_whole(copy, json.dumps(content, indent=1).encode())
    return 0 if content["done"] == content["total"] else EXIT_INCOMPLETE


def write_summary(out: Path, tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Write ``summary.json`` and ``summary.md``.

    Args:
        out: their folder.
        tasks: all scenes.
        outcomes: of each, in the same order.

    Returns:
        What the JSON file holds: ``scenes`` (by name: figures, how often it was begun, and the
        error if it is not done), ``mean`` over the scenes that are done, ``done``, ``total``.

    Raises:
        SceneError: they cannot be written.
    """
    scenes = {
        task.name: {
            **(outcome.figures or {}),
            "starts": sum(event["event"] == "start" for event in events(task.folder)),
            "error": outcome.error,
        }
        for task, outcome in zip(tasks, outcomes, strict=True)
    }
    done = [outcome.figures for outcome in outcomes if outcome.figures is not None]
    content = {"done": len(done), "total": len(tasks), "mean": _means(done), "scenes": scenes}
    write_whole(out / "summary.json", json.dumps(content, indent=1).encode())
    write_whole(out / "summary.md", table(content).encode())
    return content


def _means(done: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean of each number over the scenes that know it."""
    keys = dict.fromkeys(key for figures in done for key in figures)
    means = {}
    for key in keys:
        known = [figures[key] for figures in done if _is_number(figures.get(key))]
        if known:
            means[key] = math.fsum(known) / len(known)
    return means


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def table(content: dict[str, Any]) -> str:
    """A summary as a Markdown table: a row per scene, the mean last, then what is not done."""
    keys = list(content["mean"])
    rows = [_row(name, scene, keys) for name, scene in content["scenes"].items()]
    mean = f"mean of {content['done']} of {content['total']}"
    lines = [
        "| " + " | ".join(["scene", *keys, "starts"]) + " |",
        "|---" * (len(keys) + 2) + "|",
        *rows,
        _row(mean, content["mean"], keys),
    ]
    missing = [
        f"- {name}: {scene['error']}"
        for name, scene in content["scenes"].items()
        if scene["error"] is not None
    ]
    return "\n".join([*lines, *(["", "Not done:", "", *missing] if missing else [])]) + "\n"


def _row(name: str, values: dict[str, Any], keys: Sequence[str]) -> str:
    cells = [_cell(values.get(key)) for key in (*keys, "starts")]
    return "| " + " | ".join([name, *cells]) + " |"


def _cell(value: Any) -> str:
    if not _is_number(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
