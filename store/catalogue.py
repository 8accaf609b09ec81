"""The catalogue: which files are live, which batch belongs to which commit. No key, no plaintext.

    PENDING --commit--> LIVE --compaction--> DEAD --sweep--> gone
       +----sweep----> DOOMED ----sweep----> gone

A batch is reserved, its files are named as pending, their bytes are put; then one transaction takes
the reservation away and makes them live. Sweep takes an expired reservation away first, so a slow
writer's commit fails whole instead of half.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from store import tables
from store.database import MOST_ROWS, Prepared, portions
from store.errors import CommitConflictError, InputError, TamperedError
from store.runs import (
    RUN_SIZE,
    FoundRun,
    NewFile,
    Run,
    Unindexed,
    entries,
    find_run,
    pages,
    place_name,
    rows_digest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from store.database import Database, Session
    from store.ports import Clock
    from store.reads import Window

LEASE = 3_600.0  # seconds a batch may take from its reservation to its commit
_FILES = 100  # whose run indexes one query gets: they may take 80 MB
SWEPT = "the batch took longer than its lease and was swept away: run it again"


class FileState(IntEnum):
    """Where a file is in its life."""

    PENDING = 0
    LIVE = 1
    DEAD = 2
    DOOMED = 3


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A file that the catalogue holds."""

    id: int
    name: str
    register: int
    month: int
    level: int
    rows: int
    size: int
    low: bytes
    high: bytes
    index_digest: bytes
    batch: int = 0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of a live file's run index."""

    name: str
    register: int
    month: int
    body: bytes


class Catalogue:
    """What is live. Functions that take a connection run in the caller's transaction."""

    def __init__(self, database: Database, clock: Clock, *, lease: float = LEASE) -> None:
        self._database, self._clock, self._lease = database, clock, lease
        self._commits: dict[int, int] = {}

    # ---- writing -----------------------------------------------------------------------------

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
                    row = self._pending(batch, file.unindexed, file.index_digest)
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
            connection.execute(insert(tables.files), self._pending(batch, file, b""))

    def index(self, batch: int, name: str, index: bytes) -> bytes:
        """Note the run index of a file that was announced, and renew the lease; return its digest.

        Raises:
            CommitConflictError: The reservation was swept away, or the file has an index.
        """
        f, digest = tables.files, hashlib.sha256(index).digest()
        mine = (f.c.name == name, f.c.batch == batch, f.c.state == FileState.PENDING)
        with self._database.read() as connection:
            identity = connection.execute(select(f.c.id).where(*mine)).scalar()
        rows = [{"file": identity, "first": first, "page": page} for first, page in pages(index)]
        *most, last = portions(rows, MOST_ROWS)
        for some in most:
            with self._database.write() as connection:
                self.hold(connection, batch)
                connection.execute(insert(tables.runs), some)
        with self._database.write() as connection:
            self._renew(connection, batch)
            connection.execute(insert(tables.runs), last)
            noted = update(f).where(*mine, f.c.index_digest == b"")
            if connection.execute(noted.values(index_digest=digest)).rowcount != 1:
                raise CommitConflictError(SWEPT)
        return digest

    def _pending(self, batch: int, file: Unindexed, digest: bytes) -> dict[str, object]:
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
        table = tables.batches
        held = update(table).where(table.c.batch == batch).values(expires=table.c.expires)
        if connection.execute(held).rowcount != 1:
            raise CommitConflictError(SWEPT)

    def _renew(self, connection: Connection, batch: int) -> None:
        table = tables.batches
        held = update(table).where(table.c.batch == batch)
        longer = held.values(expires=self._clock.now() + self._lease)
        if connection.execute(longer).rowcount != 1:
            raise CommitConflictError(SWEPT)

    def leave_out(self, connection: Connection, batch: int) -> None:
        """Doom the pending files of ``batch`` without an index: a task wrote them and was lost."""
        f = tables.files
        lost = (f.c.batch == batch, f.c.state == FileState.PENDING, f.c.index_digest == b"")
        doomed = update(f).where(*lost)
        connection.execute(doomed.values(state=FileState.DOOMED, since=self._clock.now()))

    def abandon(self, batch: int) -> list[str] | None:
        """Give ``batch`` up: it can never be committed any more; sweep forgets its files.

        A failed commit may have been committed after all, its acknowledgement lost on the way:
        only who gets names from here may remove their objects.

        Returns:
            The object names of its files; None where the batch was committed or swept away.
        """
        b, f = tables.batches.c, tables.files.c
        with self._database.write() as connection:
            given = connection.execute(delete(tables.batches).where(b.batch == batch))
            if given.rowcount != 1:
                return None
            connection.execute(delete(tables.rejected).where(tables.rejected.c.batch == batch))
            mine = (f.batch == batch, f.state == FileState.PENDING)
            names = list(connection.execute(select(f.name).where(*mine)).scalars())
            doomed = update(tables.files).where(*mine)
            connection.execute(doomed.values(state=FileState.DOOMED, since=self._clock.now()))
        return names

    def publish(self, connection: Connection, batch: int, files: int) -> None:
        """Make the ``files`` pending files of ``batch`` live, in the caller's transaction.

        Raises:
            CommitConflictError: The reservation was swept away, or a file is not there.
        """
        taken = connection.execute(delete(tables.batches).where(tables.batches.c.batch == batch))
        table = tables.files
        shown = connection.execute(
            update(table)
            .where(table.c.batch == batch, table.c.state == FileState.PENDING)
            .values(state=FileState.LIVE, since=self._clock.now())
        )
        if taken.rowcount != 1 or shown.rowcount != files:
            raise CommitConflictError(SWEPT)

    def next_commit(self, connection: Connection) -> int:
        """Return the next commit number; the head row stays locked until the transaction ends."""
        head = tables.head
        connection.execute(update(head).values(commit=head.c.commit + 1))
        number: int = connection.execute(select(head.c.commit)).scalar_one()
        return number

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

    # ---- reading -----------------------------------------------------------------------------

    @staticmethod
    def newest(connection: Session) -> int:
        """Return the newest commit number; 0 in an empty store."""
        number: int = _NEWEST.rows(connection)[0][0]
        return number

    @staticmethod
    def commit_at(connection: Session, at: float) -> int:
        """Return the newest commit that stood at time ``at``; 0 where there was none."""
        return _COMMIT_AT.rows(connection, at=at)[0][0] or 0

    @staticmethod
    def runs_of(
        connection: Session, subject: bytes, registers: Sequence[int], window: Window
    ) -> list[FoundRun]:
        """Return every live run of ``subject`` in the months that ``window`` touches.

        Args:
            connection: The snapshot.
            subject: Whose.
            registers: At least one; there are six.
            window: Half-hours.
        """
        months = window.months
        six = dict(zip("abcdef", (*registers, *[registers[0]] * 6), strict=False))
        rows = _RUNS_OF.rows(connection, **six, first=months[0], last=months[-1], subject=subject)
        return [
            FoundRun(name, register, month, run)
            for name, register, month, page in rows
            if (run := find_run(page, subject)) is not None
        ]

    def known(self, batches: Iterable[int]) -> Mapping[int, int] | None:
        """Return as `commits_of` does; None where the database would have to be asked."""
        known = self._commits
        return known if all(batch in known for batch in batches) else None

    @staticmethod
    def pages_between(
        connection: Connection, registers: Sequence[int], months: range, low: bytes, high: bytes
    ) -> Iterator[RunPage]:
        """Yield the pages of live run indexes that may hold subjects from ``low`` to ``high``."""
        f, r, inner = tables.files, tables.runs, tables.runs.alias()
        first = select(func.max(inner.c.first)).where(inner.c.file == f.c.id, inner.c.first <= low)
        begins = func.coalesce(first.correlate(f).scalar_subquery(), low)
        query = (
            select(f.c.name, f.c.register, f.c.month, r.c.page)
            .join_from(f, r, r.c.file == f.c.id)
            .where(
                f.c.register.in_(registers),
                f.c.month.between(months[0], months[-1]),
                f.c.state == FileState.LIVE,
                f.c.low <= high,
                f.c.high >= low,
                r.c.first >= begins,
                r.c.first <= high,
            )
            .order_by(f.c.id, r.c.first)
        )
        for row in connection.execute(query):
            yield RunPage(*tuple(row))

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

    @staticmethod
    def newest_month(connection: Connection) -> int | None:
        """Return the newest month of which a file is live; None in an empty store."""
        table = tables.files
        query = select(func.max(table.c.month)).where(table.c.state == FileState.LIVE)
        return connection.execute(query).scalar()

    @staticmethod
    def places(connection: Connection) -> set[tuple[int, int]]:
        """Return the registers and months of which a file is live."""
        t = tables.files.c
        query = select(t.register, t.month).distinct().where(t.state == FileState.LIVE)
        return {(int(register), int(month)) for register, month in connection.execute(query)}

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
    def index_of(connection: Connection, file: LiveFile) -> list[Run]:
        """Return the whole run index of a file.

        Raises:
            TamperedError: It is not the index that was committed.
        """
        [index] = Catalogue.whole_indexes(connection, [file])
        return [Run.decode(index, at) for at in range(0, len(index), RUN_SIZE)]

    @staticmethod
    def whole_indexes(connection: Connection, files: Sequence[LiveFile]) -> Iterator[bytes]:
        """Yield the whole run index of each file, in their order.

        Raises:
            TamperedError: One is not the index that was committed.
        """
        for some in portions(files, _FILES):
            for file, index in zip(some, _pages(connection, some), strict=True):
                if hashlib.sha256(index).digest() != file.index_digest:
                    raise TamperedError(
                        "index", "a file's run index is not the one that was committed"
                    )
                yield index

    @staticmethod
    def indexes_of(
        connection: Connection, files: Sequence[LiveFile], low: bytes, high: bytes
    ) -> list[bytes]:
        """Return of each file's run index the pages that may hold subjects ``low`` to ``high``.

        They are not held to the index's digest.
        """
        f, r, inner = tables.files, tables.runs.c, tables.runs.alias()
        first = select(func.max(inner.c.first)).where(inner.c.file == f.c.id, inner.c.first <= low)
        begins = func.coalesce(first.correlate(f).scalar_subquery(), low)
        return [
            index
            for some in portions(files, _FILES)
            for index in _pages(connection, some, r.first >= begins, r.first <= high)
        ]

    def rows_of(self, batch: int) -> dict[str, str]:
        """Return the digest of the rows of a batch that is not committed yet; see `rows_digest`.

        Returns:
            Hex by register and month, ``active_import 2025-07``.

        Raises:
            TamperedError: A run index is not the one that was written.
        """
        f, r = tables.files.c, tables.runs.c
        mine = (f.batch == batch, f.state == FileState.PENDING)
        places = select(f.register, f.month).where(*mine).distinct().order_by(f.register, f.month)
        found = {}
        with self._database.read() as connection:
            for register, month in connection.execute(places).all():
                here = select(f.id, f.index_digest).where(
                    *mine, f.register == register, f.month == month
                )
                runs: list[bytes] = []
                for file, digest in connection.execute(here).all():
                    pages_ = select(r.page).where(r.file == file).order_by(r.first)
                    index = b"".join(connection.execute(pages_).scalars())
                    if hashlib.sha256(index).digest() != digest:
                        raise TamperedError("index", "a file's run index is not what was written")
                    runs += entries(index)
                found[place_name(register, month)] = rows_digest(sorted(runs)).hex()
        return found

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


def _pages(
    connection: Connection, files: Sequence[LiveFile], *which: ColumnElement[bool]
) -> list[bytes]:
    """Return the pages of each file's run index, joined, in the order of ``files``."""
    f, r = tables.files.c, tables.runs.c
    joined = select(r.file, r.page).join_from(tables.files, tables.runs, r.file == f.id)
    query = joined.where(f.id.in_([file.id for file in files]), *which)
    found: dict[int, list[bytes]] = {file.id: [] for file in files}
    for file, page in connection.execute(query.order_by(r.file, r.first)).all():
        found[file].append(page)
    return [b"".join(pages_) for pages_ in found.values()]


def _runs_of() -> Select[tuple[str, int, int, bytes]]:
    f, r, inner = tables.files, tables.runs, tables.runs.alias()
    subject = bindparam("subject", type_=LargeBinary)
    page = select(func.max(inner.c.first)).where(inner.c.file == f.c.id, inner.c.first <= subject)
    return (
        select(f.c.name, f.c.register, f.c.month, r.c.page)
        .join_from(f, r, (r.c.file == f.c.id) & (r.c.first == page.correlate(f).scalar_subquery()))
        .where(
            f.c.register.in_([bindparam(name) for name in "abcdef"]),
            f.c.month.between(bindparam("first"), bindparam("last")),
            f.c.state == FileState.LIVE,
            f.c.low <= subject,
            f.c.high >= subject,
        )
    )


_RUNS_OF = Prepared(_runs_of())
_NEWEST = Prepared(select(tables.head.c.commit))
_COMMIT_AT = Prepared(
    select(func.max(tables.commits.c.number)).where(tables.commits.c.at <= bindparam("at"))
)
_REVERTED = Prepared(
    select(tables.reverts.c.commit).where(tables.reverts.c.by <= bindparam("as_of"))
)
