"""Makes a virtual environment with ROS 2 packages an ament prefix to every Python of it.

Sourcing a setup file does this for an installed ROS 2. `./run setup` puts this module into the
environment's site-packages with a .pth file that imports it: `.venv/bin/...` works unsourced.
"""

import importlib.util
import os
import sys

_GUARD = "_DISTILLNERF_LIBRARY_PATH"


def _prepend(variable: str, path: str) -> bool:
    """Put a path first in a variable; False where it was in it."""
    paths = [part for part in os.environ.get(variable, "").split(os.pathsep) if part]
    if path in paths:
        return False
    os.environ[variable] = os.pathsep.join([path, *paths])
    return True


def _enter() -> None:
    _prepend("AMENT_PREFIX_PATH", sys.prefix)
    # The wheels of ROS 2 bring a hook of their own for the loader's path.
    if importlib.util.find_spec("ros_wheels_bootstrapper") is not None:
        return
    # The loader reads its path at the start of a process only, so the process starts again, once;
    # the guard ends it where something takes the path away each time.
    extended = _prepend("LD_LIBRARY_PATH", os.path.join(sys.prefix, "lib"))
    if extended and os.environ.get(_GUARD) != sys.prefix:
        os.environ[_GUARD] = sys.prefix
        os.execve(sys.executable, sys.orig_argv, dict(os.environ))


_enter()
