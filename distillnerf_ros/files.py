"""Files that appear whole or not at all, and what is left of those that only grow."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from distillnerf_ros.errors import DistillNerfError

AGAIN = "make room on the disk or give another folder, and run the same command again"


@contextlib.contextmanager
def whole_file(
    path: Path,
    error: type[DistillNerfError],
    advice: str = AGAIN,
    settle: Callable[[Path, Path], None] | None = None,
) -> Iterator[Path]:
    """Lend a path to write to; what is there when the block ends becomes the file.

    Args:
        path: the file; its folder is made.
        error: what is raised where it cannot be written.
        advice: what to do then.
        settle: puts what was written (first) in the place of the file (second); default: replaces
            the file.

    Raises:
        DistillNerfError: of the given kind; it cannot be written, and what was there stays.
    """
    # Processes of two machines that share a folder may have the same number.
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        (settle or os.replace)(part, path)
    except (OSError, SafetensorError) as reason:
        raise error(f"{path} cannot be written ({reason}); {advice}") from reason
    finally:
        with contextlib.suppress(OSError):  # there is none, or not even its folder
            part.unlink()


def json_lines(content: bytes) -> list[dict[str, Any]]:
    """The lines of JSON that can be read.

    One that is being written has no end yet, and one that a full disk cut has the next in it.
    """
    whole = []
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            whole.append(json.loads(line))
    return whole
