"""Memory that a worker let go and wants again in a moment: it keeps it, where glibc is asked to.

A slice of an export makes and drops some tens of megabytes, many times a second. glibc gives each
large one back to the system, which clears every page of the next: a twelfth of the time of an
export of day rows (measured). What is kept is bounded; where the C library is another, nothing is.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

MOST: Final = 1 << 28  # bytes free at the end of the heap that stay
LARGEST: Final = 1 << 25  # bytes of a piece that is taken from the heap; the most that glibc allows
_TRIM_THRESHOLD: Final = -1  # as malloc.h has them
_MMAP_THRESHOLD: Final = -3


def keep() -> None:
    """Let this process keep what it lets go, from now on."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, MOST)
        mallopt(_MMAP_THRESHOLD, LARGEST)
