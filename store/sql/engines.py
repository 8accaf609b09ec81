"""The engines of either database, and how a connection of theirs begins to write.

A writer of SQLite is alone from its first word (BEGIN IMMEDIATE). What is committed is durable: WAL
mode with synchronous=FULL.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from store.errors import CatalogueError

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS: Final = 16  # beside the event loop, each with a connection to PostgreSQL at most
PATIENCE = 20.0  # seconds a writer waits for its turn


class BusyError(Exception):
    """Somebody else writes; who must not wait goes another way."""


class Translated:
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


def engine_of(url: str) -> Engine:
    """Return the engine of a database; nothing is connected yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url)
    engine = create_engine(parsed, pool_size=8, max_overflow=THREADS - 8, hide_parameters=True)
    _limit_waiting(engine)
    return engine


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
            begin_immediate(connection.exec_driver_sql, PATIENCE)
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


def begin_immediate(
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
