"""Arrays that took long to make, kept in a folder."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from distillnerf_ros.errors import TeacherError

Arrays = dict[str, np.ndarray]
"""Named arrays, as one .npz file holds them."""


def kept(folder: Path | None, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
    """Arrays from the cache, or made (and kept).

    Files appear whole or not at all, so that several processes may share a folder and any of them
    may be killed.

    Args:
        folder: the cache, or None to make them each time.
        kind: subfolder.
        key: says exactly what the arrays are; any text.
        make: makes them.
    """
    if folder is None:
        return make()
    path = folder / kind / f"{hashlib.sha1(key.encode()).hexdigest()[:16]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    arrays = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.part")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)
    return arrays


def publish(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file appear whole or not at all; one that is there stays.

    Of several processes that publish the same file at the same time one wins: where it matters
    which, read what is there afterwards.

    Args:
        path: the file; its folder is made.
        write: writes what it shall hold to the path it is given.

    Raises:
        TeacherError: it cannot be written.
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        _settle(part, path)
    except OSError as error:
        raise TeacherError(
            f"{path} cannot be written ({error}); make room on the disk and run the same command "
            "again: it goes on with this file"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _settle(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a renaming it never replaces
    except FileExistsError:
        return
    except OSError:  # not every network's file system knows links
        os.replace(part, path)
