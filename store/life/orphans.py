"""Objects that nothing names: what a restored database has forgotten, and nobody can read. No key.

    register=..   neither live, pending, dead nor doomed in the catalogue
    exports/..    of an export that is not known

The log and the journal are never among them. The only place where a keeper is asked to list. Names
are written down before their objects are put, so what was listed first and is named by nothing
afterwards is nobody's. A database that is behind its log names too little: it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from store import tables
from store.errors import LogError, ProofError, TamperedError
from store.log.shelf import Shelf
from store.log.writer import Entry, Kind
from store.proofs.notes import Checkpoint
from store.sql.statements import portions

if TYPE_CHECKING:
    from store.log.writer import Log
    from store.ports import Clock, Objects
    from store.sql.database import Database

FILES, EXPORTS = "register=", "exports/"
_TOGETHER = 500  # objects asked about, and removed, at once


@dataclass(frozen=True, slots=True)
class Orphans:
    """How much there is that nothing names."""

    objects: int
    size: int


class Orphanage:
    """Finds objects that nothing names, and removes them when told."""

    def __init__(self, database: Database, objects: Objects, log: Log, clock: Clock) -> None:
        self._database, self._objects = database, objects
        self._log, self._clock = log, clock

    def count(self) -> Orphans:
        """Return how many there are; removes nothing."""
        found = [size for some in self._found() for _, size in some]
        return Orphans(len(found), sum(found))

    def clear(self) -> Orphans:
        """Remove them, each portion behind an entry of the log that says how many.

        Raises:
            LogError: The database is behind its log (``log_rolled_back``): run `restore` first.
            ObjectError: The keeper does not answer; run it again.
        """
        self._stand_where_the_log_stands()
        objects = size = 0
        for some in self._found():
            detail = {"objects": len(some), "bytes": sum(one for _, one in some)}
            self._log.write(Entry(Kind.OPERATE, "sweep orphans", detail=detail))
            for name, _ in some:
                self._objects.delete(name)
            objects, size = objects + len(some), size + detail["bytes"]
        return Orphans(objects, size)

    def _found(self) -> Iterator[list[tuple[str, int]]]:
        for prefix in (FILES, EXPORTS):
            for some in portions(list(self._objects.names(prefix)), _TOGETHER):
                known = self._known(prefix, [name for name, _ in some])
                lost = [one for one in some if _named(prefix, one[0]) not in known]
                if lost:
                    yield lost

    def _known(self, prefix: str, names: list[str]) -> set[str]:
        column = tables.files.c.name if prefix == FILES else tables.exports.c.id
        asked = sorted({_named(prefix, name) for name in names})
        with self._database.read() as connection:
            query = select(column).where(column.in_(asked))
            return set(connection.execute(query).scalars())

    def _stand_where_the_log_stands(self) -> None:
        t = tables.trees.c
        with self._database.read() as connection:
            numbered = dict(map(tuple, connection.execute(select(t.shard, t.numbered))))
        # A year that the database does not know yet may have begun since.
        for shard in {*numbered, *_years(self._clock.now())}:
            note = Shelf(self._objects, shard).checkpoint()
            if note is not None and _size(note) > numbered.get(shard, 0):
                raise LogError(
                    "the database is behind its log and names too little: `meterkeep restore`",
                    code="log_rolled_back",
                )


def _named(prefix: str, name: str) -> str:
    """Return what the catalogue calls an object: a file by its name, a part by its export."""
    return name if prefix == FILES else name.removeprefix(prefix).partition("/")[0]


def _years(now: float) -> list[int]:
    year = 1970 + int(now // (365.2425 * 86_400))
    return [year - 1, year, year + 1]


def _size(note: bytes) -> int:
    """Return the size that a checkpoint tells; whether it is signed is not asked without keys."""
    text, _, _ = note.decode("utf-8", "replace").partition("\n\n")
    try:
        return Checkpoint.parse(text + "\n").size
    except ProofError:
        raise TamperedError("checkpoint", "the log's checkpoint is not one") from None
