"""Run indexes as the catalogue keeps them: one subject's runs, the pages of many, whole indexes.

An index lies in pages, each named by its first subject (`runs`). Of one that is read whole the
digest is checked; of a run, the boxes that are fetched for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, LargeBinary, ScalarSelect, Select, bindparam, func, select

from store import tables
from store.errors import TamperedError
from store.lake.files import FileState, LiveFile
from store.lake.runs import FoundRuns, Run, find_runs
from store.sql.statements import Prepared, portions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection

    from store.reads import Window
    from store.sql.statements import Session

_FILES = 100  # whose run indexes one query gets: they may take 80 MB


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of a live file's run index."""

    name: str
    register: int
    month: int
    body: bytes


class RunIndexes:
    """Reads run indexes, in the caller's snapshot."""

    @staticmethod
    def runs_of(
        connection: Session, subject: bytes, registers: Sequence[int], window: Window
    ) -> FoundRuns:
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
        return find_runs(rows, subject)

    @staticmethod
    def pages_between(
        connection: Connection, registers: Sequence[int], months: range, low: bytes, high: bytes
    ) -> Iterator[RunPage]:
        """Yield the pages of live run indexes that may hold subjects from ``low`` to ``high``."""
        f, r = tables.files, tables.runs
        query = (
            select(f.c.name, f.c.register, f.c.month, r.c.page)
            .join_from(f, r, r.c.file == f.c.id)
            .where(
                f.c.register.in_(registers),
                f.c.month.between(months[0], months[-1]),
                f.c.state == FileState.LIVE,
                f.c.low <= high,
                f.c.high >= low,
                *_touching(low, high),
            )
            .order_by(f.c.id, r.c.first)
        )
        for row in connection.execute(query):
            yield RunPage(*tuple(row))

    @staticmethod
    def index_of(connection: Connection, file: LiveFile) -> list[Run]:
        """Return the whole run index of a file.

        Raises:
            TamperedError: It is not the index that was committed.
        """
        [index] = RunIndexes.whole_indexes(connection, [file])
        return Run.decoded(index)

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
        return [
            index
            for some in portions(files, _FILES)
            for index in _pages(connection, some, *_touching(low, high))
        ]


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
    return [b"".join(pages) for pages in found.values()]


def _touching(low: bytes, high: bytes) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that a page of a file's index may hold subjects ``low`` to ``high``."""
    r = tables.runs.c
    begins = func.coalesce(_page_at(low), low)
    return r.first >= begins, r.first <= high


def _page_at(subject: bytes | ColumnElement[bytes]) -> ScalarSelect[bytes]:
    """Return the name of the page of a file's index in which ``subject`` would stand."""
    f, inner = tables.files, tables.runs.alias()
    page = select(func.max(inner.c.first)).where(inner.c.file == f.c.id, inner.c.first <= subject)
    return page.correlate(f).scalar_subquery()


def _runs_of() -> Select[tuple[str, int, bytes]]:
    f, r = tables.files.c, tables.runs.c
    subject = bindparam("subject", type_=LargeBinary)
    page = (
        select(r.page)
        .where(r.file == f.id, r.first <= subject)
        .order_by(r.first.desc())
        .limit(1)
        .correlate(tables.files)
        .scalar_subquery()
    )
    return select(f.name, f.register, page).where(
        f.register.in_([bindparam(name) for name in "abcdef"]),
        f.month.between(bindparam("first"), bindparam("last")),
        f.state == FileState.LIVE,
        f.low <= subject,
        f.high >= subject,
    )


_RUNS_OF = Prepared(_runs_of())
