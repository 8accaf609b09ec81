"""A disk that refuses one chosen write, fsync or rename of the log's objects.

Raised where the kernel raises it, so that everything of ours above is the real thing. The plan is
the one of `failing`, with the kinds ``open``, ``body``, ``fsync`` and ``rename``.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.failing import PLAN

KINDS = ("open", "body", "fsync", "rename")


class _File(io.FileIO):
    """A file of the log that is being written."""

    def write(self, body: Any) -> int:
        if PLAN.falls("body", after=False):
            super().write(bytes(body)[: len(body) // 2])  # what fitted
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(body)


@contextmanager
def failing_disk(folder: Path, code: int) -> Iterator[None]:
    """Let what lies below ``folder`` fail by the plan, with the error ``code`` of the system."""
    place = str(folder)
    opened, synced, replaced = Path.open, os.fsync, Path.replace

    def fall(kind: str) -> None:
        if PLAN.falls(kind, after=False):
            raise OSError(code, os.strerror(code))

    def open_(self: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if mode == "wb" and str(self).startswith(place):
            fall("open")
            return _File(str(self), "wb")
        return opened(self, mode, *more, **named)

    def fsync(descriptor: int) -> None:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(place):
            fall("fsync")
        synced(descriptor)

    def replace(self: Path, target: Any) -> Path:
        if str(target).startswith(place):
            fall("rename")
        return replaced(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", open_)
        patch.setattr(os, "fsync", fsync)
        patch.setattr(Path, "replace", replace)
        yield
