"""The command line: ``distillnerf VERB``. A verb's module is imported when it is asked for."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

import distillnerf_ros
from distillnerf_ros.errors import DistillNerfError
from distillnerf_ros.memory import keep_memory

VERBS: dict[str, tuple[str, str]] = {
    "demo": ("distillnerf_ros.demo.demo", "show the whole chain through ROS, with a report"),
    "world": (
        "distillnerf_ros.world.writer",
        "write procedural streets as a nuScenes data set",
    ),
    "bag": ("distillnerf_ros.data.bag", "write one nuScenes scene as a rosbag2 (mcap)"),
    "check": (
        "distillnerf_ros.data.check",
        "draw lidar and camera frusta over the images: calibration for the eye",
    ),
    "query": (
        "distillnerf_ros.demo.query",
        "ask one glance of a nuScenes folder, or a fitted scene, without ROS",
    ),
    "edit": (
        "distillnerf_ros.demo.edit",
        "take away, keep alone, recolour, move or copy things of a field",
    ),
    "render": (
        "distillnerf_ros.demo.render",
        "draw colour, depth, features and occupancy of one glance, without ROS",
    ),
    "transfer": (
        "distillnerf_ros.demo.transfer",
        "carry labels and keypoints from one keyframe to another",
    ),
    "scene": (
        "distillnerf_ros.scene.fit",
        "fit a per-scene NeRF to a driving log, export training targets",
    ),
    "teach": (
        "distillnerf_ros.training.teach",
        "make foundation features (CLIP, DINOv2) of a nuScenes data set",
    ),
    "train-clip": (
        "distillnerf_ros.training.contrastive",
        "train the small OpenCLIP model of the procedural world",
    ),
    "train": ("distillnerf_ros.training.train", "train the model"),
    "fit-fusions": (
        "distillnerf_ros.training.fusions",
        "fit what joins depths and corrects voxels' features, after training",
    ),
    "eval": ("distillnerf_ros.training.evaluate", "measure depth, occupancy and text queries"),
    "calibrate": (
        "distillnerf_ros.training.calibrate",
        "set how sure each class name must be before it counts as found",
    ),
    "bench": ("distillnerf_ros.bench", "measure the speed of every stage"),
}
"""Module and one line of help of every verb. A module offers ``VERB_HELP``, ``EXAMPLE``,
``add_arguments(parser)`` and ``run(args) -> int``.
"""

EXIT_ERROR = 2
"""Exit status after an error that was foreseen and explained; argparse uses the same."""
EXIT_INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it (128 + SIGINT)."""


def overview_parser() -> argparse.ArgumentParser:
    """The parser of ``distillnerf`` itself: lists the verbs without importing them."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in VERBS.items()]
    parser = argparse.ArgumentParser(
        prog="distillnerf",
        description=distillnerf_ros.__doc__,
        epilog="verbs:\n" + "\n".join(lines) + "\n\ndistillnerf VERB --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", metavar="VERB", choices=tuple(VERBS), help="what to do")
    return parser


def verb_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """The parser of one verb, with its example below the options."""
    parser = argparse.ArgumentParser(
        prog=f"distillnerf {name}",
        description=module.VERB_HELP,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the words after ``distillnerf``; None = those of this process.

    Returns:
        0, or the verb's own status; 2 after an error that was foreseen; 130 after Ctrl-C.
    """
    keep_memory()
    words = list(sys.argv[1:] if argv is None else argv)
    name = overview_parser().parse_args(words[:1]).verb
    try:
        module = importlib.import_module(VERBS[name][0])
        return module.run(verb_parser(name, module).parse_args(words[1:]))
    except DistillNerfError as error:
        print(f"distillnerf {name}: {error}", file=sys.stderr)
        return EXIT_ERROR
    except OSError as error:  # says which file and why: a full disk, a folder that is none
        print(f"distillnerf {name}: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print(f"distillnerf {name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
