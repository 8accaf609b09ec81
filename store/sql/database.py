"""One door to the database, SQLite or PostgreSQL: `read` is one snapshot, `write` one transaction.

The statements of an answer go through `hot_read` and `hot_write`, which know `Prepared` statements
alone: on SQLite they skip SQLAlchemy's connection (measured: 0.2 ms of an answer).

A reader sees one moment. A writer is alone on SQLite from its first word (BEGIN IMMEDIATE), and
locks the head row on PostgreSQL where it must be. Durable means committed: SQLite runs in WAL mode
with synchronous=FULL, but for an answer's leaf: its commit and its sync are done apart.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy.engine import Connection

from store.sql.aio import Threaded, native
from store.sql.engines import PATIENCE, THREADS, Translated, begin_immediate, engine_of
from store.sql.statements import Hot, Session
from store.sql.syncing import Behind, Syncs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Table

Result = TypeVar("Result")
Given = ParamSpec("Given")
TURN = 0.002  # seconds an answer waits for it in line: the log's numbering takes half of that


class Database:
    """Connections to one catalogue.

    Attributes:
        is_local: SQLite: a statement costs microseconds, and one process serves.
    """

    def __init__(self, url: str) -> None:
        self._writer = self._reader = engine_of(url)
        self.is_local = self._writer.dialect.name == "sqlite"
        if not self.is_local:
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ")
        self._spare: list[sqlite3.Connection] = []
        self._swift: list[Hot] = []  # whose commits are synced behind; they read too, of warm pages
        self._syncs: Syncs | None = None
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sql")
        driver: Any = self._writer.dialect.dbapi
        self._translated = Translated(driver.Error)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection whose statements all see one moment."""
        with self._translated, self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection whose statements are committed together, or not at all.

        Raises:
            CatalogueError: Locked for longer than PATIENCE, full, or gone. Nothing was committed,
                unless the commit itself failed: then its acknowledgement may be what was lost.
        """
        self._intact()
        with self._translated, self._writer.connect() as connection:
            connection.execution_options(immediate=True)
            with connection.begin():
                yield connection

    @contextmanager
    def hot_read(self) -> Iterator[Session]:
        """Yield one snapshot for `Prepared` statements."""
        if not self.is_local:
            with self.read() as connection:
                yield connection
            return
        with self._translated:
            swift, _ = self._behind()
            try:
                swift.connection.execute("BEGIN")
                yield swift
            finally:
                swift.connection.rollback()
                self._swift.append(swift)

    @contextmanager
    def hot_write(self) -> Iterator[Session]:
        """Yield one transaction for `Prepared` statements; see `write`."""
        if not self.is_local:
            with self.write() as connection:
                yield connection
            return
        self._intact()
        with self._bare() as bare:
            begin_immediate(bare.execute, PATIENCE)
            yield Hot(bare, self._writer.dialect)
            bare.commit()

    def hot_write_behind(self, work: Callable[[Session], Result]) -> Behind[Result]:
        """Run ``work`` in a transaction that is synced while the caller goes on. SQLite only.

        Its statements and its commit run here and now: they take less than waking a thread. What
        takes its time is the disk (measured: 0.15 ms of an answer on an idle one, 2 ms on one that
        others write to). What is committed may be seen before it is synced; whoever builds on it
        with a transaction of their own syncs the same file, and so this too.

        Args:
            work: Runs `Prepared` statements.

        Raises:
            BusyError: Somebody else writes, for longer than TURN.
            CatalogueError: A statement or the commit failed, and nothing was written; or the disk
                lost something before.
        """
        result, syncs = self._swiftly(work, TURN, brief=True)
        return Behind(result, syncs.ask(), self._threads)

    def hot_write_loose(self, work: Callable[[Session], Result]) -> Result:
        """Run ``work`` in a transaction that may be lost with the power, until a later one is kept.

        For what is made again where it is lost: on SQLite nobody waits for the disk behind it. The
        next transaction that is synced syncs the same file, and so this too.

        Raises:
            CatalogueError: See `write`.
        """
        if self.is_local:
            return self._swiftly(work, PATIENCE, brief=False)[0]
        with self.write() as connection:
            return work(connection)

    def _swiftly(
        self, work: Callable[[Session], Result], patience: float, *, brief: bool
    ) -> tuple[Result, Syncs]:
        with self._translated:
            swift, syncs = self._behind()
            try:
                begin_immediate(swift.connection.execute, patience, brief=brief)
                result = work(swift)
                swift.connection.execute("COMMIT")  # fails where nothing is open, unlike `commit`
            except BaseException:
                swift.connection.rollback()
                raise
            finally:
                self._swift.append(swift)
        return result, syncs

    def _behind(self) -> tuple[Hot, Syncs]:
        """Return a connection that does not sync what it commits, and what does."""
        syncs = self._syncs
        if syncs is not None:
            syncs.check()
            with suppress(IndexError):
                return self._swift.pop(), syncs
        bare = self._open()
        # Its commits leave copying the log into the database to others', which nobody waits for.
        for pragma in ("synchronous=NORMAL", "wal_autocheckpoint=0"):
            bare.execute(f"PRAGMA {pragma}")
        return Hot(bare, self._writer.dialect), self._syncs_of(bare)

    def _syncs_of(self, bare: sqlite3.Connection) -> Syncs:
        """Return the syncs of the write-ahead log, which stays while a connection is open."""
        with self._opening:
            if self._syncs is None:
                bare.execute("SELECT 1 FROM sqlite_master LIMIT 1")  # opens the log, if nobody had
                _, _, path = bare.execute("PRAGMA database_list").fetchone()  # the first is `main`
                # No lock of SQLite's is on this file: to close it lets none go.
                descriptor = os.open(f"{path}-wal", os.O_RDWR)
                self._syncs = Syncs(descriptor, native() or Threaded())
            return self._syncs

    def _intact(self) -> None:
        """Raise CatalogueError where the disk lost something that was committed."""
        if self._syncs is not None:
            self._syncs.check()

    @contextmanager
    def _bare(self) -> Iterator[sqlite3.Connection]:
        with self._translated:
            bare = self._take()
            try:
                yield bare
            finally:
                self._give_back(bare)

    def _take(self) -> sqlite3.Connection:
        try:
            return self._spare.pop()
        except IndexError:
            return self._open()

    def _give_back(self, bare: sqlite3.Connection) -> None:
        bare.rollback()
        self._spare.append(bare)

    def _open(self) -> sqlite3.Connection:
        pooled = self._writer.raw_connection()
        bare: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
        pooled.detach()  # from now on it is ours
        return bare

    async def aside(
        self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Do what asks the database without holding the event loop.

        SQLite's microseconds stay in line: they are less than a thread costs. PostgreSQL is waited
        for on a thread.
        """
        if self.is_local:
            return work(*args, **kwargs)
        return await self.threaded(work, *args, **kwargs)

    async def threaded(
        self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Do on a thread what may have to wait on SQLite too: for another writer, for the KEK."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(work, *args, **kwargs))

    def overwrite(self, *tables: Table) -> bool:
        """Let go of the bytes of rows that were deleted from ``tables``.

        SQLite: they were overwritten already (secure_delete), but for the write-ahead log, which is
        emptied here. PostgreSQL: the tables are vacuumed.

        Returns:
            False where a reader stood in the way on SQLite: do it again later.
        """
        if not self.is_local:
            names = ", ".join(
                self._writer.dialect.identifier_preparer.format_table(t) for t in tables
            )
            alone = self._writer.execution_options(isolation_level="AUTOCOMMIT")
            with self._translated, alone.connect() as connection:
                connection.exec_driver_sql(f"VACUUM {names}")
            return True
        give_up = time.monotonic() + PATIENCE / 10
        while True:
            with self._translated, self._bare() as bare:
                busy, *_ = bare.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy or time.monotonic() > give_up:
                return not busy
            time.sleep(0.01)

    def close(self) -> None:
        """Let every connection go, once what goes on is done."""
        self._threads.shutdown()
        if self._syncs is not None:
            self._syncs.close()
            self._syncs = None
        self._reader.dispose()
        self._writer.dispose()
        while self._spare:
            self._spare.pop().close()
        while self._swift:
            self._swift.pop().connection.close()
