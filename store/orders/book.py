"""The book of exports: what was ordered, and how it ended. SQL alone.

    waiting -> deciding -> running -> done
                  |           |-----> failed
                  +-> refused +-----> cancelled          expired: its parts are gone

Who works on an export is told by `lease`, what it may read by `meters`, and what is
made of it by `export_parts`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import func, insert, select, update

from store import tables
from store.errors import InputError
from store.log.writer import Entry, Kind, Log, canonical
from store.orders.export_parts import Parts
from store.orders.exported import Asked, Export
from store.orders.lease import UNFINISHED, Leases, unpin
from store.orders.meters import Meters, empty
from store.sql.statements import MOST_ROWS, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.sql.database import Database
    from store.sql.statements import Session

LIFE: Final = 14 * 86_400.0  # seconds that an export is kept
GRACE: Final = 900.0  # seconds that a worker may still put what nobody waits for
CLEARED: Final = -1.0  # the lease of an export whose parts are gone
MOST_OPEN: Final = 8  # exports of one party that wait or run
MOST_A_DAY: Final = 96  # that one party orders in one UTC day, whatever becomes of them
_DAY: Final = 86_400.0  # seconds
_UNKNOWN: Final = "no export of yours has this id"
_e = tables.exports
_COLUMNS: Final = (
    _e.c.id, _e.c.party, _e.c.state, _e.c.created, _e.c.expires, _e.c.question, _e.c.recipient,
    _e.c.commit, _e.c.meters, _e.c.told, _e.c.entry, _e.c.ended, _e.c.failed, _e.c.epoch,
)  # fmt: skip


class Book:
    """Takes orders, gives them to who works on them, and writes how they ended.

    Attributes:
        leases: Who works on which.
        meters: What each may read.
        parts: What is made of each.
    """

    def __init__(self, database: Database, log: Log, clock: Clock) -> None:
        self._database, self._log, self._clock = database, log, clock
        self.leases = Leases(database, clock)
        self.meters = Meters(database, log, self.leases)
        self.parts = Parts(database, self.leases, clock)

    def open(
        self,
        party: str,
        question: Mapping[str, Any],
        recipient: str,
        asked: Iterable[Asked],
        also: Callable[[Session], bool] | None = None,
    ) -> Export:
        """Write an order down, with its leaf; returns it once it is durable.

        Raises:
            InputError: The party has MOST_OPEN exports that wait or run, or has ordered MOST_A_DAY
                today (``too_many_exports``); or ``also`` said that something was used before
                (``used_before``).
        """
        identity, now = "x_" + os.urandom(12).hex(), self._clock.now()
        row = {
            "id": identity, "party": party, "state": "waiting", "created": now,
            "expires": now + LIFE, "question": canonical(question).decode(),
            "recipient": recipient, "meters": 0, "told": "{}", "epoch": 0, "lease": 0.0,
        }  # fmt: skip
        rows = [
            {"export": identity, "number": number, "tag": one.tag, "handle": one.handle}
            for number, one in enumerate(asked)
        ]
        for some in portions(rows, MOST_ROWS):  # seen by nobody until the order itself stands
            with self._database.write() as connection:
                connection.execute(insert(tables.export_asked), list(some))
        with self._database.write() as connection:
            self._room(connection, party, now)
            if also is not None and not also(connection):
                raise InputError("this was used before: make a new one", code="used_before")
            detail = {"export": identity, "question": question, "listed": len(rows)}
            self._log.append(connection, Entry(Kind.EXPORT, "export order", party, detail=detail))
            connection.execute(insert(_e), row)
        return self.get(identity, party)

    @staticmethod
    def _room(connection: Connection, party: str, now: float) -> None:
        """See that a party may order one more; a fleet's half-hours count for no answer's limit."""
        one = select(tables.parties.c.code).where(tables.parties.c.code == party)
        connection.execute(one.with_for_update())  # two orders at once are counted in turn
        mine = select(func.count()).where(_e.c.party == party)
        if connection.execute(mine.where(_e.c.state.in_(UNFINISHED))).scalar_one() >= MOST_OPEN:
            raise InputError("wait for one of your exports to end", code="too_many_exports")
        today = mine.where(_e.c.created >= now // _DAY * _DAY)
        if connection.execute(today).scalar_one() >= MOST_A_DAY:
            raise InputError(
                f"you ordered {MOST_A_DAY} exports today (UTC): order again tomorrow",
                code="too_many_exports",
            )

    def get(self, identity: str, party: str) -> Export:
        """Return an export of ``party``. Raises InputError: another's and none are alike."""
        found = self._where(_e.c.id == identity, _e.c.party == party)
        if not found:
            raise InputError(_UNKNOWN, code="unknown_export")
        return found[0]

    def find(self, identity: str) -> Export | None:
        """Return an export, whoever's, or None."""
        found = self._where(_e.c.id == identity)
        return found[0] if found else None

    def waiting(self) -> bool:
        """Return whether an export waits, or was left by who worked on it."""
        return bool(self.leases.due())

    def take(self) -> Export | None:
        """Take up the oldest export that waits, or that nobody works on any more."""
        for identity in self.leases.due():
            with self._database.write() as connection:
                if self.leases.take(connection, identity):
                    return self._read(connection, _e.c.id == identity)[0]
        return None

    # ---- its end -----------------------------------------------------------------------------

    def finish(self, export: Export, detail: Mapping[str, Any]) -> None:
        """State that an export is done: every part is published."""
        self._end(export, "done", detail)

    def fail(self, export: Export, code: str) -> None:
        """State that an export cannot be made."""
        self._end(export, "failed", {"code": code}, code)

    def cancel(self, identity: str, party: str) -> Export:
        """End an export that is not done. Raises InputError (``export_state``) where it is."""
        self._end(self.get(identity, party), "cancelled")
        return self.get(identity, party)

    def expired(self) -> list[Export]:
        """Return the exports whose time is over and whose parts are not gone yet."""
        return self._where(_e.c.expires < self._clock.now() - GRACE, _e.c.lease != CLEARED)

    def forget(self, identity: str) -> None:
        """Remove what an expired export was allowed and its parts; that there was one stays."""
        for table, key in (
            (tables.export_meters, "subject"),
            (tables.export_asked, "number"),
            (tables.export_parts, "number"),
        ):
            empty(self._database, table, table.c[key], identity)
        here = update(_e).where(_e.c.id == identity, _e.c.expires < self._clock.now())
        with self._database.write() as connection:
            done = here.where(_e.c.state.in_(("done", "refused", *UNFINISHED)))
            connection.execute(done.values(state="expired"))
            connection.execute(here.values(lease=CLEARED, epoch=_e.c.epoch + 1))

    def _end(
        self,
        export: Export,
        state: str,
        detail: Mapping[str, Any] | None = None,
        failed: str | None = None,
    ) -> None:
        mine = [_e.c.id == export.id, _e.c.state.in_(UNFINISHED)]
        if state != "cancelled":
            mine.append(_e.c.epoch == export.epoch)
        entry = Entry(
            Kind.EXPORT, f"export {state}", export.party,
            detail={"export": export.id, "began": (export.entry or b"").hex(), **(detail or {})},
        )  # fmt: skip
        with self._database.write() as connection:
            [leaf] = self._log.append(connection, entry)
            gone = update(_e).where(*mine).values(state=state, ended=leaf, failed=failed, lease=0.0)
            if state != "done":  # nothing of it will be fetched: sweep may clear it
                gone = gone.values(expires=self._clock.now())
            if connection.execute(gone).rowcount != 1:
                raise InputError("this export has ended", code="export_state")
            unpin(connection, export)

    def _where(self, *conditions: Any) -> list[Export]:
        with self._database.read() as connection:
            return self._read(connection, *conditions)

    @staticmethod
    def _read(connection: Connection, *conditions: Any) -> list[Export]:
        query = select(*_COLUMNS).where(*conditions).order_by(_e.c.created, _e.c.id)
        found = []
        for row in connection.execute(query).mappings():
            said = {name: orjson.loads(row[name]) for name in ("question", "told")}
            found.append(Export(**{**row, **said}))
        return found
