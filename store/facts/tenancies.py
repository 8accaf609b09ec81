"""Subjects: one customer at one meter point. Who is which, from which half-hour on.

The tenancies of a meter point follow each other without gaps; each ends where the next begins, and
the first is open to the past. An erased tenancy stays as a tombstone: its window without a subject,
so that ingest brings nobody quietly back. `occupants` states who comes and goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from store import tables
from store.errors import CommitConflictError, ErasedError, TamperedError
from store.facts.census import Census, Homes
from store.facts.marks import PROOF, Marks, proven
from store.grounds import Tenancy, chain
from store.keys import sealed_names
from store.keys.deks import Dek
from store.keys.register import Keys
from store.log.writer import Log
from store.reads import Mpxn
from store.sql.statements import MOST_ROWS, Prepared, portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from store.sql.database import Database
    from store.sql.statements import Session

_BESIDE = "a customer's key stands beside another meter point"


class Tenancies:
    """Resolves subjects, and makes the first one of a meter point."""

    def __init__(self, database: Database, keys: Keys, log: Log, marks: Marks) -> None:
        self._database, self._keys, self._marks = database, keys, marks
        self._homes = Homes(database, keys, log, marks)

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
        found, moves = self._homes.find(mpxns)
        missing = [mpxn for mpxn, rows in found.items() if not rows]
        for some in portions(missing, MOST_ROWS // 2):
            self._homes.create(some)
        if missing:
            fresh, _ = self._homes.find(missing)
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

    def of_subject(self, connection: Connection, subject: bytes) -> tuple[bytes, int] | None:
        """Return tag and first half-hour of a live customer, or None."""
        t = tables.tenancies.c
        row = connection.execute(select(t.tag, t.start).where(t.subject == subject)).first()
        return None if row is None else (bytes(row.tag), int(row.start))

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

    # ---- keys, and what they name ------------------------------------------------------------

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
                dek = self._keys.deks.open(connection, subject, *row, ask=ask)
                opened.setdefault(subject, {})[dek.number] = dek
        return opened

    @staticmethod
    def proves(connection: Session, subject: bytes, deks: Mapping[int, Dek], mpxn: Mpxn) -> None:
        """See that ``subject`` was made for ``mpxn``, by what its own key sealed.

        A subject written beside another meter point by hand would hand out a neighbour's reads.

        Raises:
            TamperedError: It is another meter point's.
        """
        for (sealed,) in _MPXN.rows(connection, subject=subject):
            if mpxn in sealed_names.named(subject, deks, sealed):
                return
        raise TamperedError("mpxn", _BESIDE)

    def opened(self, connection: Session, subject: bytes) -> Mpxn:
        """Return the meter point of a customer, as their own key sealed it.

        Raises:
            ErasedError: The customer has no key.
            TamperedError: The key, or what it sealed, is not what was kept.
        """
        deks = self.all_deks(connection, [subject]).get(subject)
        if deks is None:
            raise ErasedError
        [(sealed,)] = _MPXN.rows(connection, subject=subject)
        return sealed_names.unseal(subject, deks[max(deks)], sealed)


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
