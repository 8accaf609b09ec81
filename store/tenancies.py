"""Subjects: one customer at one meter point. Who is which, from which half-hour on.

The tenancies of a meter point follow each other without gaps; each ends where the next begins, and
the first is open to the past, so that reads before any known move-in have a home. An erased tenancy
stays as a tombstone: its window without a subject, so that ingest brings nobody quietly back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, null, select, update

from store import envelope, tables
from store.database import MOST_ROWS, Prepared, insert_absent, portions
from store.envelope import fields
from store.errors import CommitConflictError, ErasedError, InputError, TamperedError
from store.grounds import Tenancy, chain
from store.keys import Dek, Keys, bucket_of
from store.log import Entry, Kind, Log
from store.log_index import LogIndex
from store.marks import PROOF, TOGETHER, Marks, proven
from store.reads import Mpxn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from store.database import Database, Session

_ASKED = 500  # meter points asked for in one statement
_TRIES = 3


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


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What one transaction of an erasure destroyed.

    Attributes:
        subjects: Whose keys.
        entries: The log entries that say so, one to at most 64 customers.
        counts: How many customers each of them is about.
        places: Tag and first half-hour of each customer.
        details: How many log details went.
    """

    subjects: tuple[bytes, ...] = field(repr=False)
    entries: tuple[bytes, ...]
    counts: tuple[int, ...]
    places: tuple[tuple[bytes, int], ...] = field(repr=False)
    details: int


class Tenancies:
    """Creates and resolves subjects."""

    def __init__(self, database: Database, keys: Keys, log: Log, marks: Marks) -> None:
        self._database, self._keys, self._log, self._marks = database, keys, log, marks
        self._index = LogIndex()

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
        found, moves = self._find(mpxns)
        missing = [mpxn for mpxn, rows in found.items() if not rows]
        for some in portions(missing, MOST_ROWS // 2):
            self._create(some)
        if missing:
            fresh, _ = self._find(missing)
            found.update(fresh)
        of = {mpxn: chain(rows) for mpxn, rows in found.items()}
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
        self, connection: Session, subjects: Sequence[bytes], *, ask: bool = True
    ) -> dict[bytes, dict[int, Dek]]:
        """Return every DEK of each subject, by number; the erased have none.

        Raises:
            ColdKeyError: The KEK would have to be asked, and ``ask`` is False.
            TamperedError: A register row was moved or changed.
            KekError: The KEK's keeper refuses or does not answer.
        """
        opened: dict[bytes, dict[int, Dek]] = {}
        for subject in subjects:
            for row in _DEKS.rows(connection, subject=subject):
                dek = self._keys.open_dek(connection, subject, *row, ask=ask)
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

    def unsealed(
        self, connection: Session, tags: Mapping[bytes, bytes]
    ) -> dict[bytes, tuple[str, dict[int, Dek]]]:
        """Return the meter point and the keys of each subject; the erased are left out.

        Args:
            connection: The snapshot.
            tags: The tag of each subject, as a decision names it.

        Raises:
            TamperedError: A subject stands beside another meter point than its key sealed.
        """
        found: dict[bytes, tuple[str, dict[int, Dek]]] = {}
        for subject, deks in self.all_deks(connection, list(tags)).items():
            for (text,) in _MPXN.rows(connection, subject=subject):
                found[subject] = (self._meter_point(subject, text, tags[subject], deks), deks)
        return found

    def _meter_point(self, subject: bytes, text: bytes, tag: bytes, deks: Mapping[int, Dek]) -> str:
        for dek in deks.values():
            with suppress(TamperedError):
                opened = envelope.unwrap(dek.key, text, _mpxn_context(subject, dek), "mpxn")
                mpxn = Mpxn(opened.decode())
                if self._keys.tag(mpxn) == tag:
                    return mpxn.text
        raise TamperedError("mpxn", "a customer's key stands beside another meter point")

    def opened(self, connection: Session, subject: bytes) -> Mpxn:
        """Return the meter point of a customer, as their own key sealed it.

        Raises:
            ErasedError: The customer has no key.
            TamperedError: The key, or what it sealed, is not what was kept.
        """
        deks = self.all_deks(connection, [subject]).get(subject)
        if deks is None:
            raise ErasedError
        dek = deks[max(deks)]
        [(sealed,)] = _MPXN.rows(connection, subject=subject)
        return Mpxn(envelope.unwrap(dek.key, sealed, _mpxn_context(subject, dek), "mpxn").decode())

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
        tag = self._keys.tag(mpxn, connection)
        known = self.of(connection, tag)
        if known and known[-1].window.start >= start:
            raise InputError("a tenancy begins there, or later, already", code="tenancy_exists")
        moved = self._move(connection)
        dek, row = self._keys.new_dek(connection, subject)
        self._keys.hold(connection, [row])
        connection.execute(insert(tables.deks), row)
        connection.execute(
            insert(tables.tenancies),
            self._row(tag, start, subject, mpxn, dek) | {"moved": moved, "entry": entry},
        )

    def renew(self, connection: Connection, subjects: Sequence[bytes]) -> list[bytes]:
        """Give customers a DEK beside the one they have; returns those who had one.

        Their sealed meter point goes under the new one. Commits under way begin anew.
        """
        moved, t = self._move(connection), tables.tenancies
        done = []
        for subject, deks in self.all_deks(connection, subjects).items():
            old = deks[max(deks)]
            dek, row = self._keys.new_dek(connection, subject, old.number + 1)
            self._keys.hold(connection, [row])
            connection.execute(insert(tables.deks), row)
            [(sealed,)] = _MPXN.rows(connection, subject=subject)
            text = envelope.unwrap(old.key, sealed, _mpxn_context(subject, old), "mpxn")
            again = envelope.wrap(dek.key, text, _mpxn_context(subject, dek))
            here = update(t).where(t.c.subject == subject)
            connection.execute(here.values(mpxn=again, moved=moved))
            done.append(subject)
        return done

    def erase(
        self,
        connection: Connection,
        tags: Sequence[bytes],
        at: float,
        basis: str,
        on: int | None = None,
    ) -> Destroyed:
        """Destroy the keys of the customers of meter points, in the caller's transaction.

        Args:
            connection: The transaction.
            tags: At most some hundred meter points.
            at: Seconds since 1970.
            basis: Who ordered it, on which basis; for the log.
            on: Only who lived there at this half-hour; None for every customer there was.
        """
        moved, t = self._move(connection), tables.tenancies
        rows = connection.execute(_PROVEN_OF.where(t.c.tag.in_(tags))).all()
        live = [row for row in map(tuple, rows) if row[PROOF + 2] is not None]
        if on is not None:
            there = {row[PROOF:-1][:2] for row in map(tuple, rows) if row[PROOF + 1] <= on}
            last = {tag: max(start for of, start in there if of == tag) for tag, _ in there}
            live = [row for row in live if last.get(row[PROOF]) == row[PROOF + 1]]
        subjects = [row[PROOF + 2] for row in live]
        entries, counts = [], []
        for some in portions(live, TOGETHER):
            # What was written by hand is erased too, and not stated anew: it grants nothing still.
            true = [row for row in some
                    if self._marks.holds("tenancy", row[PROOF:-1], row[-1], row)]  # fmt: skip
            detail = {
                "basis": basis,
                "facts": [self.mark(row[PROOF], row[PROOF + 1], None) for row in true],
                "ended": [self.mark(*row[PROOF:-1]) for row in true],
            }
            [leaf] = self._log.append(connection, Entry(Kind.ERASE, "keys erase", detail=detail))
            entries.append(leaf)
            counts.append(len(some))
            proof = {id(row): leaf for row in true}
            _TOMBSTONE.run(connection, [
                {"t": row[PROOF], "s": row[PROOF + 1], "at": at, "moved_": moved,
                 "leaf": proof.get(id(row), row[-1])}
                for row in some
            ])  # fmt: skip
        connection.execute(delete(tables.deks).where(tables.deks.c.subject.in_(subjects)))
        connection.execute(delete(tables.rejected).where(tables.rejected.c.subject.in_(subjects)))
        details = self._index.forget(connection, *subjects)
        places = tuple((row[PROOF], row[PROOF + 1]) for row in live)
        return Destroyed(tuple(subjects), tuple(entries), tuple(counts), places, details)

    def bury(self, connection: Connection, tag: bytes, start: int, at: float) -> bytes | None:
        """State a tombstone of a customer whom this database does not know; returns its entry.

        None where somebody's tenancy begins there: see `erase`.
        """
        t = tables.tenancies
        here = select(t.c.start).where(t.c.tag == tag, t.c.start == start)
        if connection.execute(here).first() is not None:
            return None
        detail = {"basis": "restore", "facts": [self.mark(tag, start, None)]}
        [leaf] = self._log.append(connection, Entry(Kind.ERASE, "keys erase", detail=detail))
        row = {"tag": tag, "start": start, "erased": at, "moved": self._move(connection)}
        connection.execute(insert(t), row | {"entry": leaf})
        return leaf

    def of_subject(self, connection: Connection, subject: bytes) -> tuple[bytes, int] | None:
        """Return tag and first half-hour of a live customer, or None."""
        t = tables.tenancies.c
        row = connection.execute(select(t.tag, t.start).where(t.subject == subject)).first()
        return None if row is None else (bytes(row.tag), int(row.start))

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

    def unmoved(self, connection: Connection, moves: int, tags: Sequence[bytes]) -> None:
        """Check that no tenancy of ``tags`` changed since ``moves``; the head row is locked.

        Raises:
            CommitConflictError: Somebody moved in or was erased meanwhile.
        """
        t = tables.tenancies
        moved = set(connection.execute(select(t.c.tag).where(t.c.moved > moves)).scalars())
        # Renamed meanwhile, a meter point is the same one still.
        if moved and not moved.isdisjoint(self._keys.tags.later(tags)):
            raise CommitConflictError(
                "a customer moved in or was erased meanwhile: run it again, nothing was committed"
            )

    def _find(
        self, mpxns: Iterable[Mpxn]
    ) -> tuple[dict[Mpxn, list[tuple[int, bytes | None, bytes]]], int]:
        t = tables.tenancies
        found: dict[Mpxn, list[tuple[int, bytes | None, bytes]]] = {}
        with self._database.read() as connection:
            moves: int = connection.execute(select(tables.head.c.moves)).scalar_one()
            for some in portions(mpxns, _ASKED):
                tags = {self._keys.tag(mpxn, connection): mpxn for mpxn in some}
                found |= {mpxn: [] for mpxn in some}
                query = (
                    select(t.c.tag, t.c.start, t.c.subject, t.c.entry)
                    .where(t.c.tag.in_(tags))
                    .order_by(t.c.start)
                )
                for tag, *row in connection.execute(query):
                    found[tags[tag]].append(tuple(row))
        return found, moves

    def _create(self, mpxns: Sequence[Mpxn]) -> None:
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
        drawn = {mpxn: os.urandom(16) for mpxn in mpxns}
        self._keys.ensure_buckets({bucket_of(subject) for subject in drawn.values()})
        made, keys = {}, []
        with self._database.read() as connection:  # the KEK is asked here: no writer waits for it
            for mpxn, subject in drawn.items():
                dek, row = self._keys.new_dek(connection, subject)
                keys.append(row)
                made[mpxn] = dek
        t = tables.tenancies
        with self._database.write() as connection:
            self._keys.tags.settle(connection)
            self._keys.hold(connection, keys)
            rows = [
                self._row(self._keys.tag(mpxn, connection), 0, subject, mpxn, made[mpxn])
                for mpxn, subject in drawn.items()
            ]
            for some in portions(rows, TOGETHER):
                facts = [self.mark(row["tag"], 0, row["subject"]) for row in some]
                stated = Entry(Kind.FACT, "tenancy first", detail={"facts": facts})
                [entry] = self._log.append(connection, stated)
                for row in some:
                    row |= {"moved": 0, "entry": entry}
            if insert_absent(connection, t, rows) != len(rows):
                subjects = list(drawn.values())
                won = set()
                for asked in portions(subjects, _ASKED):
                    won |= set(connection.execute(
                        select(t.c.subject).where(t.c.subject.in_(asked))
                    ).scalars())  # fmt: skip
                keys = [row for row in keys if row["subject"] in won]
                lost = [self.mark(row["tag"], 0, row["subject"]) for row in rows
                        if row["subject"] not in won]  # fmt: skip
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

    def _row(self, tag: bytes, start: int, subject: bytes, mpxn: Mpxn, dek: Dek) -> dict[str, Any]:
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
_PROVEN_OF = proven(tables.tenancies, _t.tag, _t.start, _t.subject, _t.entry).order_by(
    _t.tag, _t.start
)
_TOMBSTONE = Prepared(
    update(tables.tenancies)
    .where(_t.tag == bindparam("t"), _t.start == bindparam("s"))
    .values(
        subject=null(), mpxn=null(), erased=bindparam("at"), moved=bindparam("moved_"),
        entry=bindparam("leaf"),
    )
)  # fmt: skip
