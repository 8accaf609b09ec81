"""Disks that fill and networks that break at one chosen step: of the database, of the objects.

The faults are raised where the real ones are, by the database's driver and by the keeper of
objects, so that everything above them is the real thing.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from store.errors import ObjectError
from store.keepers.local import FolderObjects
from store.ports import Body, Range

WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass
class Plan:
    """Which step fails, and how; nothing does until it is armed.

    Attributes:
        at: Number of the step, from 0.
        sticky: Whether every later step fails too.
        after: Whether it fails after the step was done: the acknowledgement is lost.
        only: The kinds of step that count: ``write``, ``commit``, ``put``, ``delete``.
        cut: What happens to PostgreSQL at that step, in the place of an error that is raised here.
    """

    at: int | None = None
    sticky: bool = False
    after: bool = False
    only: frozenset[str] = frozenset()
    cut: Callable[[], object] | None = None
    counted: int = 0
    fired: int = 0

    def arm(self, at: int, *only: str, sticky: bool = False, after: bool = False) -> None:
        self.at, self.only, self.sticky, self.after = at, frozenset(only), sticky, after
        self.counted = self.fired = 0

    def disarm(self) -> bool:
        """Let everything succeed again; says whether anything had failed."""
        self.at = None
        return self.fired > 0

    def falls(self, kind: str, *, after: bool) -> bool:
        """Say whether this step fails now."""
        if self.at is None or kind not in self.only or after != self.after:
            return False
        number = self.counted
        self.counted += 1
        falls = number >= self.at if self.sticky else number == self.at
        self.fired += falls
        return falls


PLAN = Plan()


def _kind(statement: Any) -> str:
    return "write" if str(statement).lstrip().startswith(WRITES) else "read"


class _LiteCursor(sqlite3.Cursor):
    def execute(self, sql: str, *values: Any) -> Any:
        _lite(_kind(sql), after=False)
        done = super().execute(sql, *values)
        _lite(_kind(sql), after=True)
        return done

    def executemany(self, sql: str, *values: Any) -> Any:
        _lite(_kind(sql), after=False)
        return super().executemany(sql, *values)


class _LiteConnection(sqlite3.Connection):
    def cursor(self, *_: Any) -> Any:
        return super().cursor(_LiteCursor)

    def commit(self) -> None:
        _lite("commit", after=False)
        super().commit()
        _lite("commit", after=True)


def _lite(kind: str, *, after: bool) -> None:
    if PLAN.falls(kind, after=after):
        raise sqlite3.OperationalError("database or disk is full")


class _PgCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, *values: Any, **named: Any) -> Any:
        _pg(_kind(query), after=False)
        return super().execute(query, *values, **named)

    def executemany(self, query: Any, *values: Any, **named: Any) -> None:
        _pg(_kind(query), after=False)
        super().executemany(query, *values, **named)


class _PgConnection(psycopg.Connection[Any]):
    def commit(self) -> None:
        _pg("commit", after=False)
        super().commit()
        _pg("commit", after=True)


def _pg(kind: str, *, after: bool) -> None:
    if PLAN.falls(kind, after=after):
        if PLAN.cut is not None:
            PLAN.cut()
            return
        if after:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")


def _connect(dialect: Any, _record: Any, given: Sequence[Any], named: dict[str, Any]) -> Any:
    if dialect.name == "sqlite":
        named["factory"] = _LiteConnection
        return None
    return _PgConnection.connect(*given, **named, cursor_factory=_PgCursor)


@contextmanager
def failing_databases() -> Iterator[Plan]:
    """Yield the plan by which every database that is opened meanwhile fails."""
    event.listen(Engine, "do_connect", _connect)
    try:
        yield PLAN
    finally:
        PLAN.disarm()
        PLAN.cut = None
        event.remove(Engine, "do_connect", _connect)


class FailingObjects(FolderObjects):
    """A folder that fails by the plan: before or after doing what was asked."""

    def put(self, name: str, body: Body) -> None:
        self._fall("put", after=False)
        super().put(name, body)
        self._fall("put", after=True)

    def get(self, name: str) -> bytes:
        self._fall("get", after=False)
        return super().get(name)

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self._fall("get", after=False)
        return super().get_ranges(ranges)

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        self._fall("get", after=False)
        super().fill(ranges, into)

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        self._fall("get", after=False)
        return await super().get_ranges_async(ranges)

    def delete(self, name: str) -> None:
        self._fall("delete", after=False)
        super().delete(name)
        self._fall("delete", after=True)

    def _fall(self, kind: str, *, after: bool) -> None:
        if PLAN.falls(kind, after=after):
            raise ObjectError("the folder refused an object: No space left on device")


class FlakyObjects(FolderObjects):
    """A folder that fails now and then, before or after doing what was asked."""

    def __init__(self, folder: Path, *, share: float, seed: int = 3) -> None:
        super().__init__(folder)
        self.share, self._drawn = share, random.Random(seed)

    def put(self, name: str, body: Body) -> None:
        self._maybe()
        super().put(name, body)
        self._maybe()

    def get(self, name: str) -> bytes:
        self._maybe()
        return super().get(name)

    def get_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self._maybe()
        return super().get_ranges(ranges)

    def fill(self, ranges: Sequence[Range], into: memoryview) -> None:
        self._maybe()
        super().fill(ranges, into)

    async def get_ranges_async(self, ranges: Sequence[Range]) -> list[bytes]:
        self._maybe()
        return await super().get_ranges_async(ranges)

    def delete(self, name: str) -> None:
        self._maybe()
        super().delete(name)
        self._maybe()

    def _maybe(self) -> None:
        if self._drawn.random() < self.share:
            raise ObjectError("the object store does not answer")
