"""A page of meter points, and the statements that read what is known of them, joined to it.

The page is a table of the reader's own transaction: some thousand meter points at once, in the
order in which they were put.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.schema import CreateTable, DropTable

from store import tables
from store.consent_rows import COLUMNS, NEWEST
from store.database import Prepared, portions

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

PAGE: Final = 4_096  # meter points held at once
Rows = Sequence[tuple[Any, ...]]
_WHOLE: Final = tuple(
    f"enable_{way}" for way in ("seqscan", "bitmapscan", "hashagg", "hashjoin", "mergejoin")
)


@contextmanager
def tables_of(connection: Connection) -> Iterator[None]:
    """Let the transaction have its tables.

    PostgreSQL knows nothing of a table that was made just now, and would rather read all of a
    large one than look up some thousand rows (measured: 60,000 registrations sorted for each page).
    """
    if connection.dialect.name == "postgresql":
        for way in _WHOLE:
            connection.execute(select(func.set_config(way, "off", True)))
    for table in (_PAGE, _WANTED):
        connection.execute(CreateTable(table))
    yield
    for table in (_PAGE, _WANTED):
        connection.execute(DropTable(table))


def own(connection: Connection, table: Table, party: str) -> Iterator[None]:
    """Fill the page with the meter points of the party's rows of ``table``, page by page."""
    t = table.c
    here = t.party == bindparam("party"), t.tag > bindparam("low")
    each = select(t.tag, bindparam("party", type_=String)).where(*here).group_by(t.tag)
    some = each.order_by(t.tag).limit(PAGE)
    fill = Prepared(insert(_PAGE).from_select(["tag", "party"], some))
    low = b""
    while fill.count(connection, party=party, low=low):
        yield
        [(low,)] = _LAST.rows(connection)
        _empty(connection, _PAGE)


def listed(connection: Connection, tags: Iterable[bytes], party: str) -> Iterator[None]:
    """Fill the page with the meter points of a list, page by page."""
    for some in portions(tags, PAGE):
        _TAG.run(connection, [{"tag": tag, "party": party} for tag in some])
        yield
        _empty(connection, _PAGE)


def proofs(connection: Connection, entries: Iterable[bytes]) -> Rows:
    """Return entry, leaf, and the key and text of the detail, of each log entry that there is."""
    _WANT.run(connection, [{"entry": entry} for entry in entries])
    found = _PROOFS.rows(connection)
    _empty(connection, _WANTED)
    return found


def _empty(connection: Connection, table: Table) -> None:
    """Empty a table of the transaction's own.

    Rows that a transaction of PostgreSQL deletes lie in the way of all that it reads afterwards.
    """
    postgres = connection.dialect.name == "postgresql"
    connection.execute(text(f"TRUNCATE {table.name}") if postgres else delete(table))


def _scratch(name: str, *columns: Column[Any]) -> Table:
    """Return a table of one transaction's own."""
    return Table(name, MetaData(), *columns, prefixes=["TEMPORARY"], postgresql_on_commit="DROP")


_PAGE = _scratch(
    "bulk_page",
    Column("place", Integer, primary_key=True),  # given by the database, ascending
    Column("tag", LargeBinary),
    Column("party", String(40)),  # in each row, so that a planner begins with the page
)
_WANTED = _scratch("bulk_wanted", Column("entry", LargeBinary))
_TAG = Prepared(insert(_PAGE).values(tag=bindparam("tag"), party=bindparam("party")))
_WANT = Prepared(insert(_WANTED).values(entry=bindparam("entry")))
TAGS = Prepared(select(_PAGE.c.place, _PAGE.c.tag).order_by(_PAGE.c.place))
_LAST = Prepared(select(_PAGE.c.tag).order_by(_PAGE.c.tag.desc()).limit(1))


def _of_page(table: Table, *columns: ColumnElement[Any], then: ColumnElement[Any]) -> Prepared:
    """Return a query of the page's rows of ``table``: their entry, columns, and place."""
    here = table.c.tag == _PAGE.c.tag
    if "party" in table.c:
        here &= table.c.party == _PAGE.c.party
    asked = select(table.c.entry, *columns, _PAGE.c.place).select_from(_PAGE.join(table, here))
    return Prepared(asked.order_by(_PAGE.c.place, then))


_t, _r, _c, _s = (
    tables.tenancies.c, tables.registrations.c, tables.consents.c, tables.supply_choices.c
)  # fmt: skip
TENANCIES = _of_page(tables.tenancies, _t.start, _t.subject, then=_t.start)
REGISTRATIONS = _of_page(tables.registrations, _r.role, _r.premises, _r.start, _r.end, then=_r.role)
CHOICES = _of_page(tables.supply_choices, _s.granularity, _s.choice, _s.at, then=_s.id)
CONSENTS = _of_page(tables.consents, NEWEST, *(_c[name] for name in COLUMNS), then=_c.id)
_l, _d = tables.leaves, tables.details
_PROOFS = Prepared(
    select(_WANTED.c.entry, _l.c.leaf, _d.c.key, _d.c.detail).select_from(
        _WANTED.join(_l, _l.c.entry == _WANTED.c.entry).outerjoin(_d, _d.c.entry == _WANTED.c.entry)
    )
)
