"""A transaction whose commit goes on beside its owner: durable, or nothing of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select

from store import tables
from store.committer import Committer
from store.database import BusyError, Database, Prepared, Session
from store.errors import CatalogueError

ROW = Prepared(insert(tables.once).values(token=bindparam("token"), expires=bindparam("expires")))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with made.write() as connection:
        tables.metadata.create_all(connection)
    return made


def noting(token: bytes) -> Callable[[Session], bytes]:
    def work(connection: Session) -> bytes:
        ROW.run(connection, [{"token": token, "expires": 1.0}])
        return token

    return work


def noted(database: Database) -> list[bytes]:
    with database.read() as connection:
        return list(connection.execute(select(tables.once.c.token)).scalars())


def test_what_the_future_tells_of_is_there(database: Database) -> None:
    over = threading.Event()
    future = database.hot_write_behind(noting(b"a"), over.set)
    assert future.result(5) == b"a"
    assert over.is_set()
    assert noted(database) == [b"a"]
    database.close()


def test_a_statement_that_fails_leaves_nothing_and_the_next_writer_has_its_turn(
    database: Database,
) -> None:
    def work(connection: Session) -> None:
        noting(b"a")(connection)
        raise CatalogueError("the disk is full")

    over = threading.Event()
    with pytest.raises(CatalogueError):
        database.hot_write_behind(work, over.set)
    assert not over.is_set()
    assert database.hot_write_behind(noting(b"b"), over.set).result(5) == b"b"
    assert noted(database) == [b"b"]
    database.close()


def test_a_transaction_that_the_disk_undid_is_never_taken_for_committed(database: Database) -> None:
    """SQLite may roll back by itself on an I/O error; the driver's own commit would say nothing."""

    def work(connection: Session) -> bytes:
        token = noting(b"a")(connection)
        connection.connection.rollback()
        return token

    over = threading.Event()
    with pytest.raises(CatalogueError):
        database.hot_write_behind(work, over.set).result(5)
    assert over.is_set()
    assert noted(database) == []
    assert database.hot_write_behind(noting(b"b"), over.set).result(5) == b"b"
    database.close()


def test_who_would_have_to_wait_is_told_so_at_once(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(tables.once), {"token": b"a", "expires": 1.0})
        with pytest.raises(BusyError):
            database.hot_write_behind(noting(b"b"), lambda: None)
    assert noted(database) == [b"a"]
    database.close()


def test_closing_waits_for_what_was_given(database: Database) -> None:
    future = database.hot_write_behind(noting(b"a"), lambda: None)
    database.close()
    assert future.done()
    assert future.result() == b"a"


def test_jobs_are_done_in_order_and_none_is_stopped_by_who_gives_up() -> None:
    committer, gate, done = Committer(), threading.Event(), []
    first = committer.finish(lambda: (gate.wait(5), done.append(1)))
    second = committer.finish(lambda: done.append(2))
    assert not first.cancel()
    assert not second.cancel()
    gate.set()
    committer.close()
    assert done == [1, 2]
    with pytest.raises(ZeroDivisionError):
        committer.finish(lambda: 1 // 0).result(5)
    assert committer.finish(lambda: 3).result(5) == 3
    committer.close()
