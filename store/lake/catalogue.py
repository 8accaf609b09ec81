"""The catalogue: which files are live, which batch belongs to which commit. No key, no plaintext.

What is written into it and read of it is told where it is done: `batches`, `commits`,
`run_indexes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from store import tables
from store.lake.batches import LEASE, Batches
from store.lake.commits import Commits
from store.lake.files import FileState, LiveFile
from store.lake.run_indexes import RunIndexes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.sql.database import Database


class Catalogue(Batches, Commits, RunIndexes):
    """What is live. Functions that take a connection run in the caller's transaction."""

    def __init__(self, database: Database, clock: Clock, *, lease: float = LEASE) -> None:
        Batches.__init__(self, database, clock, lease)
        Commits.__init__(self, database, clock)

    @staticmethod
    def live(connection: Connection) -> Iterator[LiveFile]:
        """Yield every live file, by register, month and level."""
        t = tables.files
        query = (
            select(t.c.id, t.c.name, t.c.register, t.c.month, t.c.level, t.c.rows, t.c.size,
                   t.c.low, t.c.high, t.c.index_digest, t.c.batch, t.c.since)
            .where(t.c.state == FileState.LIVE)
            .order_by(t.c.register, t.c.month, t.c.level, t.c.id)
        )  # fmt: skip
        for row in connection.execute(query):
            yield LiveFile(*tuple(row))

    @staticmethod
    def places(connection: Connection) -> set[tuple[int, int]]:
        """Return the registers and months of which a file is live."""
        t = tables.files.c
        query = select(t.register, t.month).distinct().where(t.state == FileState.LIVE)
        return {(int(register), int(month)) for register, month in connection.execute(query)}

    @staticmethod
    def newest_month(connection: Connection) -> int | None:
        """Return the newest month of which a file is live; None in an empty store."""
        table = tables.files
        query = select(func.max(table.c.month)).where(table.c.state == FileState.LIVE)
        return connection.execute(query).scalar()
