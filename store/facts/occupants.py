"""Customers come and go: who moved in, whose key is renewed, whose keys are destroyed.

Each is stated by a log leaf, in the caller's transaction, and counted in head.moves, so that a
commit under way that drew on the tenancies of before begins anew (`Tenancies.unmoved`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, null, select, update

from store import tables
from store.audit.index import LogIndex
from store.errors import InputError
from store.facts.marks import PROOF, TOGETHER, Marks, proven
from store.facts.tenancies import Tenancies
from store.keys import sealed_names
from store.keys.bucket_keys import bucket_of
from store.keys.deks import Dek
from store.keys.register import Keys
from store.log.writer import Entry, Kind, Log
from store.reads import Mpxn
from store.sql.statements import Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What one transaction of an erasure destroyed.

    Attributes:
        subjects: Whose keys.
        entries: The log entries that say so, one to at most 64 customers.
        counts: How many customers each of them is about.
        places: Tag and first half-hour of each customer.
        details: How many log details went.
        known: Tags of the meter points that anybody was ever a customer of.
    """

    subjects: tuple[bytes, ...] = field(repr=False)
    entries: tuple[bytes, ...]
    counts: tuple[int, ...]
    places: tuple[tuple[bytes, int], ...] = field(repr=False)
    details: int
    known: frozenset[bytes] = field(repr=False)


class Occupants:
    """States who comes and who goes."""

    def __init__(self, tenancies: Tenancies, keys: Keys, log: Log, marks: Marks) -> None:
        self._tenancies, self._keys, self._log, self._marks = tenancies, keys, log, marks
        self._index = LogIndex()

    def draw(self) -> bytes:
        """Return a fresh subject, random, whose bucket has its key."""
        subject = os.urandom(16)
        self._keys.buckets.ensure({bucket_of(subject)})
        return subject

    def move_in(
        self, connection: Connection, mpxn: Mpxn, start: int, subject: bytes, entry: bytes
    ) -> None:
        """Begin the tenancy of ``subject`` (see `draw`) at half-hour ``start``.

        The meter point has its first tenancy already: see `census`.

        Raises:
            InputError: A tenancy begins there already, or a later one is known.
        """
        tag = self._keys.tags.of(mpxn, connection)
        known = self._tenancies.of(connection, tag)
        if known and known[-1].window.start >= start:
            raise InputError("a tenancy begins there, or later, already", code="tenancy_exists")
        moved = _move(connection)
        dek = self._key(connection, subject, 1)
        row = {
            "tag": tag, "start": start, "subject": subject, "moved": moved, "entry": entry,
            "mpxn": sealed_names.seal(subject, dek, mpxn),
        }  # fmt: skip
        connection.execute(insert(tables.tenancies), row)

    def renew(self, connection: Connection, subjects: Sequence[bytes]) -> list[bytes]:
        """Give customers a DEK beside the one they have; returns those who had one.

        Their sealed meter point goes under the new one. Commits under way begin anew.
        """
        moved, t = _move(connection), tables.tenancies
        done = []
        for subject, deks in self._tenancies.all_deks(connection, subjects).items():
            mpxn = self._tenancies.opened(connection, subject)
            dek = self._key(connection, subject, max(deks) + 1)
            again = {"mpxn": sealed_names.seal(subject, dek, mpxn), "moved": moved}
            connection.execute(update(t).where(t.c.subject == subject).values(again))
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
        moved, entries, counts = _move(connection), list[bytes](), list[int]()
        live, known = _living(connection, tags, on)
        for some in portions(live, TOGETHER):
            entries.append(self._end(connection, some, at, basis, moved))
            counts.append(len(some))
        subjects = [row[PROOF + 2] for row in live]
        connection.execute(delete(tables.deks).where(tables.deks.c.subject.in_(subjects)))
        connection.execute(delete(tables.rejected).where(tables.rejected.c.subject.in_(subjects)))
        details = self._index.forget(connection, *subjects)
        places = tuple((row[PROOF], row[PROOF + 1]) for row in live)
        return Destroyed(
            tuple(subjects), tuple(entries), tuple(counts), places, details, known
        )  # fmt: skip

    def _key(self, connection: Connection, subject: bytes, number: int) -> Dek:
        """Give a customer a key."""
        dek, row = self._keys.deks.new(connection, subject, number)
        self._keys.buckets.hold(connection, [row])
        connection.execute(insert(tables.deks), row)
        return dek

    def _end(self, connection: Connection, some: Rows, at: float, basis: str, moved: int) -> bytes:
        """Let tombstones be of these tenancies; returns the entry that states them.

        What was written by hand is erased too, and not stated anew: it grants nothing still.
        """
        true = [row for row in some if self._marks.holds("tenancy", row[PROOF:-1], row[-1], row)]
        detail = {
            "basis": basis,
            "facts": [self._tenancies.mark(row[PROOF], row[PROOF + 1], None) for row in true],
            "ended": [self._tenancies.mark(*row[PROOF:-1]) for row in true],
        }
        [leaf] = self._log.append(connection, Entry(Kind.ERASE, "keys erase", detail=detail))
        stated = {id(row): leaf for row in true}
        _TOMBSTONE.run(connection, [
            {"t": row[PROOF], "s": row[PROOF + 1], "at": at, "moved_": moved,
             "leaf": stated.get(id(row), row[-1])}
            for row in some
        ])  # fmt: skip
        return leaf

    def bury(self, connection: Connection, tag: bytes, start: int, at: float) -> bytes | None:
        """State a tombstone of a customer whom this database does not know; returns its entry.

        None where somebody's tenancy begins there: see `erase`. Where it is the first of its meter
        point there is one before it too, so that no half-hour is nobody's.
        """
        t = tables.tenancies
        known = set(connection.execute(select(t.c.start).where(t.c.tag == tag)).scalars())
        if start in known:
            return None
        starts = [start] if known or start == 0 else [0, start]
        facts = [self._tenancies.mark(tag, one, None) for one in starts]
        detail = {"basis": "restore", "facts": facts}
        [leaf] = self._log.append(connection, Entry(Kind.ERASE, "keys erase", detail=detail))
        same = {"tag": tag, "erased": at, "moved": _move(connection), "entry": leaf}
        connection.execute(insert(t), [same | {"start": one} for one in starts])
        return leaf

    def adopt(self, connection: Connection) -> None:
        """State anew what an older program stated, in the caller's transaction."""
        t = tables.tenancies
        rows = connection.execute(select(t.c.tag, t.c.start, t.c.subject)).all()
        for some in portions(rows, TOGETHER):
            facts = [self._tenancies.mark(*row) for row in some]
            entry = Entry(Kind.FACT, "tenancy adopt", detail={"facts": facts})
            [leaf] = self._log.append(connection, entry)
            for tag, start, _ in some:
                here = update(t).where(t.c.tag == tag, t.c.start == start)
                connection.execute(here.values(entry=leaf))


def _living(
    connection: Connection, tags: Sequence[bytes], on: int | None
) -> tuple[Rows, frozenset[bytes]]:
    """Return the proven rows of who is not erased, and which of ``tags`` are known at all.

    The rows are of all, or of who lived there at ``on``.
    """
    rows = [tuple(row) for row in connection.execute(_PROVEN_OF.where(_t.tag.in_(tags)))]
    live, known = [row for row in rows if row[PROOF + 2] is not None], {row[PROOF] for row in rows}
    if on is not None:
        last = {row[PROOF]: row[PROOF + 1] for row in rows if row[PROOF + 1] <= on}  # by time
        live = [row for row in live if last.get(row[PROOF]) == row[PROOF + 1]]
    return live, frozenset(map(bytes, known))


def _move(connection: Connection) -> int:
    """Count one move; returns its number. Locks the head."""
    head = tables.head
    connection.execute(update(head).values(moves=head.c.moves + 1))
    moved: int = connection.execute(select(head.c.moves)).scalar_one()
    return moved


_t = tables.tenancies.c
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
