"""Commits: their order, which batch each one is, and which are left out of answers.

A commit number orders answers, overlays, `as_of` and reverts. What is committed never changes, so
a process keeps what it learned of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, insert, select, update

from store import tables
from store.errors import InputError, TamperedError
from store.sql.statements import MOST_ROWS, Prepared, portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.engine import Connection

    from store.ports import Clock
    from store.sql.database import Database
    from store.sql.statements import Session


class Commits:
    """Commits. Functions that take a connection run in the caller's transaction or snapshot."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._commits: dict[int, int] = {}

    def next_commit(self, connection: Connection) -> int:
        """Return the next commit number; the head row stays locked until the transaction ends."""
        head = tables.head
        connection.execute(update(head).values(commit=head.c.commit + 1))
        number: int = connection.execute(select(head.c.commit)).scalar_one()
        return number

    @staticmethod
    def newest(connection: Session) -> int:
        """Return the newest commit number; 0 in an empty store."""
        number: int = _NEWEST.rows(connection)[0][0]
        return number

    @staticmethod
    def commit_at(connection: Session, at: float) -> int:
        """Return the newest commit that stood at time ``at``; 0 where there was none."""
        return _COMMIT_AT.rows(connection, at=at)[0][0] or 0

    def known(self, batches: Iterable[int]) -> Mapping[int, int] | None:
        """Return as `commits_of` does; None where the database would have to be asked."""
        known = self._commits
        return known if all(batch in known for batch in batches) else None

    def commits_of(self, batches: Iterable[int]) -> Mapping[int, int]:
        """Return the commit number of each batch; what is committed never changes, so it is kept.

        Raises:
            TamperedError: A live row names a batch that was never committed.
        """
        known = self._commits
        asked = [batch for batch in batches if batch not in known]
        if asked:
            table = tables.commits
            with self._database.read() as connection:
                for some in portions(asked, MOST_ROWS):
                    query = select(table.c.batch, table.c.number).where(table.c.batch.in_(some))
                    known.update((batch, number) for batch, number in connection.execute(query))
            if any(batch not in known for batch in asked):
                raise TamperedError("batch", "a live row names a batch that was never committed")
        return known

    @staticmethod
    def reverted(connection: Session, as_of: int) -> frozenset[int]:
        """Return the commits that are left out of answers as of commit ``as_of``."""
        return frozenset(row[0] for row in _REVERTED.rows(connection, as_of=as_of))

    def revert(self, connection: Connection, number: int, by: int, entry: bytes) -> None:
        """Leave commit ``number`` out of every later answer.

        Args:
            connection: The caller's transaction.
            number: Which commit.
            by: The commit that says so; see `next_commit`.
            entry: Its log entry.

        Raises:
            InputError: There is no such commit of reads, or it is left out already.
        """
        c, r = tables.commits, tables.reverts
        batch = connection.execute(select(c.c.batch).where(c.c.number == number)).scalar()
        if batch is None:
            raise InputError("there is no commit of reads with this number", code="unknown_commit")
        if connection.execute(select(r.c.by).where(r.c.commit == number)).scalar() is not None:
            raise InputError("this commit is left out already", code="already_reverted")
        connection.execute(insert(r), {"commit": number, "by": by})
        row = {"number": by, "at": self._clock.now(), "days": 0, "reads": 0, "entry": entry}
        connection.execute(insert(c), row)


_NEWEST = Prepared(select(tables.head.c.commit))
_COMMIT_AT = Prepared(
    select(func.max(tables.commits.c.number)).where(tables.commits.c.at <= bindparam("at"))
)
_REVERTED = Prepared(
    select(tables.reverts.c.commit).where(tables.reverts.c.by <= bindparam("as_of"))
)
