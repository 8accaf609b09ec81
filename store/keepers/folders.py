"""A folder copied so that whatever has a name is whole: linked, or written beside and renamed.

Asked again where the disk fails now and then (see `patient`). Names that begin with a dot are
drafts, and are not copied.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import ObjectError
from store.keepers.patient import again


def copy_folder(source: Path, target: Path) -> int:
    """Link, or copy, what ``source`` has and ``target`` has not; returns how many it has.

    Raises:
        ObjectError: One cannot be copied, however often it is asked for.
    """
    count, folders = 0, [Path()] if source.exists() else []
    again(_make, target)
    while folders:
        here = folders.pop()
        inner, names = again(_list, source / here)
        for name in inner:
            again(_make, target / here / name)
            folders.append(here / name)
        count += sum(again(_bring, source / here / name, target / here / name) for name in names)
        sync(target / here)  # not again: what a sync lost, the next one does not tell
    return count


@contextmanager
def refused() -> Iterator[None]:
    """Tell what the system refuses as ObjectError."""
    try:
        yield
    except OSError as error:
        raise ObjectError(f"an object cannot be copied: {error.strerror}") from None


def _make(folder: Path) -> None:
    with refused():
        folder.mkdir(parents=True, exist_ok=True)


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Return what is in a folder: folders, and files but for drafts."""
    with refused(), os.scandir(folder) as entries:
        inner, names = list[str](), list[str]()
        for entry in entries:
            if not entry.name.startswith("."):
                (inner if entry.is_dir() else names).append(entry.name)
        return inner, names


def _bring(source: Path, target: Path) -> bool:
    """Link or copy one object; False where it was swept away meanwhile: it was dead for long."""
    if target.exists():
        return True
    with refused():
        try:
            os.link(source, target)
        except FileNotFoundError:
            return False
        except OSError:  # another filesystem
            return _copy(source, target)
        return True


def _copy(source: Path, target: Path) -> bool:
    draft = target.with_name(f".{target.name}")
    try:
        shutil.copyfile(source, draft)
    except FileNotFoundError:
        return False
    with draft.open("rb") as copied:
        os.fsync(copied.fileno())
    draft.replace(target)
    return True


def write(path: Path, text: str) -> None:
    """Put ``text`` at ``path``, synced, in one step. Raises ObjectError."""
    with refused():
        put_whole(path, text.encode())
        sync(path.parent)


def put_whole(path: Path, body: bytes) -> None:
    """Put ``body`` at ``path`` in one step, itself synced and not its name. Raises OSError."""
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def sync(path: Path) -> None:
    """Sync a file, or the names of a folder. Raises ObjectError."""
    with refused():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
