"""The embedded keepers: a folder for objects, a file for the KEK, the machine's clock."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from store.envelope import KEY_SIZE, cipher, new_key, unwrap, wrap
from store.errors import CommitConflictError, KekError, ObjectError, TamperedError
from store.keepers.folders import put_whole
from store.keepers.held import Held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedWriter
    from pathlib import Path

    from store.ports import Body, Range, Write


LARGE = 1 << 20  # bytes of a piece before which room is asked for
_AHEAD = 1 << 23  # bytes of room, beyond that piece
_LEAVES = "exports/"  # what is fetched once, if ever: the memory is for what answers read


class SystemClock:
    """The machine's clock; see `ports.Clock`."""

    def now(self) -> float:
        """Return seconds since 1970-01-01T00:00Z."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


class FolderObjects:
    """Objects as files of one folder; see `ports.Objects`."""

    is_local = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = Held(os.fspath(folder) + os.sep)
        self._rooted: set[Path] = set()  # directories that a power cut cannot take away

    def put(self, name: str, body: Body) -> None:
        """Write, sync, then link into place: a name is whole or not there, and never replaced."""
        path = self._folder / name
        draft = self._draft(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            opened = draft.open("xb")
            try:
                with opened as file:
                    if callable(body):
                        body(_roomy(file))  # no more of it than a piece is ever in memory
                        file.truncate()  # at its end: see `_roomy`
                    else:
                        file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                    if name.startswith(_LEAVES):
                        _let_go(file)
                os.link(draft, path)
            finally:
                draft.unlink(missing_ok=True)
            self._sync_up(path.parent)
        except FileExistsError:
            raise ObjectError("an object of this name exists; names are given once") from None
        except OSError as error:
            raise ObjectError(f"the folder refused an object: {error.strerror}") from None

    def keep(self, bodies: Mapping[str, bytes]) -> None:
        """Write and sync each, then its directories once; see `ports.Objects`."""
        folders: dict[Path, list[str]] = {}
        for name in bodies:
            folders.setdefault((self._folder / name).parent, []).append(name)
        for folder, names in folders.items():
            with self._alone(folder):
                for name in names:
                    self._keep(name, bodies[name])
                self._sync_up(folder)

    def swap(self, name: str, expected: bytes | None, body: bytes) -> None:
        """Compare, write beside, rename, all of it under the directory's lock."""
        path = self._folder / name
        with self._alone(path.parent):
            found = _content(path)
            if found != body:
                if found != expected:
                    raise CommitConflictError("another writer changed this object first")
                put_whole(path, body)  # under the lock a draft is a dead one's
            self._sync_up(path.parent)

    def find(self, name: str) -> bytes | None:
        """Return the whole object, or None."""
        try:
            return _content(self._folder / name)
        except OSError as error:
            raise ObjectError(f"an object cannot be read: {error.strerror}") from None

    def _keep(self, name: str, body: bytes) -> None:
        path = self._folder / name
        found = _content(path)
        if found is None:
            put_whole(path, body)
        elif found != body:
            raise TamperedError("tile", "a part of the log is not what was written")

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[None]:
        """Hold ``folder``'s lock, which the system takes back from a process that dies."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ObjectError(f"the folder refused an object: {error.strerror}") from None

    def _draft(self, name: str) -> Path:
        # Known from the name alone, so that what a killed writer left is removed with the object.
        path = self._folder / name
        return path.with_name(f".{path.name}")

    def _sync_up(self, folder: Path) -> None:
        # A new directory is an entry of its parent: every level up to the root is synced, once.
        _sync_directory(folder)
        while folder != self._folder and folder not in self._rooted:
            _sync_directory(folder.parent)
            self._rooted.add(folder)
            folder = folder.parent

    def get(self, name: str) -> bytes:
        """Return the whole object."""
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise ObjectError(f"an object cannot be read: {error.strerror}") from None

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, in order."""
        try:
            found = self._held.read(ranges)
        except OSError as error:
            raise ObjectError(f"an object cannot be read: {error.strerror}") from None
        if [*map(len, found)] != [part.length for part in ranges]:
            raise ObjectError("an object is shorter than the catalogue says")
        return found

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        """Read the ranges into ``into``, one after the other."""
        at = 0
        for part in ranges:
            room = into[at : at + part.length]
            try:
                read = self._held.fill(part.name, room, part.offset)
            except OSError as error:
                raise ObjectError(f"an object cannot be read: {error.strerror}") from None
            if read != part.length:
                raise ObjectError("an object is shorter than the catalogue says")
            at += part.length

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range; a local range takes microseconds, so nothing awaits."""
        return self.get_ranges(ranges)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Walk the folder; drafts are no objects."""
        for where, _, files in os.walk(self._folder):
            for file in files:
                path = os.path.join(where, file)  # noqa: PTH118 - a million names, no objects
                name = os.path.relpath(path, self._folder)
                if name.startswith(prefix) and not file.startswith("."):
                    with suppress(FileNotFoundError):  # swept meanwhile
                        yield name, os.stat(path).st_size  # noqa: PTH116

    def link(self, name: str, seconds: int) -> str | None:  # noqa: ARG002 - the protocol's
        """Return None: a folder has no address."""
        return None

    def delete(self, name: str) -> None:
        """Remove the object; one that is not there is no error."""
        try:
            (self._folder / name).unlink(missing_ok=True)
            self._held.forget(name)
            self._draft(name).unlink(missing_ok=True)
        except OSError as error:
            raise ObjectError(f"an object cannot be removed: {error.strerror}") from None


def _roomy(file: BufferedWriter) -> Write:
    """Return what writes to ``file``, and asks for room on the disk ahead of large pieces.

    So a piece is written in two thirds of the core's time. The file may come out longer than what
    was written, by _AHEAD at most, and is then to be truncated.
    """
    room = written = 0

    def write(piece: bytes) -> int:
        nonlocal room, written
        written += len(piece)
        if written > room and len(piece) >= LARGE:
            # Not every system has it; or the disk is nearly full, and the write may well succeed.
            with suppress(AttributeError, OSError):
                os.posix_fallocate(file.fileno(), room, written - room + _AHEAD)
            room = written + _AHEAD
        return file.write(piece)

    return write


def _let_go(file: BufferedWriter) -> None:
    """Let the system forget what is on the disk; the next file gets its memory, still warm.

    A fleet's exports are gigabytes. Measured: a twentieth of an export's time is not spent so.
    """
    with suppress(AttributeError, OSError):  # not every system can
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileKek:
    """A KEK kept in a file of 32 bytes, mode 0600; see `ports.Kek`."""

    def __init__(self, path: Path) -> None:
        try:
            key = path.read_bytes()
            open_to_others = path.stat().st_mode & 0o077
        except OSError as error:
            raise KekError(
                f"the key file cannot be read ({error.strerror}): set METERKEEP_KEK, or bring the "
                "file back from its backup"
            ) from None
        if len(key) != KEY_SIZE:
            raise KekError("the key file does not hold 32 bytes")
        if open_to_others:
            raise KekError("the key file can be read by others: chmod 600 it")
        self._key = cipher(key)

    @staticmethod
    def create(path: Path) -> None:
        """Draw a key into a new file, durably. Raises KekError where one exists."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, new_key())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _sync_directory(path.parent)
        except OSError as error:
            raise KekError(f"the key file cannot be made: {error.strerror}") from None

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return ``secret`` wrapped and bound to ``context``."""
        return wrap(self._key, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return what was wrapped; raises KekError for another key or context."""
        try:
            return unwrap(self._key, wrapped, context, "bucket")
        except TamperedError:
            raise KekError(
                "a key does not open: METERKEEP_KEK names another key than this store's (the one "
                "before a rotation?), or the key register was changed"
            ) from None
