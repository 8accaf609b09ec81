"""Which customers many meter points have; a first one is made where there is none.

The first tenancy of a meter point is open to the past, so that reads before any known move-in have
a home. Where two writers make one at once, the row that was there first stands.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from store import tables
from store.errors import CommitConflictError
from store.facts.marks import TOGETHER, Marks
from store.grounds import Tenancy
from store.keys import sealed_names
from store.keys.bucket_keys import bucket_of
from store.keys.deks import Dek
from store.keys.register import Keys
from store.log.writer import Entry, Kind, Log
from store.reads import Mpxn
from store.sql.statements import insert_absent, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.sql.database import Database

_ASKED = 500  # meter points asked for in one statement
_TRIES = 3
Row = tuple[int, bytes | None, bytes]  # first half-hour, subject, log entry


@dataclass(frozen=True, slots=True)
class Census:
    """The tenancies of many meter points at one moment, and their keys.

    Attributes:
        moves: head.moves at that moment; see `Tenancies.unmoved`.
        of: The tenancies of each meter point.
        deks: The key of each live subject.
    """

    moves: int
    of: Mapping[Mpxn, tuple[Tenancy, ...]] = field(repr=False)
    deks: Mapping[bytes, Dek] = field(repr=False)


class Homes:
    """Finds and begins the tenancies of meter points."""

    def __init__(self, database: Database, keys: Keys, log: Log, marks: Marks) -> None:
        self._database, self._keys, self._log, self._marks = database, keys, log, marks

    def find(self, mpxns: Iterable[Mpxn]) -> tuple[dict[Mpxn, list[Row]], int]:
        """Return the tenancies of each meter point by time, and head.moves of that moment."""
        t = tables.tenancies
        found: dict[Mpxn, list[Row]] = {}
        with self._database.read() as connection:
            moves: int = connection.execute(select(tables.head.c.moves)).scalar_one()
            for some in portions(mpxns, _ASKED):
                tags = {self._keys.tags.of(mpxn, connection): mpxn for mpxn in some}
                found |= {mpxn: [] for mpxn in some}
                query = (
                    select(t.c.tag, t.c.start, t.c.subject, t.c.entry)
                    .where(t.c.tag.in_(tags))
                    .order_by(t.c.start)
                )
                for tag, *row in connection.execute(query):
                    found[tags[tag]].append(tuple(row))
        return found, moves

    def create(self, mpxns: Sequence[Mpxn]) -> None:
        """Make first tenancies; where another writer made one meanwhile, its row stands."""
        for again in range(_TRIES):
            try:
                self._try_to_create(mpxns)
            except CommitConflictError:  # a bucket key was rotated between drawing and writing
                if again + 1 == _TRIES:
                    raise
            else:
                return

    def _try_to_create(self, mpxns: Sequence[Mpxn]) -> None:
        drawn, keys = self._drawn(mpxns)
        with self._database.write() as connection:
            self._keys.tags.settle(connection)
            self._keys.buckets.hold(connection, keys)
            rows = [
                {"tag": self._keys.tags.of(mpxn, connection), "start": 0, "subject": subject,
                 "mpxn": sealed_names.seal(subject, dek, mpxn), "moved": 0}
                for mpxn, (subject, dek) in drawn.items()
            ]  # fmt: skip
            for some in portions(rows, TOGETHER):
                entry = self._state(connection, {"facts": self._told(some)})
                for row in some:
                    row["entry"] = entry
            if insert_absent(connection, tables.tenancies, rows) != len(rows):
                won = _kept(connection, [subject for subject, _ in drawn.values()])
                keys = [row for row in keys if row["subject"] in won]
                lost = [row for row in rows if row["subject"] not in won]
                for some in portions(lost, TOGETHER):
                    self._state(connection, {"facts": [], "ended": self._told(some)})
            if keys:
                connection.execute(insert(tables.deks), keys)

    def _drawn(
        self, mpxns: Sequence[Mpxn]
    ) -> tuple[dict[Mpxn, tuple[bytes, Dek]], list[dict[str, Any]]]:
        """Return a new subject and key for each, and the rows of these keys."""
        subjects = {mpxn: os.urandom(16) for mpxn in mpxns}
        self._keys.buckets.ensure({bucket_of(subject) for subject in subjects.values()})
        drawn, keys = {}, []
        with self._database.read() as connection:  # the KEK is asked here: no writer waits for it
            for mpxn, subject in subjects.items():
                dek, row = self._keys.deks.new(connection, subject)
                keys.append(row)
                drawn[mpxn] = subject, dek
        return drawn, keys

    def _told(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Return the marks of first tenancies."""
        return [self._marks.of("tenancy", (row["tag"], 0, row["subject"])) for row in rows]

    def _state(self, connection: Connection, detail: Mapping[str, Any]) -> bytes:
        [leaf] = self._log.append(connection, Entry(Kind.FACT, "tenancy first", detail=detail))
        return leaf


def _kept(connection: Connection, subjects: Sequence[bytes]) -> set[bytes]:
    """Return which of these subjects have a tenancy."""
    t, kept = tables.tenancies.c, set[bytes]()
    for some in portions(subjects, _ASKED):
        kept |= set(connection.execute(select(t.subject).where(t.subject.in_(some))).scalars())
    return kept
