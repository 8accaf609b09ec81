"""Batches: the right to commit, from its reservation until it is used or taken away.

A batch number is reserved, because it is in every AAD; files are named as pending under it, their
bytes are put; then one transaction takes the reservation away and makes them live. Sweep takes an
expired reservation away first, so a slow writer's commit fails whole instead of half.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, insert, select, update

from store import tables
from store.errors import CommitConflictError
from store.lake.files import FileState
from store.lake.runs import NewFile, Unindexed, pages
from store.sql.statements import MOST_ROWS, portions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.sql.database import Database

LEASE = 3_600.0  # seconds a batch may take from its reservation to its commit
SWEPT = "the batch took longer than its lease and was swept away: run it again"


class Batches:
    """Batches and their files. Functions that take a connection run in the caller's transaction."""

    def __init__(self, database: Database, clock: Clock, lease: float) -> None:
        self._database, self._clock, self._lease = database, clock, lease

    def reserve(self) -> int:
        """Reserve a batch number for the time of a lease, durably."""
        head = tables.head
        with self._database.write() as connection:
            connection.execute(update(head).values(batch=head.c.batch + 1))
            batch: int = connection.execute(select(head.c.batch)).scalar_one()
            connection.execute(
                insert(tables.batches), {"batch": batch, "expires": self._clock.now() + self._lease}
            )
        return batch

    def register(self, batch: int, files: Sequence[NewFile]) -> None:
        """Note ``files`` as pending under ``batch``, with their indexes, before they are put.

        Raises:
            CommitConflictError: The reservation was swept away.
        """
        for some in portions(files, MOST_ROWS // 5):
            indexed: list[dict[str, object]] = []
            with self._database.write() as connection:
                self.hold(connection, batch)
                for file in some:
                    row = self._row(batch, file.unindexed, file.index_digest)
                    inserted = connection.execute(insert(tables.files), row)
                    identity: int = inserted.inserted_primary_key[0]  # type: ignore[index]
                    indexed += [
                        {"file": identity, "first": first, "page": page}
                        for first, page in pages(file.index)
                    ]
                connection.execute(insert(tables.runs), indexed[:MOST_ROWS])
            for rest in portions(indexed[MOST_ROWS:], MOST_ROWS):
                with self._database.write() as connection:
                    self.hold(connection, batch)
                    connection.execute(insert(tables.runs), rest)

    def announce(self, batch: int, file: Unindexed) -> None:
        """Note ``file`` as pending under ``batch``, before it is put; `index` must follow.

        Raises:
            CommitConflictError: The reservation was swept away.
        """
        with self._database.write() as connection:
            self.hold(connection, batch)
            connection.execute(insert(tables.files), self._row(batch, file, b""))

    def index(self, batch: int, name: str, index: bytes, size: int) -> bytes:
        """Note run index and size of a file that was announced, renew the lease; return the digest.

        Raises:
            CommitConflictError: The reservation was swept away, or the file has an index.
        """
        f, digest = tables.files, hashlib.sha256(index).digest()
        mine = (f.c.name == name, *_pending(batch))
        with self._database.read() as connection:
            identity = connection.execute(select(f.c.id).where(*mine)).scalar()
        rows = [{"file": identity, "first": first, "page": page} for first, page in pages(index)]
        *most, last = portions(rows, MOST_ROWS)
        for some in most:
            with self._database.write() as connection:
                self.hold(connection, batch)
                connection.execute(insert(tables.runs), some)
        with self._database.write() as connection:
            _lease(connection, batch, self._clock.now() + self._lease)
            connection.execute(insert(tables.runs), last)
            noted = update(f).where(*mine, f.c.index_digest == b"")
            if connection.execute(noted.values(index_digest=digest, size=size)).rowcount != 1:
                raise CommitConflictError(SWEPT)
        return digest

    def _row(self, batch: int, file: Unindexed, digest: bytes) -> dict[str, object]:
        return {
            "name": file.name, "state": FileState.PENDING, "register": file.register,
            "month": file.month, "level": file.level, "low": file.low, "high": file.high,
            "rows": file.rows, "size": file.size, "index_digest": digest, "batch": batch,
            "since": self._clock.now(),
        }  # fmt: skip

    @staticmethod
    def hold(connection: Connection, batch: int) -> None:
        """Keep sweep from taking ``batch`` away until the caller's transaction ends.

        What is written under a batch that is gone already would have nobody to clear it.

        Raises:
            CommitConflictError: The reservation was swept away.
        """
        _lease(connection, batch, tables.batches.c.expires)

    def publish(self, connection: Connection, batch: int, files: int) -> None:
        """Make the ``files`` pending files of ``batch`` live, in the caller's transaction.

        Raises:
            CommitConflictError: The reservation was swept away, or a file is not there.
        """
        taken = connection.execute(delete(tables.batches).where(tables.batches.c.batch == batch))
        shown = connection.execute(
            update(tables.files)
            .where(*_pending(batch))
            .values(state=FileState.LIVE, since=self._clock.now())
        )
        if taken.rowcount != 1 or shown.rowcount != files:
            raise CommitConflictError(SWEPT)

    def retire(self, connection: Connection, files: Sequence[int]) -> None:
        """Take live files out, because others now hold their rows.

        Raises:
            CommitConflictError: One is not live any more: somebody else compacted it first.
        """
        table, retired = tables.files, 0
        dead = update(table).values(state=FileState.DEAD, since=self._clock.now())
        for some in portions(files, MOST_ROWS):
            live = (table.c.id.in_(some), table.c.state == FileState.LIVE)
            retired += connection.execute(dead.where(*live)).rowcount
        if retired != len(files):
            raise CommitConflictError("another compaction took these files first")

    def leave_out(self, connection: Connection, batch: int) -> None:
        """Doom the pending files of ``batch`` without an index: a task wrote them and was lost."""
        self._doom(connection, *_pending(batch), tables.files.c.index_digest == b"")

    def abandon(self, batch: int) -> list[str] | None:
        """Give ``batch`` up: it can never be committed any more; sweep forgets its files.

        A failed commit may have been committed after all, its acknowledgement lost on the way:
        only who gets names from here may remove their objects.

        Returns:
            The object names of its files; None where the batch was committed or swept away.
        """
        b, mine = tables.batches, _pending(batch)
        with self._database.write() as connection:
            if connection.execute(delete(b).where(b.c.batch == batch)).rowcount != 1:
                return None
            connection.execute(delete(tables.rejected).where(tables.rejected.c.batch == batch))
            names = list(connection.execute(select(tables.files.c.name).where(*mine)).scalars())
            self._doom(connection, *mine)
        return names

    def _doom(self, connection: Connection, *which: ColumnElement[bool]) -> None:
        doomed = update(tables.files).where(*which)
        connection.execute(doomed.values(state=FileState.DOOMED, since=self._clock.now()))


def _pending(batch: int) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a file is one of ``batch``, which is not committed yet."""
    f = tables.files.c
    return f.batch == batch, f.state == FileState.PENDING


def _lease(connection: Connection, batch: int, expires: float | ColumnElement[float]) -> None:
    """Let the lease of ``batch`` end at ``expires``: its row stays locked with that."""
    table = tables.batches
    held = update(table).where(table.c.batch == batch).values(expires=expires)
    if connection.execute(held).rowcount != 1:
        raise CommitConflictError(SWEPT)
