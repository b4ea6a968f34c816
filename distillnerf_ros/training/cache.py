"""Files that took long to make: whole or not there, and their folders made before the work."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from distillnerf_ros.errors import ConfigError, TeacherError
from distillnerf_ros.files import AGAIN, whole_file

Arrays = dict[str, np.ndarray]
"""Named arrays, as one .npz file holds them."""
_ADVICE = f"{AGAIN}: it goes on with this file"


def kept(folder: Path | None, kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
    """Arrays from the cache, or made (and kept).

    Files appear whole or not at all, so that several processes may share a folder and any of them
    may be killed; damaged ones are made again.

    Args:
        folder: the cache, or None to make them each time.
        kind: subfolder.
        key: says exactly what the arrays are; any text.
        make: makes them.

    Raises:
        TeacherError: they cannot be written.
    """
    if folder is None:
        return make()
    path = folder / kind / f"{hashlib.sha1(key.encode()).hexdigest()[:16]}.npz"
    arrays = read_arrays(path)
    if arrays is None:
        arrays = make()
        write_arrays(path, arrays)
    return arrays


def read_arrays(path: Path) -> Arrays | None:
    """Arrays of an .npz file; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an .npz file whole or not at all.

    Raises:
        TeacherError: it cannot be written.
    """
    with whole_file(path, TeacherError, _ADVICE) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def make_folder_of(file: Path) -> None:
    """Make the folder of a file that long work will end with, before the work.

    Raises:
        ConfigError: it cannot be made, or the file is a folder.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({error}); give another path") from error
    if file.is_dir():
        raise ConfigError(f"{file} is a folder, expected a file to write; give a path in it")


def is_there(path: Path) -> bool:
    """Whether a file exists and is not empty, as a machine that fell leaves files behind."""
    return path.is_file() and path.stat().st_size > 0


def publish(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file appear whole or not at all; one that is there stays, unless it is empty.

    Of several processes that publish the same file at the same time one wins: where it matters
    which, read what is there afterwards.

    Args:
        path: the file; its folder is made.
        write: writes what it shall hold to the path it is given.

    Raises:
        TeacherError: it cannot be written.
    """
    with whole_file(path, TeacherError, _ADVICE, _settle) as part:
        write(part)


def _settle(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a renaming it never replaces
    except FileExistsError:
        if not is_there(path):
            os.replace(part, path)
    except OSError:  # not every network's file system knows links
        os.replace(part, path)
