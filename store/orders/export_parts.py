"""The parts of exports: planned, begun, published, each once. SQL alone.

Parts of one range of subjects are a slice: begun, made and published together. A part's object is
named by how often its slice was begun, so names are given once, and what a killed worker left
behind is known by arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, insert, select, update

from store import tables
from store.errors import CommitConflictError
from store.log.writer import canonical
from store.orders.exported import Export, Part, Progress
from store.orders.meters import empty, note
from store.sql.statements import MOST_ROWS, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.orders.lease import Leases
    from store.ports import Clock
    from store.sql.database import Database

_p = tables.export_parts
_NAMES = [column.name for column in _p.c if column.name != "export"]


class Parts:
    """Writes and reads which parts there are."""

    def __init__(self, database: Database, leases: Leases, clock: Clock) -> None:
        self._database, self._leases, self._clock = database, leases, clock

    def plan(self, export: Export, parts: Iterable[Part]) -> None:
        """Write the parts down that are to be made; what an earlier plan wrote is replaced."""
        empty(self._database, _p, _p.c.number, export.id)
        for some in portions(parts, MOST_ROWS):
            rows = [
                {"export": export.id} | {name: getattr(part, name) for name in _NAMES}
                for part in some
            ]
            with self._database.write() as connection:
                self._leases.mine(connection, export)
                connection.execute(insert(_p), rows)

    def of(self, identity: str, *conditions: Any) -> list[Part]:
        """Return the parts of an export, by number."""
        query = select(*(_p.c[name] for name in _NAMES)).where(_p.c.export == identity, *conditions)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_p.c.number)).mappings()
            return [Part(**row) for row in rows]

    def one(self, identity: str, number: int) -> Part | None:
        """Return one part, or None."""
        found = self.of(identity, _p.c.number == number)
        return found[0] if found else None

    def of_slice(self, identity: str, number: int) -> list[Part]:
        """Return the parts of one slice, by number."""
        return self.of(identity, _p.c.slice == number)

    def slices(self, identity: str) -> list[int]:
        """Return the slices that are not published yet."""
        p = _p.c
        query = select(p.slice).distinct().where(p.export == identity, p.published.is_(None))
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(p.slice)).scalars())

    def attempt(self, export: Export, number: int) -> list[Part]:
        """Begin a slice, durably; returns its parts, named by how often it was begun."""
        here = (_p.c.export == export.id, _p.c.slice == number)
        with self._database.write() as connection:
            self._leases.mine(connection, export)
            connection.execute(update(_p).where(*here).values(attempt=_p.c.attempt + 1))
        return self.of_slice(export.id, number)

    def publish(self, export: Export, parts: Sequence[Part], codes: Mapping[bytes, str]) -> None:
        """Publish the parts of one slice; ``codes``: what is refused since it was decided.

        Raises:
            CommitConflictError: The export ended, or another attempt of the slice is under way.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            self._leases.mine(connection, export)
            for part in parts:
                here = (_p.c.export == export.id, _p.c.number == part.number,
                        _p.c.attempt == part.attempt, _p.c.published.is_(None))  # fmt: skip
                told = {"rows": part.rows, "expected": part.expected, "present": part.present,
                        "size": part.size, "sealed": part.sealed, "plain": part.plain}  # fmt: skip
                shown = update(_p).where(*here).values(told | {"published": now})
                if connection.execute(shown).rowcount != 1:
                    raise CommitConflictError("another attempt at this part was first")
            if codes:
                _withhold(connection, export, codes, parts[0].slice)

    def lacking(self, identity: str, low: bytes, high: bytes) -> list[tuple[bytes, bytes]]:
        """Return the subjects from ``low`` to ``high`` of whom an export lacks something.

        Returns:
            Ranges, first and last: of its slices that less was published of than was decided at
            its start. Who goes on from that export has not got everything that is in them.
        """
        p = _p.c
        query = select(p.slice, p.low, p.high).distinct().where(
            p.export == identity, p.high >= low, p.low <= high
        )  # fmt: skip
        told = select(tables.exports.c.told).where(tables.exports.c.id == identity)
        with self._database.read() as connection:
            said = orjson.loads(connection.execute(told).scalar() or "{}")
            if not said.get("later"):
                return []
            if "lacking" not in said:  # by an older program, which did not note where
                return [(low, high)]
            some = set(said["lacking"])
            return [(a, z) for slice_, a, z in connection.execute(query) if slice_ in some]

    def progress(self, identity: str) -> Progress:
        """Return how far an export is."""
        p = _p.c
        columns = (func.count(), func.count(p.published), func.sum(p.present), func.sum(p.size))
        with self._database.read() as connection:
            row = connection.execute(select(*columns).where(p.export == identity)).one()
        return Progress(*(int(value or 0) for value in row))


def _withhold(
    connection: Connection, export: Export, codes: Mapping[bytes, str], number: int
) -> None:
    """Count what is refused since the export was decided, and note it where it was named.

    The slice's number is noted too: see `Parts.lacking`.
    """
    e = tables.exports
    here = e.c.id == export.id
    told = orjson.loads(connection.execute(select(e.c.told).where(here)).scalar_one())
    later = told.setdefault("later", {})
    for code in codes.values():
        later[code] = later.get(code, 0) + 1
    told.setdefault("lacking", []).append(number)
    connection.execute(update(e).where(here).values(told=canonical(told).decode()))
    note(connection, export.id, codes.items())
