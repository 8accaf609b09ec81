"""The book of timings: counts of every worker and node, by the hour, in the shared database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, func, select, text

from store import tables
from store.sql.statements import Prepared
from store.targets.timings import Kind, Spread

if TYPE_CHECKING:
    from store.sql.database import Database

HOUR: Final = 3_600  # seconds
Spreads = Mapping[Kind, Spread]


class TimingBook:
    """Keeps counts, and adds them up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, hour: int, spreads: Spreads) -> None:
        """Add ``spreads`` to what stands of ``hour``, in one transaction.

        Nobody waits for the disk: what is lost with the power is some seconds of counts.

        Args:
            hour: Since 1970, UTC.
            spreads: Some hundred rows of them at most; see `Tally.take`.

        Raises:
            CatalogueError: Nothing was added.
        """
        rows = _rows(hour, spreads)
        # Always in one order, so that two workers never wait for each other.
        self._database.hot_write_loose(lambda connection: _ADD.run(connection, rows))

    def read(self, first: int, end: int) -> Spreads:
        """Return what was counted from the hour ``first`` until ``end``, which is not included."""
        counts: dict[Kind, dict[int, int]] = defaultdict(dict)
        most: dict[Kind, float] = defaultdict(float)
        with self._database.read() as connection:
            found = connection.execute(_FOUND, {"first": first, "end": end})
            for srv, role, size, outcome, bucket, number, longest in found:
                kind = Kind(srv, role, size, outcome)
                counts[kind][bucket] = int(number)
                most[kind] = max(most[kind], longest)
        return {kind: Spread(counts[kind], most[kind]) for kind in sorted(counts)}

    def forget(self, before: int) -> bool:
        """Let the oldest hour go, if it is before ``before``; returns whether there was one."""
        return self._database.hot_write_loose(
            lambda connection: _FORGET.count(connection, before=before) > 0
        )


def _rows(hour: int, spreads: Spreads) -> list[dict[str, object]]:
    return [
        {"hour": hour, "srv": kind.srv, "role": kind.role, "size": kind.size,
         "outcome": kind.outcome, "bucket": bucket, "number": number, "most": spread.most}
        for kind, spread in sorted(spreads.items(), key=lambda one: one[0])
        for bucket, number in sorted(spread.counts.items())
    ]  # fmt: skip


_t, _NAME = tables.timings.c, tables.timings.name
_ADD = Prepared(
    text(
        f"INSERT INTO {_NAME} (hour, srv, role, size, outcome, bucket, number, most) "  # noqa: S608
        "VALUES (:hour, :srv, :role, :size, :outcome, :bucket, :number, :most) "
        "ON CONFLICT (hour, srv, role, size, outcome, bucket) DO UPDATE SET "
        f"number = {_NAME}.number + excluded.number, most = CASE WHEN excluded.most > {_NAME}.most "
        f"THEN excluded.most ELSE {_NAME}.most END"
    )
)
_FORGET = Prepared(
    text(
        f"DELETE FROM {_NAME} WHERE hour = "  # noqa: S608 - our own name
        f"(SELECT min(hour) FROM {_NAME} WHERE hour < :before)"
    )
)
_KIND = (_t.srv, _t.role, _t.size, _t.outcome, _t.bucket)
_FOUND = (
    select(*_KIND, func.sum(_t.number), func.max(_t.most))
    .where(_t.hour >= bindparam("first"), _t.hour < bindparam("end"))
    .group_by(*_KIND)
)
