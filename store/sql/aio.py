"""A sync that wants nothing of Python while it runs: POSIX's `aio_fsync`, by glibc.

A thread of Python's has to have the interpreter when it begins to sync and again when it is done,
and whoever opens rows meanwhile must give it up and take it back (measured: 0.2 ms of an answer).
glibc syncs on a thread of C alone. Where the C library is another one, a thread of Python's does.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from store.sql.committer import Committer

if TYPE_CHECKING:
    from store.sql.syncing import Begin, Running

_UNDER_WAY: Final = errno.EINPROGRESS


class _Event(ctypes.Structure):
    """`struct sigevent`: nobody is told, whoever wants to know asks."""

    _fields_: ClassVar[Any] = [
        ("value", ctypes.c_void_p), ("number", ctypes.c_int), ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    ]  # fmt: skip


class _Block(ctypes.Structure):
    """`struct aiocb` of glibc on 64 bits (aio.h), its own part as bytes."""

    _fields_: ClassVar[Any] = [
        ("descriptor", ctypes.c_int), ("operation", ctypes.c_int), ("priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p), ("size", ctypes.c_size_t), ("event", _Event),
        ("own", ctypes.c_char * 72),
    ]  # fmt: skip


class _Time(ctypes.Structure):
    """`struct timespec`."""

    _fields_: ClassVar[Any] = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


_SIGEV_NONE: Final = 1
_WIDTH: Final = 8  # bytes of a pointer, as the block above has them


class _Native:
    """One `aio_fsync`; its block stays where it is until it is over."""

    def __init__(self, calls: _Calls, descriptor: int) -> None:
        self._calls, self._block = calls, _Block()
        self._block.descriptor, self._block.event.notify = descriptor, _SIGEV_NONE
        self._at = ctypes.addressof(self._block)
        if calls.begin(os.O_DSYNC, self._at):
            raise OSError(ctypes.get_errno(), "the disk cannot be synced")

    def over(self) -> bool:
        fault = self._calls.fault(self._at)
        if fault == _UNDER_WAY:
            return False
        if fault:
            raise OSError(fault, "the disk did not take what was written")
        return True

    def wait(self, seconds: float | None = None) -> None:
        blocks = (ctypes.c_void_p * 1)(self._at)
        most = None if seconds is None else ctypes.byref(_Time(0, int(seconds * 1e9)))
        while self._calls.fault(self._at) == _UNDER_WAY:
            if self._calls.wait(blocks, 1, most) and most is not None:
                return


class _Calls:
    """glibc's functions. Those that return at once keep the interpreter; the other lets it go."""

    def __init__(self) -> None:
        brief, long = ctypes.PyDLL(None, use_errno=True), ctypes.CDLL(None)
        _ = brief.gnu_get_libc_version  # its own word that the block is laid out so
        self.begin, self.fault, self.wait = brief.aio_fsync, brief.aio_error, long.aio_suspend
        self.begin.argtypes = (ctypes.c_int, ctypes.c_void_p)
        self.fault.argtypes = (ctypes.c_void_p,)
        self.wait.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def native() -> Begin | None:
    """Return how glibc begins a sync; None where the C library is another, or not of 64 bits."""
    if ctypes.sizeof(ctypes.c_void_p) != _WIDTH:
        return None
    try:
        calls = _Calls()
    except (AttributeError, OSError, TypeError):
        return None
    return lambda descriptor: _Native(calls, descriptor)


class Threaded:
    """Begins syncs on one thread of Python's."""

    def __init__(self) -> None:
        self._committer = Committer()

    def __call__(self, descriptor: int) -> Running:
        """Begin one."""
        return _Thrown(self._committer, descriptor)


class _Thrown:
    def __init__(self, committer: Committer, descriptor: int) -> None:
        self._future = committer.finish(lambda: _sync(descriptor))

    def over(self) -> bool:
        if not self._future.done():
            return False
        self._future.result()
        return True

    def wait(self, seconds: float | None = None) -> None:
        with suppress(TimeoutError):
            self._future.exception(seconds)


def _sync(descriptor: int) -> None:
    # Not every system has the other, which leaves out the file's times.
    getattr(os, "fdatasync", os.fsync)(descriptor)
