"""A transaction that is synced beside its owner: durable, or its owner hears that it is not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select

from store import tables
from store.errors import CatalogueError
from store.sql.committer import Committer
from store.sql.database import Database
from store.sql.engines import BusyError
from store.sql.statements import Prepared, Session

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


def test_what_is_told_of_is_there(database: Database) -> None:
    behind = database.hot_write_behind(noting(b"a"))
    assert behind.result() == b"a"
    assert behind.done()
    assert noted(database) == [b"a"]
    database.close()


def test_a_statement_that_fails_leaves_nothing_and_the_next_writer_has_its_turn(
    database: Database,
) -> None:
    def work(connection: Session) -> None:
        noting(b"a")(connection)
        raise CatalogueError("the disk is full")

    with pytest.raises(CatalogueError):
        database.hot_write_behind(work)
    assert database.hot_write_behind(noting(b"b")).result() == b"b"
    assert noted(database) == [b"b"]
    database.close()


def test_a_transaction_that_the_disk_undid_is_never_taken_for_committed(database: Database) -> None:
    """SQLite may roll back by itself on an I/O error; the driver's own commit would say nothing."""

    def work(connection: Session) -> bytes:
        token = noting(b"a")(connection)
        connection.connection.rollback()
        return token

    with pytest.raises(CatalogueError):
        database.hot_write_behind(work)
    assert noted(database) == []
    assert database.hot_write_behind(noting(b"b")).result() == b"b"
    database.close()


def test_who_would_have_to_wait_is_told_so_at_once(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(tables.once), {"token": b"a", "expires": 1.0})
        with pytest.raises(BusyError):
            database.hot_write_behind(noting(b"b"))
    assert noted(database) == [b"a"]
    database.close()


def test_closing_waits_for_what_was_given(database: Database) -> None:
    behind = database.hot_write_behind(noting(b"a"))
    database.close()
    assert behind.done()
    assert behind.result() == b"a"


def test_what_is_synced_is_the_log_that_sqlite_writes(database: Database, tmp_path: Path) -> None:
    """Not a file that another connection left, or that is there no more."""
    database.hot_write_behind(noting(b"a")).result()
    assert database._syncs is not None
    told = os.fstat(database._syncs._descriptor)
    there = (tmp_path / "a.db-wal").stat()
    assert (told.st_dev, told.st_ino) == (there.st_dev, there.st_ino)
    assert there.st_size > 0
    database.close()


def test_a_commit_behind_leaves_the_copying_to_others(database: Database, tmp_path: Path) -> None:
    """SQLite would copy its log into the database within every so many commits: milliseconds."""
    for number in range(800):
        database.hot_write_behind(noting(number.to_bytes(2, "big") * 100)).result()
    assert (tmp_path / "a.db-wal").stat().st_size > 1_100 * 4_096
    with database.write() as connection:
        connection.execute(insert(tables.once), {"token": b"a", "expires": 1.0})
    with database._bare() as bare:
        _, pages, copied = bare.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert pages == copied
    database.close()


def test_after_a_sync_that_failed_nothing_is_written_any_more(database: Database) -> None:
    """The system tells of a lost page once: a later sync would call it kept."""

    class Torn:
        def over(self) -> bool:
            raise OSError(5, "/etc/secret")

        def wait(self, seconds: float | None = None) -> None: ...

    database.hot_write_behind(noting(b"a")).result()
    assert database._syncs is not None
    database._syncs._begin = lambda _descriptor: Torn()
    behind = database.hot_write_behind(noting(b"b"))
    with pytest.raises(CatalogueError) as lost:
        behind.result()
    assert behind.done()
    assert "secret" not in str(lost.value)
    for attempt in (database.write, database.hot_write, database.hot_read):
        with pytest.raises(CatalogueError), attempt():
            pytest.fail("nothing may be written or answered")
    with pytest.raises(CatalogueError):
        database.hot_write_behind(noting(b"c"))


def test_what_may_be_lost_is_seen_at_once_and_nothing_of_it_stays_where_it_fails(
    database: Database,
) -> None:
    assert database.hot_write_loose(noting(b"a")) == b"a"
    assert noted(database) == [b"a"]

    def work(connection: Session) -> None:
        noting(b"b")(connection)
        raise CatalogueError("no")

    with pytest.raises(CatalogueError):
        database.hot_write_loose(work)
    assert noted(database) == [b"a"]
    database.close()


def test_what_may_be_lost_waits_for_another_writer(database: Database) -> None:
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            connection.execute(insert(tables.once), {"token": b"a", "expires": 1.0})
            later = pool.submit(database.hot_write_loose, noting(b"b"))
            with pytest.raises(TimeoutError):
                later.result(0.05)
        assert later.result(5) == b"b"
    assert sorted(noted(database)) == [b"a", b"b"]
    database.close()


def test_what_may_be_lost_asks_for_no_sync_of_its_own(database: Database) -> None:
    """The next transaction that is synced syncs the same file."""
    database.hot_write_behind(noting(b"a")).result()
    assert database._syncs is not None
    database._syncs._begin = lambda _descriptor: pytest.fail("nobody waits for it")
    assert database.hot_write_loose(noting(b"b")) == b"b"
    database.close()


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
