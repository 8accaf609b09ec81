"""Subjects: one customer at one meter point. Who is which, from which half-hour on.

The tenancies of a meter point follow each other without gaps; each ends where the next begins, and
the first is open to the past, so that reads before any known move-in have a home. An erased tenancy
stays as a tombstone: its window without a subject, so that ingest brings nobody quietly back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from store import envelope, tables
from store.database import MOST_ROWS, Prepared, insert_absent, portions
from store.envelope import fields
from store.errors import CommitConflictError, InputError, TamperedError
from store.grounds import Tenancy, chain
from store.keys import Dek, Keys, bucket_of
from store.log import Entry, Kind, Log
from store.marks import PROOF, TOGETHER, Marks, proven
from store.reads import Mpxn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from store.database import Database, Session

_ASKED = 500  # meter points asked for in one statement


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


class Tenancies:
    """Creates and resolves subjects."""

    def __init__(self, database: Database, keys: Keys, log: Log, marks: Marks) -> None:
        self._database, self._keys, self._log, self._marks = database, keys, log, marks

    @staticmethod
    def of(connection: Session, tag: bytes) -> tuple[Tenancy, ...]:
        """Return the tenancies of one meter point, by time; none where it is unknown."""
        return chain(_OF.rows(connection, tag=tag))

    def believed(self, connection: Session, tag: bytes) -> tuple[Tenancy, ...]:
        """Return the tenancies of one meter point as they were stated; what a decision rests on.

        Raises:
            TamperedError: One was written or changed by hand.
        """
        rows = _PROVEN.rows(connection, tag=tag)
        for row in rows:
            start, subject, entry = row[PROOF:]
            self._marks.check("tenancy", (tag, start, subject), entry, row)
        return chain([(row[PROOF], row[PROOF + 1], row[PROOF + 2]) for row in rows])

    def mark(self, tag: bytes, start: int, subject: bytes | None) -> str:
        """Return what the leaf of a tenancy must say for the tenancy to count."""
        return self._marks.of("tenancy", (tag, start, subject))

    def census(self, mpxns: Iterable[Mpxn]) -> Census:
        """Return tenancies and keys of ``mpxns``, making a first tenancy where there is none."""
        tags = {self._keys.tag(mpxn): mpxn for mpxn in mpxns}
        found, moves = self._find(tags)
        missing = [tag for tag in tags if tag not in found]
        for some in portions(missing, MOST_ROWS // 2):
            self._create(some, tags)
        if missing:
            fresh, _ = self._find(dict.fromkeys(missing))
            found.update(fresh)
        of = {tags[tag]: chain(rows) for tag, rows in found.items()}
        subjects = [t.subject for chained in of.values() for t in chained if t.subject is not None]
        with self._database.read() as connection:
            deks = self.deks(connection, subjects)
        if any(subject not in deks for subject in subjects):
            raise CommitConflictError(
                "a customer was erased meanwhile: run it again, nothing was committed"
            )
        return Census(moves, of, deks)

    def deks(self, connection: Session, subjects: Sequence[bytes]) -> dict[bytes, Dek]:
        """Return the newest DEK of each subject that has one; the erased have none."""
        every = self.all_deks(connection, subjects)
        return {subject: deks[max(deks)] for subject, deks in every.items()}

    def all_deks(
        self, connection: Session, subjects: Sequence[bytes]
    ) -> dict[bytes, dict[int, Dek]]:
        """Return every DEK of each subject, by number; the erased have none.

        Raises:
            TamperedError: A register row was moved or changed.
            KekError: The KEK's keeper refuses or does not answer.
        """
        opened: dict[bytes, dict[int, Dek]] = {}
        for subject in subjects:
            for row in _DEKS.rows(connection, subject=subject):
                dek = self._keys.open_dek(connection, subject, *row)
                opened.setdefault(subject, {})[dek.number] = dek
        return opened

    @staticmethod
    def proves(connection: Session, subject: bytes, deks: Mapping[int, Dek], mpxn: Mpxn) -> None:
        """See that ``subject`` was made for ``mpxn``, by what its own key sealed.

        A subject written beside another meter point by hand would hand out a neighbour's reads.

        Raises:
            TamperedError: It is another meter point's.
        """
        sealed = _MPXN.rows(connection, subject=subject)
        for (text,) in sealed:
            for dek in deks.values():
                with suppress(TamperedError):
                    opened = envelope.unwrap(dek.key, text, _mpxn_context(subject, dek), "mpxn")
                    if opened == mpxn.text.encode():
                        return
        raise TamperedError("mpxn", "a customer's key stands beside another meter point")

    def draw(self) -> bytes:
        """Return a fresh subject, random, whose bucket has its key."""
        subject = os.urandom(16)
        self._keys.ensure_buckets({bucket_of(subject)})
        return subject

    def move_in(
        self, connection: Connection, mpxn: Mpxn, start: int, subject: bytes, entry: bytes
    ) -> None:
        """Begin the tenancy of ``subject`` (see `draw`) at half-hour ``start``.

        The meter point has its first tenancy already: see `census`.

        Raises:
            InputError: A tenancy begins there already, or a later one is known.
        """
        tag = self._keys.tag(mpxn)
        known = self.of(connection, tag)
        if known and known[-1].window.start >= start:
            raise InputError("a tenancy begins there, or later, already", code="tenancy_exists")
        moved = self._move(connection)
        dek, row = self._keys.new_dek(connection, subject)
        connection.execute(insert(tables.deks), row)
        connection.execute(
            insert(tables.tenancies),
            self._row(tag, start, subject, mpxn, dek) | {"moved": moved, "entry": entry},
        )

    def erase(self, connection: Connection, tag: bytes, at: float, basis: str) -> int:
        """Destroy the keys of every tenancy of a meter point; return how many it destroyed."""
        t = tables.tenancies
        every = _PROVEN.rows(connection, tag=tag)
        live = [row for row in every if row[PROOF + 1] is not None]
        subjects = [row[PROOF + 1] for row in live]
        # What was written by hand is erased too, and not stated anew: it goes on granting nothing.
        true = [row[PROOF] for row in live
                if self._marks.holds("tenancy", (tag, *row[PROOF:-1]), row[-1], row)]  # fmt: skip
        facts = [self.mark(tag, start, None) for start in true]
        ended = [self.mark(tag, *row[PROOF:-1]) for row in live if row[PROOF] in true]
        detail = {"basis": basis, "facts": facts, "ended": ended}
        stated = Entry(Kind.ERASE, "keys erase", detail=detail)
        [leaf] = self._log.append(connection, stated)
        moved = self._move(connection)
        connection.execute(delete(tables.deks).where(tables.deks.c.subject.in_(subjects)))
        connection.execute(delete(tables.rejected).where(tables.rejected.c.subject.in_(subjects)))
        gone = {"subject": None, "mpxn": None, "erased": at, "moved": moved}
        here = update(t).where(t.c.tag == tag, t.c.subject.is_not(None))
        connection.execute(here.where(t.c.start.in_(true)).values(gone | {"entry": leaf}))
        connection.execute(here.values(gone))
        return len(live)

    def adopt(self, connection: Connection) -> None:
        """State anew what an older program stated, in the caller's transaction."""
        t = tables.tenancies
        rows = connection.execute(select(t.c.tag, t.c.start, t.c.subject)).all()
        for some in portions(rows, TOGETHER):
            facts = [self.mark(*row) for row in some]
            entry = Entry(Kind.FACT, "tenancy adopt", detail={"facts": facts})
            [leaf] = self._log.append(connection, entry)
            for tag, start, _ in some:
                here = update(t).where(t.c.tag == tag, t.c.start == start)
                connection.execute(here.values(entry=leaf))

    @staticmethod
    def unmoved(connection: Connection, moves: int, tags: Iterable[bytes]) -> None:
        """Check that no tenancy of ``tags`` changed since ``moves``; the head row is locked.

        Raises:
            CommitConflictError: Somebody moved in or was erased meanwhile.
        """
        t = tables.tenancies
        query = select(t.c.tag).where(t.c.moved > moves)
        if not set(connection.execute(query).scalars()).isdisjoint(tags):
            raise CommitConflictError(
                "a customer moved in or was erased meanwhile: run it again, nothing was committed"
            )

    def _find(
        self, tags: Iterable[bytes]
    ) -> tuple[dict[bytes, list[tuple[int, bytes | None, bytes]]], int]:
        t = tables.tenancies
        found: dict[bytes, list[tuple[int, bytes | None, bytes]]] = {}
        with self._database.read() as connection:
            moves: int = connection.execute(select(tables.head.c.moves)).scalar_one()
            for some in portions(tags, _ASKED):
                query = (
                    select(t.c.tag, t.c.start, t.c.subject, t.c.entry)
                    .where(t.c.tag.in_(some))
                    .order_by(t.c.start)
                )
                for tag, *row in connection.execute(query):
                    found.setdefault(tag, []).append(tuple(row))
        return found, moves

    def _create(self, tags: Sequence[bytes], mpxns: Mapping[bytes, Mpxn]) -> None:
        """Make first tenancies; where another writer made one meanwhile, its row stands."""
        drawn = {tag: os.urandom(16) for tag in tags}
        self._keys.ensure_buckets({bucket_of(subject) for subject in drawn.values()})
        rows, keys = {}, []
        with self._database.read() as connection:  # the KEK is asked here: no writer waits for it
            for tag, subject in drawn.items():
                dek, row = self._keys.new_dek(connection, subject)
                keys.append(row)
                rows[tag] = self._row(tag, 0, subject, mpxns[tag], dek) | {"moved": 0}
        t = tables.tenancies
        with self._database.write() as connection:
            for some in portions(drawn, TOGETHER):
                facts = [self.mark(tag, 0, drawn[tag]) for tag in some]
                made = Entry(Kind.FACT, "tenancy first", detail={"facts": facts})
                [entry] = self._log.append(connection, made)
                for tag in some:
                    rows[tag]["entry"] = entry
            if insert_absent(connection, t, list(rows.values())) != len(rows):
                subjects = list(drawn.values())
                won = set()
                for asked in portions(subjects, _ASKED):
                    won |= set(connection.execute(
                        select(t.c.subject).where(t.c.subject.in_(asked))
                    ).scalars())  # fmt: skip
                keys = [row for row in keys if row["subject"] in won]
                lost = [self.mark(tag, 0, drawn[tag]) for tag in tags if drawn[tag] not in won]
                for marks in portions(lost, TOGETHER):
                    unsaid = {"facts": [], "ended": list(marks)}
                    self._log.append(connection, Entry(Kind.FACT, "tenancy first", detail=unsaid))
            if keys:
                connection.execute(insert(tables.deks), keys)

    @staticmethod
    def _move(connection: Connection) -> int:
        head = tables.head
        connection.execute(update(head).values(moves=head.c.moves + 1))
        moved: int = connection.execute(select(head.c.moves)).scalar_one()
        return moved

    def _row(
        self, tag: bytes, start: int, subject: bytes, mpxn: Mpxn, dek: Dek
    ) -> dict[str, object]:
        sealed = envelope.wrap(dek.key, mpxn.text.encode(), _mpxn_context(subject, dek))
        return {"tag": tag, "start": start, "subject": subject, "mpxn": sealed}


def _mpxn_context(subject: bytes, dek: Dek) -> bytes:
    return fields(b"meterkeep mpxn v1", subject, dek.number.to_bytes(4, "big"))


_t, _d = tables.tenancies.c, tables.deks.c
_OF = Prepared(
    select(_t.start, _t.subject, _t.entry).where(_t.tag == bindparam("tag")).order_by(_t.start)
)
_PROVEN = Prepared(
    proven(tables.tenancies, _t.start, _t.subject, _t.entry)
    .where(_t.tag == bindparam("tag"))
    .order_by(_t.start)
)
_DEKS = Prepared(
    select(_d.number, _d.generation, _d.wrapped, _d.check).where(_d.subject == bindparam("subject"))
)
_MPXN = Prepared(select(_t.mpxn).where(_t.subject == bindparam("subject")))
