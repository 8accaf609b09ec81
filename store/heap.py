"""What a process keeps that works on a fleet: memory that it let go, and objects that stay.

A slice of an export makes and drops some tens of megabytes, many times a second. glibc gives each
large one back to the system, which clears every page of the next: a twelfth of the time of an
export of day rows (measured). Dask has its workers, and what their starter starts, give back every
64 KiB: a merge takes 1.7 times as long then. What is kept is bounded; where the C library is
another, nothing is.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

MOST: Final = 1 << 28  # bytes free at the end of the heap that stay
LARGEST: Final = 1 << 25  # bytes of a piece that is taken from the heap; the most that glibc allows
_TRIM_THRESHOLD: Final = -1  # as malloc.h has them
_MMAP_THRESHOLD: Final = -3


def settle() -> None:
    """Let this process keep what it lets go, and look through what it has now no more.

    For a process that has opened its store, and now works slice by slice.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, MOST)
        mallopt(_MMAP_THRESHOLD, LARGEST)
    gc.freeze()
