"""Consents that ended long ago go, with their events. Needs the KEK: their marks are made anew.

What a consent once allowed stands in the log's leaves; of what they state, the rows here are gone
and the leaf ``retain consents`` ends their marks, so that the store still is what its log says. A
consent that has not ended stays, however old it is. Without its row it grants nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, or_, select

from store import tables
from store.facts.consent_states import ENDED
from store.facts.fact_kinds import TAGGED, FactKind
from store.facts.marks import Marks
from store.log.writer import Entry, Kind, Log
from store.reads import HALF_HOUR

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.sql.database import Database

TOGETHER = 16  # consents of one transaction and leaf
_KINDS: Mapping[str, FactKind] = {kind.name: kind for kind in TAGGED}


class ExpiredConsents:
    """Lets go of consents whose end is past its time."""

    def __init__(self, database: Database, log: Log, marks: Marks) -> None:
        self._database, self._log, self._marks = database, log, marks

    def count(self, before: float) -> int:
        """Return how many ended before ``before``, seconds since 1970; changes nothing."""
        with self._database.read() as connection:
            return len(connection.execute(_ended(before)).all())

    def forget(self, before: float) -> int:
        """Let go of those that ended before ``before``; returns how many. Twice is harmless."""
        gone = 0
        while True:
            with self._database.write() as connection:
                due = _ended(before).limit(TOGETHER)
                names = list(connection.execute(due).scalars())
                if not names:
                    return gone
                self._forget(connection, names)
            gone += len(names)

    def _forget(self, connection: Connection, names: list[str]) -> None:
        consents, events = tables.consents, tables.consent_events
        mine = ((_KINDS["consent"], consents.c.id), (_KINDS["consent event"], events.c.consent))
        ended = [
            mark
            for kind, name in mine
            for mark in self._marks_of(
                kind, connection.execute(select(kind.table).where(name.in_(names))).mappings()
            )
        ]
        detail = {"consents": names, "facts": [], "ended": ended}
        self._log.append(connection, Entry(Kind.OPERATE, "retain consents", detail=detail))
        for kind, name in mine:
            connection.execute(delete(kind.table).where(name.in_(names)))

    def _marks_of(self, kind: FactKind, rows: Iterable[Mapping[Any, Any]]) -> list[str]:
        return [self._marks.of(kind.name, [row[name] for name in kind.columns]) for row in rows]


def _ended(before: float) -> Any:
    """Return the query of consents that ended before ``before``, in whichever way; see `ENDED`."""
    c, e, t = tables.consents.c, tables.consent_events.c, tables.tenancies.c
    last = select(e.at).where(e.consent == c.id, e.version == c.version).scalar_subquery()
    moved = select(t.start).where(
        t.tag == c.tag, t.start > c.tenancy, t.start * int(HALF_HOUR) < before
    )
    return select(c.id).where(
        or_(
            and_(c.state.in_(ENDED), last < before),
            and_(c.state == "granted", c.expires < before),
            and_(c.state == "requested", c.answer_by < before),
            and_(c.state.in_(("granted", "requested")), moved.exists()),
        )
    ).order_by(c.id)  # fmt: skip
