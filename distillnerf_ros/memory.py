"""How this process gets its memory."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""


def keep_memory() -> None:
    """Let the C library keep freed memory for reuse instead of giving it back to the system.

    Large tensors come fresh from the system each time otherwise, and clearing their pages costs a
    seventh of a frame and a quarter of a training step on a CPU. The price is a fifth more memory,
    which does not grow over frames. Programs call this once, first; a library must not. Does
    nothing where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
