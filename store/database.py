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
import re
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import Insert, create_engine, event, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from store.aio import Threaded, native
from store.errors import CatalogueError
from store.syncing import Behind, Syncs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ClauseElement, Table
    from sqlalchemy.engine import Dialect

MOST_ROWS = 500  # rows one transaction may write: some 5 ms, so that no answer waits long behind it
Item = TypeVar("Item")
Result = TypeVar("Result")
Given = ParamSpec("Given")
_THREADS = 16  # beside the event loop, each with a connection to PostgreSQL at most
PATIENCE = 20.0  # seconds a writer waits for its turn
TURN = 0.002  # seconds an answer waits for it in line: the log's numbering takes half of that


class BusyError(Exception):
    """Somebody else writes; who must not wait goes another way."""


@dataclass(frozen=True, slots=True)
class Hot:
    """A bare connection of SQLite's driver, for `Prepared` statements alone."""

    connection: sqlite3.Connection
    dialect: Dialect


# A row of bound values, and nothing else: `VALUES (%(entry)s, %(at)s::BIGINT)`.
_BOUND = re.compile(r"%\((\w+)\)s")
_NAMED = sqlite.dialect(paramstyle="named")
_VALUES = re.compile(r"VALUES \(%\(\w+\)s(?:::[A-Z ]+)?(?:, %\(\w+\)s(?:::[A-Z ]+)?)*\)")

Session = Connection | Hot  # what a Prepared statement runs on


class Prepared:
    """A statement compiled once and given straight to the driver: the path of every answer.

    SQLAlchemy writes the SQL for either database; its 0.1 ms a call is paid once (measured: nine
    statements of an answer, 0.9 ms, against 0.1 ms this way).
    """

    def __init__(self, statement: ClauseElement, *, many: bool = False) -> None:
        """Take a statement.

        Args:
            statement: For either database.
            many: It returns thousands of rows: PostgreSQL is to send them as it keeps them, not as
                text (measured: made into values in half the time).
        """
        self._statement, self._many = statement, many
        self._compiled: dict[str, tuple[str, dict[str, Any]]] = {}
        self._arrays: tuple[str, Sequence[str]] | None = None

    def rows(self, connection: Session, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of the statement with ``values`` bound."""
        sql, constants = self._sql(connection)
        values |= constants
        if isinstance(connection, Hot):
            return connection.connection.execute(sql, values).fetchall()
        binary = self._many and connection.dialect.name != "sqlite"
        cursor = connection.connection.cursor(**({"binary": True} if binary else {}))
        try:
            cursor.execute(sql, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()  # type: ignore[assignment]
            return rows
        finally:
            cursor.close()

    def run(self, connection: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute the statement once for each of ``rows``."""
        sql, _ = self._sql(connection)
        arrays = self._as_arrays(connection) if len(rows) > 1 else None
        cursor = connection.connection.cursor()
        try:
            if arrays is not None:
                sql, names = arrays
                cursor.execute(sql, {name: [row[name] for row in rows] for name in names})
                return
            cursor.executemany(sql, rows)
        finally:
            cursor.close()

    def count(self, connection: Session, **values: Any) -> int:
        """Execute the statement; return how many rows it wrote."""
        sql, constants = self._sql(connection)
        values |= constants
        cursor = connection.connection.cursor()
        try:
            cursor.execute(sql, values)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def _as_arrays(self, connection: Session) -> tuple[str, Sequence[str]] | None:
        """Return an insert as one statement over arrays, and whose; None where it cannot be one.

        PostgreSQL takes a statement a row otherwise (measured: 500 leaves, 19 ms against 4).
        """
        if connection.dialect.name == "sqlite" or not isinstance(self._statement, Insert):
            return None
        if self._arrays is None:
            sql, _ = self._sql(connection)
            columns: Any = self._statement.table.c
            match = _VALUES.search(sql)
            names = _BOUND.findall(match[0]) if match else []
            kinds = [columns[name].type.compile(connection.dialect) for name in names]
            bound = (f"%({name})b::{kind}[]" for name, kind in zip(names, kinds, strict=True))
            rows = f"SELECT * FROM unnest({', '.join(bound)})"  # noqa: S608 - our own names
            whole = _VALUES.sub(rows, sql, count=1)
            self._arrays = (whole, names)
        return self._arrays if self._arrays[1] else None

    def _sql(self, connection: Session) -> tuple[str, dict[str, Any]]:
        name = connection.dialect.name
        known = self._compiled.get(name)
        if known is None:
            # Values by name on either: what SQLite's driver is given need not be put in order.
            dialect = _NAMED if name == "sqlite" else connection.dialect
            compiled: Any = self._statement.compile(dialect=dialect)
            constants = {
                name: value for name, value in compiled.params.items() if value is not None
            }
            known = self._compiled[name] = (str(compiled), constants)
        return known


class _Translated:
    """Tells what a driver raised as a CatalogueError. Keeps nothing: one for all who enter."""

    def __init__(self, driver_error: type[Exception]) -> None:
        self._told = DBAPIError, PendingRollbackError, PoolTimeoutError, driver_error

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # A broken rule of the schema is for the caller to understand.
        if not isinstance(error, self._told) or isinstance(error, IntegrityError):
            return
        kept = type(getattr(error, "orig", error)).__name__
        raise CatalogueError(
            f"the catalogue's database refused ({kept}): is it running, reachable, and is "
            "there room on its disk? Run it again: what was taken already is not taken twice"
        ) from error


class Database:
    """Connections to one catalogue.

    Attributes:
        is_local: SQLite: a statement costs microseconds, and one process serves.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_local = parsed.get_backend_name() == "sqlite"
        if self.is_local:
            self._reader = self._writer = _sqlite(url)
        else:
            engine = create_engine(
                parsed, pool_size=8, max_overflow=_THREADS - 8, hide_parameters=True
            )
            _limit_waiting(engine)
            self._writer = engine
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ")
        self._spare: list[sqlite3.Connection] = []
        self._swift: list[Hot] = []  # whose commits are synced behind; they read too, of warm pages
        self._syncs: Syncs | None = None
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sql")
        driver: Any = self._writer.dialect.dbapi
        self._translated = _Translated(driver.Error)

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
            _begin_immediate(bare.execute, PATIENCE)
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
                _begin_immediate(swift.connection.execute, patience, brief=brief)
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


def _limit_waiting(engine: Engine) -> None:
    """Let PostgreSQL give up after PATIENCE where somebody else holds a row, as SQLite does."""

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.execute(f"SET lock_timeout = {int(PATIENCE * 1000)}")
        connection.commit()


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": 0.0, "check_same_thread": False}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        _configure(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("immediate"):
            _begin_immediate(connection.exec_driver_sql, PATIENCE)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _configure(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None  # BEGIN is said here, never guessed by the driver
    for pragma in (
        "busy_timeout=5000",
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "cache_size=-32000",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA busy_timeout=0")


def _begin_immediate(
    execute: Callable[[str], object], patience: float, *, brief: bool = False
) -> None:
    """Take SQLite's one writer's place; its own waiting sleeps up to 100 ms, this one 0.5 ms.

    Args:
        execute: Executes a statement.
        patience: Seconds to wait for it.
        brief: Look again sooner, and raise BusyError in the end.
    """
    give_up = time.monotonic() + patience
    while True:
        try:
            execute("BEGIN IMMEDIATE")
        except (sqlite3.OperationalError, DBAPIError) as error:
            if "locked" not in str(error):
                raise
            if time.monotonic() > give_up:
                if brief:
                    raise BusyError from None
                raise
            time.sleep(0.0001 if brief else 0.0005)
        else:
            return


def insert_absent(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert ``rows``, letting those stand that are there already. Returns how many are new."""
    if connection.dialect.name == "sqlite":
        return connection.execute(insert(table).prefix_with("OR IGNORE"), rows).rowcount
    # PostgreSQL's driver does not count the rows of a batch: the new ones say who they are.
    put = postgresql.insert(table).on_conflict_do_nothing().returning(*table.primary_key)
    return len(connection.execute(put, rows).all())


def portions(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Yield ``items`` in tuples of at most ``size``: no statement grows with the fleet."""
    rest = iter(items)
    while portion := tuple(islice(rest, size)):
        yield portion
