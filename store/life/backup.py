"""Backup and restore of the embedded store: one consistent point of database and objects.

    DIR/catalogue.db   SQLite's own online copy, taken first
    DIR/objects/       every object that there is after it, linked where one filesystem holds both
    DIR/backup.json    which store, at which commit, when

Objects are named once and never changed (the one that is, is replaced by another file), so a link
is a copy. What the database names is among them, since files stay for a while after they are dead.
What has an object's name is whole: a copy is written beside it and renamed. A disk that fails now
and then is asked again; a backup that fails all the same leaves no folder behind.
**The key file is not in it**: a backup opens nothing by itself.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from store.errors import CatalogueError, InputError
from store.keepers.folders import copy_folder, refused, sync, write
from store.keepers.patient import again

if TYPE_CHECKING:
    from store.ports import Clock

CATALOGUE, OBJECTS, ABOUT = "catalogue.db", "objects", "backup.json"
FORM = 2  # of 1, ``objects`` counted those too that were swept away while it was made
_NOT_EMBEDDED = "PostgreSQL and S3 have backups of their own: see store/README.md, A backup"
_PAGES = 1_000  # of the database, copied between two looks of its writers


class _NoBackupError(InputError):
    code = "no_backup"

    def __init__(self) -> None:
        super().__init__("this is no whole backup")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup holds.

    Attributes:
        at: When it was made, seconds since 1970.
    """

    commit: int
    objects: int
    at: float


def back_up(database_url: str, objects: Path, folder: Path, clock: Clock) -> Kept:
    """Copy an embedded store into ``folder``, which must not be there; it may be in use.

    Raises:
        InputError: The folder is there already (``backup_exists``).
        CatalogueError: The database cannot be copied.
        ObjectError: An object cannot be copied.
    """
    source = _file(database_url)
    with refused():
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise InputError(
                "a backup goes into a folder of its own, which is not there yet",
                code="backup_exists",
            ) from None
    try:
        commit = _copy_database(source, folder / CATALOGUE)
        count = copy_folder(objects, folder / OBJECTS)
        about = {"commit": commit, "at": clock.now(), "objects": count, "form": FORM}
        again(write, folder / ABOUT, json.dumps(about) + "\n")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Kept(commit, count, about["at"])


def put_back(folder: Path, database_url: str, objects: Path) -> Kept:
    """Put the database of a backup in its place, and those of its objects that are gone.

    What the folder of objects holds stays: newer entries of the log and of the journal are there.

    Raises:
        InputError: ``folder`` is no whole backup (``no_backup``), or a database is in its place
            already (``database_exists``): nothing is ever replaced.
        CatalogueError: The database cannot be copied.
        ObjectError: An object cannot be copied: run it again.
    """
    target = _file(database_url)
    try:
        about = json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError):
        raise _NoBackupError from None
    if target.exists():
        raise InputError(
            "a database is there already: move it away, it is never replaced; or run it without a "
            "folder, to go on with a restore that was broken off",
            code="database_exists",
        )
    with refused():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    count = copy_folder(folder / OBJECTS, objects)
    if about["form"] > 1 and count < about["objects"]:
        raise _NoBackupError
    draft = target.with_name(target.name + ".restored")
    _copy_database(folder / CATALOGUE, draft)
    with refused():
        draft.replace(target)
    sync(target.parent)
    return Kept(int(about["commit"]), int(about["objects"]), float(about["at"]))


def folder_of(objects: str) -> Path:
    """Return the folder that a setting of objects names.

    Raises:
        InputError: It is none: S3 keeps them, and a backup would have the database alone
            (``not_embedded``).
    """
    if "://" in objects:
        raise InputError(_NOT_EMBEDDED, code="not_embedded")
    return Path(objects)


def tells_since(objects: Path) -> bool:
    """Return whether the log lies in this folder: it tells what happened since a backup.

    Asked before `put_back`. Where it does not, the only log is the backup's own, and of whoever
    was erased after that nobody knows any more.
    """
    return any(objects.glob("log/*/checkpoint"))


def _copy_database(source: Path, target: Path) -> int:
    """Copy a database page by page while others use it; returns its newest commit."""
    try:
        came, went = sqlite3.connect(f"file:{source}?mode=ro", uri=True), sqlite3.connect(target)
        try:
            came.backup(went, pages=_PAGES)
            went.execute("PRAGMA journal_mode=DELETE")
            [whole] = went.execute("PRAGMA quick_check(1)").fetchone()
            [commit] = went.execute('SELECT "commit" FROM head').fetchone()
        finally:
            came.close()
            went.close()
        sync(target)
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        text = (
            f"the database cannot be copied ({name}): is there room, and may it be written there?"
        )
        raise CatalogueError(text) from None
    if whole != "ok":
        raise CatalogueError("the copy of the database is not whole")
    return int(commit)


def _file(database_url: str) -> Path:
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        raise InputError(_NOT_EMBEDDED, code="not_embedded")
    return Path(url.database)
