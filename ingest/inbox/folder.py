"""One folder of deliveries on the disk. Every step is one rename, so that a crash leaves no half.

    FILE                  put by others; left alone until it is quiet
    .working/ID-FILE      claimed: out of the reach of whoever put it, whole or not
    taken/ID-FILE         it stands in a commit; removed where that was asked for
    refused/ID-FILE       nothing of it stands; ID-FILE.reason beside it says why

The three folders are this program's alone. They, and what is in them, are reached from directories
that were opened once and not through a link, so that whoever may write beside them leads no file
elsewhere. Who holds `.working` locked is the one watcher; the system takes a lock back from a
process that dies.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ingest.inbox.names import identified
from store.errors import InputError

WORKING: Final = ".working"
TAKEN: Final = "taken"
REFUSED: Final = "refused"
MOST: Final = 10_000  # files looked at in one round, those that came first
# What programs that deliver call a file that they have not finished.
UNFINISHED: Final = (".part", ".partial", ".filepart", ".tmp", ".crdownload")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """By what a file that changed is known; the first that came is the least.

    Attributes:
        changed: When its bytes or its name last changed, ns since 1970 by the filesystem's clock:
            nobody who delivers can set it.
        written: When its bytes changed; who delivers may set it.
        size: Bytes.
        inode: Its number.
    """

    changed: int
    written: int
    size: int
    inode: int

    @classmethod
    def of(cls, seen: os.stat_result) -> Stamp:
        """Return the stamp of what was seen."""
        return cls(seen.st_ctime_ns, seen.st_mtime_ns, seen.st_size, seen.st_ino)


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """A name in the folder that is no folder, as it stands now."""

    stamp: Stamp
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A file in `.working`.

    Attributes:
        kept: Its identity and name.
        stamp: As it was when it was claimed.
        path: Where it can be read.
        regular: Whether it is a file at all, and not a link or a pipe.
    """

    kept: str = field(repr=False)
    stamp: Stamp
    path: Path = field(repr=False)
    regular: bool


class Letterbox:
    """An open folder of deliveries; see `opened`."""

    def __init__(self, path: Path, top: int, working: int, taken: int, refused: int) -> None:
        self._path, self._top, self._working = path, top, working
        self._taken, self._refused = taken, refused

    def arrivals(self) -> list[Arrival]:
        """Return what lies here, the first to come first, `MOST` at most. Raises OSError."""
        with os.scandir(self._top) as entries:
            return heapq.nsmallest(MOST, _arrivals(entries))

    def left(self) -> list[Claimed]:
        """Return what a watcher that died, or a store that failed, left claimed. Raises OSError."""
        with os.scandir(self._working) as entries:
            names = [one.name for one in heapq.nsmallest(MOST, _arrivals(entries))]
        return [one for name in names if (one := self._claimed(name)) is not None]

    def claim(self, arrival: Arrival) -> Claimed | None:
        """Move a file out of others' reach; None where it is gone. Raises OSError."""
        kept = identified(arrival.name)
        try:
            os.rename(arrival.name, kept, src_dir_fd=self._top, dst_dir_fd=self._working)
        except FileNotFoundError:
            return None
        return self._claimed(kept)

    def now(self, one: Claimed) -> Claimed | None:
        """Return a file as it is now: other than claimed where somebody wrote on; None if gone."""
        return self._claimed(one.kept)

    def settle(self, one: Claimed, *, delete: bool = False) -> None:
        """Put a file that stands in a commit to the taken ones, or remove it. Raises OSError."""
        if delete:
            with suppress(FileNotFoundError):
                os.unlink(one.kept, dir_fd=self._working)
        else:
            os.rename(one.kept, one.kept, src_dir_fd=self._working, dst_dir_fd=self._taken)

    def refuse(self, one: Claimed, reason: str) -> None:
        """Put a file to the refused ones, its reason beside it before. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        name = f"{one.kept}.reason"
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=self._refused), "wb") as stream:
            stream.write(reason.encode())
        os.rename(one.kept, one.kept, src_dir_fd=self._working, dst_dir_fd=self._refused)

    def _claimed(self, kept: str) -> Claimed | None:
        try:
            seen = os.stat(kept, dir_fd=self._working, follow_symlinks=False)
        except FileNotFoundError:
            return None
        path = self._path / WORKING / kept
        return Claimed(kept, Stamp.of(seen), path, stat.S_ISREG(seen.st_mode))


@contextmanager
def opened(path: Path) -> Iterator[Letterbox | None]:
    """Yield the folder, with its three folders in it; None where another watcher is at it.

    Raises:
        InputError: It is not there (``no_such_folder``), cannot be written (``unreadable``), or
            others may change what is in one of the three (``unsafe_folder``).
    """
    with ExitStack() as stack:
        top = _enter(stack, path)
        three = [_ours(stack, top, name) for name in (WORKING, TAKEN, REFUSED)]
        try:
            fcntl.flock(three[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield Letterbox(path, top, *three)


def _enter(stack: ExitStack, path: Path) -> int:
    try:
        return _closing(stack, os.open(path, _DIRECTORY))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "a folder of the inbox is not there, or is a link: make it", code="no_such_folder"
        ) from None
    except OSError:
        raise _unreadable() from None


def _ours(stack: ExitStack, top: int, name: str) -> int:
    """Return one of the three, made where it is not there, and nobody's but ours."""
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=top)
        found = _closing(stack, os.open(name, _DIRECTORY, dir_fd=top))
    except NotADirectoryError:
        raise _unsafe() from None
    except OSError as error:
        raise _unsafe() if _is_link(name, top) else _unreadable() from error
    seen = os.fstat(found)
    if seen.st_uid != os.geteuid() or seen.st_mode & _OTHERS:
        raise _unsafe()
    return found


def _is_link(name: str, top: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _closing(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _arrivals(entries: Iterator[os.DirEntry[str]]) -> Iterator[Arrival]:
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower().endswith(UNFINISHED):
            continue
        with suppress(FileNotFoundError):  # gone meanwhile
            seen = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(seen.st_mode):
                yield Arrival(Stamp.of(seen), entry.name)


def _unsafe() -> InputError:
    return InputError(
        f"{WORKING}, {TAKEN} and {REFUSED} of an inbox belong to whoever watches, and nobody else "
        "may write to them: remove the one that does not, or chmod go-w",
        code="unsafe_folder",
    )


def _unreadable() -> InputError:
    return InputError(
        "a folder of the inbox cannot be read and written: look at its permissions, and at the "
        "room on its disk",
        code="unreadable",
    )
