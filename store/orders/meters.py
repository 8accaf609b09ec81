"""What an export may read: which half-hours of whom, and why others are left out. SQL alone.

Written once, when the export is decided; a slice takes its range of subjects from here. Whoever
was asked for by name and is left out is told with a code; of others the codes are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from store import tables
from store.log.writer import Entry, Log, canonical
from store.orders import export_customers, export_grounds
from store.orders.exported import Export, Meter
from store.sql.statements import MOST_ROWS, Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.engine import Connection

    from store.orders.lease import Leases
    from store.sql.database import Database

TOGETHER = 2_000  # meters written in one transaction: some 5 ms, as MOST_ROWS is of other rows
_m, _a = tables.export_meters, tables.export_asked


class Meters:
    """Writes and reads what exports may read."""

    def __init__(self, database: Database, log: Log, leases: Leases) -> None:
        self._database, self._log, self._leases = database, log, leases

    def begin(self, export: Export) -> None:
        """Forget what an earlier decision, cut short, wrote of an export."""
        with self._database.write() as connection:
            self._leases.mine(connection, export, state="deciding")
            connection.execute(update(_a).where(_a.c.export == export.id).values(code=None))
            export_grounds.begin(connection, export.id)
        empty(self._database, _m, _m.c.subject, export.id)

    def allow(self, export: Export, meters: Sequence[Meter], number: int) -> None:
        """Write down what an export may read; ``number`` is the first one's leaf."""
        for at in range(0, len(meters), TOGETHER):
            some = meters[at : at + TOGETHER]
            rows = [
                {"export": export.id, "subject": one.subject, "registers": one.registers,
                 "start": one.start, "end": one.end, "tag": one.tag, "number": number + place}
                for place, one in enumerate(some, start=at)
            ]  # fmt: skip
            rested = [one.entry for one in some]
            with self._database.write() as connection:
                self._leases.mine(connection, export)
                _ALLOW.run(connection, rows)
                export_grounds.put(connection, export.id, number + at, rested)

    def remember(self, export: Export) -> int:
        """Write down whose reads an export holds, for who asks later; returns how many they are."""
        count = 0
        with self._database.write() as connection:
            self._leases.mine(connection, export)
            export_customers.begin(connection, export.id)
        for some in export_customers.pages(self.subjects(export.id)):
            with self._database.write() as connection:
                self._leases.mine(connection, export)
                export_customers.put(connection, export.id, some)
            count += sum(map(len, some))
        return count

    def refuse(self, export: Export, codes: Mapping[bytes, str]) -> None:
        """Note why meter points that were asked for by name are left out; others are counted."""
        for some in portions(codes.items(), MOST_ROWS):
            with self._database.write() as connection:
                self._leases.mine(connection, export)
                note(connection, export.id, some)

    def decided(
        self, export: Export, commit: int, meters: int, told: Mapping[str, Any], entry: Entry
    ) -> None:
        """Make the decision durable, with its leaf: from now on rows may be opened."""
        state = "running" if meters else "refused"
        with self._database.write() as connection:
            self._leases.mine(connection, export, state=state)
            [leaf] = self._log.append(connection, entry)
            e = tables.exports
            known = {"commit": commit, "meters": meters, "told": canonical(told).decode()}
            ended = {} if meters else {"ended": leaf}
            connection.execute(
                update(e).where(e.c.id == export.id).values(known | {"entry": leaf} | ended)
            )

    def subjects(self, identity: str) -> Iterator[bytes]:
        """Yield the subjects of an export, ascending, each once."""
        m = _m.c
        last = b""
        query = select(m.subject).distinct().where(m.export == identity).order_by(m.subject)
        while True:
            with self._database.read() as connection:
                some = query.where(m.subject > last).limit(MOST_ROWS * 20)
                found = connection.execute(some).scalars().all()
            if not found:
                return
            yield from found
            last = found[-1]

    def between(self, identity: str, low: bytes, high: bytes) -> list[Meter]:
        """Return what an export may read of the subjects from ``low`` to ``high``, ascending."""
        with self._database.read() as connection:
            rows = _BETWEEN.rows(connection, export=identity, low=low, high=high)
        return [Meter(*row) for row in rows]

    def asked(self, identity: str) -> list[bytes]:
        """Return the tags of the meter points that were asked for by name, as they were then."""
        query = select(_a.c.tag).where(_a.c.export == identity).order_by(_a.c.number)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def left_out(self, identity: str) -> list[tuple[str, str]]:
        """Return the handle and code of each meter point that was asked for and is left out."""
        a = _a.c
        query = select(a.handle, a.code).where(a.export == identity, a.code.is_not(None))
        with self._database.read() as connection:
            return [(str(h), str(c)) for h, c in connection.execute(query.order_by(a.number))]


def note(connection: Connection, identity: str, codes: Iterable[tuple[bytes, str]]) -> None:
    """Note the code of each of some meter points that were asked for by name."""
    for tag, code in codes:
        here = update(_a).where(_a.c.export == identity, _a.c.tag == tag)
        connection.execute(here.values(code=code))


def empty(database: Database, table: Table, key: ColumnElement[Any], identity: str) -> None:
    """Delete the rows of an export, some at a time: no transaction grows with a fleet."""
    some = select(key).where(table.c.export == identity).limit(MOST_ROWS).scalar_subquery()
    gone = delete(table).where(table.c.export == identity, key.in_(some))
    while True:
        with database.write() as connection:
            if connection.execute(gone).rowcount == 0:
                return


_ALLOW = Prepared(insert(_m))
_BETWEEN = Prepared(
    select(_m.c.subject, _m.c.registers, _m.c.start, _m.c.end, _m.c.tag)
    .where(
        _m.c.export == bindparam("export"),
        _m.c.subject.between(bindparam("low"), bindparam("high")),
    )
    .order_by(_m.c.subject, _m.c.start)
)
