"""Whose reads an export held, kept for as long as the log tells of exports. SQL alone.

What an export was allowed goes with it after some days; who had a customer's data must not. So the
subjects of each export stay, ascending, 96 to a page (1,536 bytes), named by the first: a customer
is looked for in one page of each export. An erased customer is taken out of every page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, bindparam, delete, insert, select, update

from store import tables
from store.sql.statements import Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

PAGE: Final = 96  # subjects
PAGES: Final = 40  # written in one transaction
SIZE: Final = 16  # bytes of a subject
_t = tables.export_customers


def pages(subjects: Iterable[bytes]) -> Iterator[tuple[tuple[bytes, ...], ...]]:
    """Yield ``subjects``, ascending, in portions of some pages: one transaction each."""
    return portions(portions(subjects, PAGE), PAGES)


def begin(connection: Connection, export: str) -> None:
    """Take out what an earlier decision, cut short, wrote of an export."""
    connection.execute(delete(_t).where(_t.c.export == export))


def put(connection: Connection, export: str, some: Sequence[Sequence[bytes]]) -> None:
    """Write pages of an export's subjects; those who were erased meanwhile stand in none."""
    rows = []
    for page in some:
        # A page that is not full asks for its last one again: the statement is always the same.
        asked = [*page, *[page[-1]] * (PAGE - len(page))]
        held = _HELD.rows(connection, **dict(zip(_PLACES, asked, strict=True)))
        alive = sorted({subject for (subject,) in held})
        if alive:
            rows.append({"export": export, "first": alive[0], "page": b"".join(alive)})
    if rows:
        _PUT.run(connection, rows)


def entries(connection: Connection, subjects: Iterable[bytes]) -> set[bytes]:
    """Return the log entry of each export that held reads of one of ``subjects``."""
    return {row.entry for one in subjects for row in _holding(connection, one)}


def forget(connection: Connection, *subjects: bytes) -> None:
    """Take erased customers out of every export, in the transaction that erases."""
    for one in subjects:
        for row in _holding(connection, one):
            here = (_t.c.export == row.export) & (_t.c.first == row.first)
            left = [each for each in _cut(row.page) if each != one]
            if left:
                gone = update(_t).where(here).values(first=left[0], page=b"".join(left))
                connection.execute(gone)
            else:
                connection.execute(delete(_t).where(here))


def _holding(connection: Connection, subject: bytes) -> list[Any]:
    """Return the rows whose page holds ``subject``: one look into each export."""
    e = tables.exports.c
    first = (
        select(_t.c.first)
        .where(_t.c.export == e.id, _t.c.first <= subject)
        .order_by(_t.c.first.desc())
        .limit(1)
        .correlate(tables.exports)
        .scalar_subquery()
    )
    query = (
        select(e.entry, _t.c.export, _t.c.first, _t.c.page)
        .join(_t, (_t.c.export == e.id) & (_t.c.first == first))
        .where(e.entry.is_not(None))
    )
    return [row for row in connection.execute(query) if subject in _cut(row.page)]


def _cut(page: bytes) -> list[bytes]:
    return [page[at : at + SIZE] for at in range(0, len(page), SIZE)]


_PLACES: Final = [f"s{number}" for number in range(PAGE)]
_keys = tables.deks.c.subject
_HELD = Prepared(
    select(_keys)
    .where(_keys.in_([bindparam(name, type_=LargeBinary) for name in _PLACES]))
    .with_for_update(read=True)
)
_PUT = Prepared(insert(_t))
