"""What is past its time goes, and an erasure is told complete once no backup can undo it. No key.

    reads          files of months that ended more than `half_hourly_reads` days ago are dead, or
                   than the days of their register; sweep removes them. A file holds one register
                   and month: nothing is opened, nothing is merged
    refused lines  of commits older than `refused_lines` days are deleted
    details        of answers and refusals older than `log` days are deleted; their leaves stay
    erasures       are *erased everywhere* once each backup of the key register that could hold the
                   keys is too old to be kept (`backups` days), or the KEK of that time is destroyed

`policies/retention.toml` says how many days. What is done is logged first, in its own transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, or_, select, update

from store import tables
from store.audit.index import LogIndex
from store.facts.erasing import REMAINS
from store.lake.files import FileState
from store.log.writer import Entry, Kind
from store.policy.retention_rules import DAY, RetentionRules
from store.reads import first_day_of, month_name
from store.sql.statements import MOST_ROWS

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from store.log.writer import Log
    from store.ports import Clock
    from store.sql.database import Database

_FILES = 200  # files of one transaction: their names stand in its leaf's detail


@dataclass(frozen=True, slots=True)
class Retained:
    """What went, or would go.

    Attributes:
        files: Files of months that are past.
        lines: Groups of refused lines.
        details: Log details.
        erasures: Customers who are erased everywhere from now on.
        waiting: Customers who are erased, and not everywhere yet.
        clean: Whether the database's own remains of what was deleted are gone too.
    """

    files: int
    lines: int
    details: int
    erasures: int
    waiting: int
    clean: bool = True


class Retention:
    """Enforces the rules of retention."""

    def __init__(self, database: Database, log: Log, clock: Clock, rules: RetentionRules) -> None:
        self._database, self._log, self._clock, self._rules = database, log, clock, rules
        self._index = LogIndex()

    def due(self) -> Retained:
        """Return what is past its time; changes nothing."""
        with self._database.read() as connection:
            files, lines = (_count(connection, one) for one in (self._files(), self._lines()))
            details = self._index.count_before(connection, self._before("log"))
            everywhere = self._customers(connection, self._is_everywhere())
            waiting = self._customers(connection, ~self._is_everywhere())
        return Retained(files, lines, details, everywhere, waiting)

    def enforce(self) -> Retained:
        """Let go of what is past its time; returns what went. Twice is harmless.

        Raises:
            CatalogueError: The database failed; run it again.
        """
        files = sum(self._each(self._files(), self._drop_files))
        lines = sum(self._each(self._lines(), self._drop_lines))
        details = sum(self._drop_details())
        erasures = sum(self._each(self._everywhere(), self._complete))
        clean = self._database.overwrite(*REMAINS)
        return Retained(files, lines, details, erasures, self.due().waiting, clean)

    # ---- what is due -------------------------------------------------------------------------

    def _before(self, what: str) -> float:
        return self._clock.now() - self._rules.days[what] * DAY

    def _files(self) -> Any:
        f, own, now = tables.files.c, self._rules.registers, self._clock.now()
        bounds = [
            and_(f.register == register, f.month < _month_before(int(now // DAY) - days))
            for register, days in own.items()
        ]
        month = _month_before(int(self._before("half_hourly_reads") // DAY))
        bounds.append(and_(f.register.not_in([*own]), f.month < month))
        query = select(f.id, f.name, f.month, f.index_digest)
        return query.where(or_(*bounds), f.state == FileState.LIVE)

    def _lines(self) -> Any:
        r, c = tables.rejected.c, tables.commits.c
        old = c.at < self._before("refused_lines")
        return select(r.id).join(tables.commits, c.batch == r.batch).where(old)

    def _is_everywhere(self) -> Any:
        e, k = tables.erasures.c, tables.keks.c
        # Destroyed are all epochs up to that of the erasure: a backup is under one of them.
        kept = select(k.epoch).where(k.epoch <= e.kek, k.destroyed.is_(None)).exists()
        known = select(k.epoch).where(k.epoch == e.kek).exists()
        aged = e.at < self._clock.now() - self._rules.backups * DAY
        return or_(aged, and_(known, ~kept))

    def _everywhere(self) -> Any:
        e = tables.erasures.c
        return select(e.entry, e.customers).where(e.everywhere.is_(None), self._is_everywhere())

    @staticmethod
    def _customers(connection: Connection, which: Any) -> int:
        e = tables.erasures.c
        query = select(func.coalesce(func.sum(e.customers), 0))
        return int(connection.execute(query.where(e.everywhere.is_(None), which)).scalar_one())

    # ---- what is done ------------------------------------------------------------------------

    def _each(self, query: Any, drop: Any) -> Iterator[int]:
        """Yield how many ``drop`` took of each portion that ``query`` gives, until none is left."""
        while True:
            with self._database.write() as connection:
                rows = connection.execute(query.limit(_FILES)).all()
                if not rows:
                    return
                yield drop(connection, rows)

    def _drop_files(self, connection: Connection, rows: Sequence[Any]) -> int:
        f = tables.files
        detail = {
            "files": [f"{row.name} {row.index_digest.hex()}" for row in rows],
            "months": sorted({month_name(row.month) for row in rows}),
            "days": self._rules.days["half_hourly_reads"],
        }
        self._log.append(connection, Entry(Kind.OPERATE, "retain months", detail=detail))
        here = update(f).where(f.c.id.in_([row.id for row in rows]), f.c.state == FileState.LIVE)
        dead = {"state": FileState.DEAD, "since": self._clock.now()}
        return connection.execute(here.values(dead)).rowcount

    def _drop_lines(self, connection: Connection, rows: Sequence[Any]) -> int:
        detail = {"groups": len(rows)}
        self._log.append(connection, Entry(Kind.OPERATE, "retain lines", detail=detail))
        r = tables.rejected
        return connection.execute(delete(r).where(r.c.id.in_([row.id for row in rows]))).rowcount

    def _drop_details(self) -> Iterator[int]:
        before = self._before("log")
        while True:
            with self._database.write() as connection:
                went = self._index.forget_before(connection, before, MOST_ROWS)
                if went == 0:
                    return
                detail = {"details": went}
                self._log.append(connection, Entry(Kind.OPERATE, "retain details", detail=detail))
            yield went

    def _complete(self, connection: Connection, rows: Sequence[Any]) -> int:
        detail = {"erasures": [row.entry.hex() for row in rows],
                  "customers": sum(row.customers for row in rows)}  # fmt: skip
        told = Entry(Kind.ERASE, "erased everywhere", detail=detail)
        [leaf] = self._log.append(connection, told)
        e = tables.erasures
        here = update(e).where(e.c.entry.in_([row.entry for row in rows]))
        connection.execute(here.values(everywhere=leaf))
        return sum(row.customers for row in rows)


def _count(connection: Connection, query: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _month_before(day: int) -> int:
    """Return the first month that has not wholly ended by UTC day ``day``."""
    month = (1970 + day // 366) * 12
    while first_day_of(month + 1) <= day:
        month += 1
    return month
