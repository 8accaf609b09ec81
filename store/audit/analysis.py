"""Who reads much, and who reads otherwise than usual: asked of the index by duckdb.

    1  the index is read in batches, in the order of places, into a duckdb file of the moment
    2  every question below is one query of it; duckdb's memory is bounded, the rest spills to disk

What is out of pattern is told with the party's own past beside it, so that a person can judge: a
supplier that reads ten thousand homes each night is no finding, one that never did is.

    bursts      an hour with many customers, and far more than in the busiest of a usual day
    nights      reads between midnight and five in London of a party that hardly reads then
    unfollowed  answers of which nothing says how they ended
    changes     a day with far more entries than in the party's four weeks before
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from sqlalchemy import func, select

from store import tables
from store.audit.questions import QUESTIONS, STEPS, TABLES
from store.audit.rows import place_of
from store.orders.export_customers import PAGE

if TYPE_CHECKING:
    from sqlalchemy import Select

    from store.sql.database import Database

BATCH: Final = 20_000  # rows held at once
MEMORY: Final = "512MB"  # duckdb's; what does not fit goes to its file
PATIENCE: Final = 60_000  # milliseconds until an intent should have its outcome
MANY: Final = 100  # customers of an hour that are many, unless told
TIMES: Final = 4  # as many as usual: a burst
GROWTH: Final = 3  # times the usual day, and
MORE: Final = 20  # entries more than it: a change
PAST: Final = 28  # days that a day is compared with
SEEN: Final = 7  # of them that a party must have been there
NIGHT: Final = 5  # o'clock in London until when it is night
RARE: Final = 0.1  # share of a party's entries that are at night, at most, where that is unusual
FEW: Final = 10  # entries at night that are worth telling
_BOUNDS: Final = {
    "times": TIMES, "growth": GROWTH, "more": MORE, "past": PAST, "seen": SEEN, "night": NIGHT,
    "rare": RARE, "few": FEW, "patience": PATIENCE,
}  # fmt: skip

_ENTRIES: Final = pa.schema(
    [("place", pa.int64()), ("ms", pa.int64()), ("kind", pa.string()), ("party", pa.string()),
     ("action", pa.string()), ("half_hours", pa.int64()), ("entry", pa.int64()),
     ("follows", pa.int64()), ("aborted", pa.bool_())]
)  # fmt: skip
_CUSTOMERS: Final = pa.schema([("place", pa.int64()), ("subject", pa.int64())])

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a time's accesses look like. Rows are in the order in which they are worth a look.

    Attributes:
        busiest: For each party: answered, refused, customers, half-hours allowed and left, days.
        bursts: party, hour (UTC), customers, usual (the busiest hour of its median day), entries.
        nights: party, entries, share (of all of its entries), nights, last (UTC).
        unfollowed: party, answers, none (how many have no outcome), aborted.
        changes: party, day (London), entries, usual (its median day before).
        days: day (London), answered, refused: for a plot.
        hours: party, hour of the day in London, entries: for a plot.
        peaks: party, hour (UTC), customers, burst: for a plot.
    """

    start: int | None
    end: int
    entries: int
    busiest: list[Row] = field(repr=False)
    bursts: list[Row] = field(repr=False)
    nights: list[Row] = field(repr=False)
    unfollowed: list[Row] = field(repr=False)
    changes: list[Row] = field(repr=False)
    days: list[Row] = field(repr=False)
    hours: list[Row] = field(repr=False)
    peaks: list[Row] = field(repr=False)

    @property
    def findings(self) -> int:
        """How many rows are out of pattern."""
        return sum(map(len, (self.bursts, self.nights, self.unfollowed, self.changes)))


def analyse(database: Database, start: int | None, end: int, *, many: int = MANY) -> Analysis:
    """Return what the index says of accesses from ``start`` until ``end``.

    Args:
        database: Where the index is, SQLite or PostgreSQL.
        start: Milliseconds since 1970; None: from the beginning.
        end: Milliseconds since 1970, not included; what is told of the last minute is not held
            against anybody.
        many: Customers of one hour below which nothing is a burst.
    """
    bounds = _BOUNDS | {"many": many, "end": end}
    with _opened() as asks:
        _load(asks, database, start, end)
        for step in STEPS:
            asks.run(step, **bounds)
        told = {name: asks.rows(query, **bounds) for name, query in QUESTIONS.items()}
        [entries] = asks.rows("SELECT count(*) AS n FROM accesses")
    return Analysis(start, end, entries["n"], **told)


@contextmanager
def _opened() -> Iterator[Asks]:
    """Yield a way to ask duckdb, on a file that is gone afterwards. It reaches nothing else."""
    with TemporaryDirectory(prefix="meterkeep-") as folder:
        held: dict[str, Any] = {
            "memory_limit": MEMORY, "threads": 2, "temp_directory": folder,
            "autoinstall_known_extensions": False,
        }  # fmt: skip
        with duckdb.connect(str(Path(folder) / "log.duckdb"), config=held) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield Asks(connection)


class Asks:
    """Questions to one duckdb."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, query: str, **values: Any) -> duckdb.DuckDBPyConnection:
        """Run ``query``, which names the ``values`` that it needs as ``$name``."""
        named = {name: value for name, value in values.items() if f"${name}" in query}
        return self._connection.execute(query, named or None)

    def rows(self, query: str, **values: Any) -> list[Row]:
        """Return the rows of ``query``; see `run`."""
        result = self.run(query, **values)
        names = [one[0] for one in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def insert(self, table: str, batch: pa.Table) -> None:
        """Add ``batch`` to ``table``, whose columns it has."""
        self._connection.register("batch", batch)
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM batch")  # noqa: S608 - ours
        self._connection.unregister("batch")


# ---- from the index ----------------------------------------------------------------------------


def _load(asks: Asks, database: Database, start: int | None, end: int) -> None:
    e, s = tables.log_entries.c, tables.log_subjects.c
    entries = (
        select(
            e.place, e.at, e.kind, e.party, e.action, e.half_hours, e.entry, e.follows, e.aborted
        )
        .where(e.at < end, e.kind.in_(("intent", "denied", "outcome", "export")))
        .order_by(e.place)
    )
    customers = select(s.place, s.subject).order_by(s.place)
    if start is not None:
        entries = entries.where(e.at >= start)
        first = select(func.min(e.place)).where(e.at >= start).scalar_subquery()
        customers = customers.where(s.place >= first)
    for name, query, schema in (
        ("entries", entries, _ENTRIES),
        ("customers", customers, _CUSTOMERS),
    ):
        asks.run(TABLES[name])
        for batch in batches(database, query, schema):
            asks.insert(name, batch)
    for batch in _exported(database):
        asks.insert("customers", batch)


def _exported(database: Database) -> Iterator[pa.Table]:
    """Yield the customers of exports, a few pages at once; whose entry is not asked for is none."""
    t, e, held = tables.leaves.c, tables.exports.c, tables.export_customers.c
    query = (
        select(t.shard, t.position, held.page)
        .join(tables.exports, e.entry == t.entry)
        .join(tables.export_customers, held.export == e.id)
        .where(t.position.is_not(None))
    )
    with database.read() as connection:
        result = connection.execution_options(yield_per=BATCH // PAGE).execute(query)
        for some in result.partitions(BATCH // PAGE):
            found = [np.frombuffer(page, ">i8")[::2] for _, _, page in some]
            places = np.array([place_of(shard, position) for shard, position, _ in some])
            columns = [
                np.repeat(places, [len(one) for one in found]),
                np.concatenate(found).astype(np.int64),
            ]
            yield pa.table(columns, schema=_CUSTOMERS)


def batches(database: Database, query: Select[Any], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of ``query`` as Arrow, at most `BATCH` at once; random ids as 64 bits."""
    with database.read() as connection:
        result = connection.execution_options(yield_per=BATCH).execute(query)
        for some in result.partitions(BATCH):
            columns = [_column(column) for column in zip(*some, strict=True)]
            yield pa.table(columns, schema=schema)


def _column(values: Sequence[Any]) -> list[Any]:
    if any(isinstance(value, bytes) for value in values):
        return [
            None if value is None else int.from_bytes(value[:8], "big", signed=True)
            for value in values
        ]
    return list(values)
