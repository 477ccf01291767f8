"""What threads have freed goes back to the system.

glibc gives threads arenas of their own and keeps what was freed there: after five minutes of thirty visitors the server held 28 % more.
"""

import ctypes
import sys

ARENAS = 2
_M_ARENA_MAX = -8  # of glibc's malloc.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def limit_arenas() -> None:
    """Let all threads share two arenas; call it before there are many. Without effect where the C library is another."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_ARENA_MAX, ARENAS)


def trim() -> None:
    """Return to the system what is free now."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
