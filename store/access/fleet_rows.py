"""The statements that read what is known of many meter points, as rows of `fleet_pages.Page`.

Of the party's own meter points they look into its indexes, from one tag to another; of others they
are joined to a table of the reader's own transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    exists,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.schema import CreateTable, DropTable

from store import tables
from store.facts.consent_rows import COLUMNS, NEWEST
from store.sql.statements import Prepared

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

_LOOKED_UP: Final = {  # by index, row by row, by the one process that is asked
    **{
        f"enable_{way}": "off"
        for way in ("seqscan", "bitmapscan", "hashagg", "hashjoin", "mergejoin")
    },
    "max_parallel_workers_per_gather": "0",
}


@contextmanager
def tables_of(connection: Connection) -> Iterator[None]:
    """Let the transaction have its tables.

    PostgreSQL knows nothing of a table that was made just now, and would rather read all of a
    large one than look up some thousand rows (measured: 60,000 registrations sorted for each page).
    """
    if connection.dialect.name == "postgresql":
        for name, value in _LOOKED_UP.items():
            connection.execute(select(func.set_config(name, value, True)))
    for table in (PAGE, WANTED):
        connection.execute(CreateTable(table))
    yield
    for table in (PAGE, WANTED):
        connection.execute(DropTable(table))


def empty(connection: Connection, table: Table) -> None:
    """Empty a table of the transaction's own.

    Rows that a transaction of PostgreSQL deletes lie in the way of all that it reads afterwards.
    """
    postgres = connection.dialect.name == "postgresql"
    connection.execute(text(f"TRUNCATE {table.name}") if postgres else delete(table))


def _scratch(name: str, *columns: Column[Any]) -> Table:
    """Return a table of one transaction's own."""
    return Table(name, MetaData(), *columns, prefixes=["TEMPORARY"], postgresql_on_commit="DROP")


PAGE = _scratch(
    "bulk_page",
    Column("place", Integer, primary_key=True),  # given by the database, ascending
    Column("tag", LargeBinary),
    Column("party", String(40)),  # in each row, so that a planner begins with the page
)
WANTED = _scratch("bulk_wanted", Column("entry", LargeBinary))
TAG = Prepared(insert(PAGE).values(tag=bindparam("tag"), party=bindparam("party")))
WANT = Prepared(insert(WANTED).values(entry=bindparam("entry")))
LAST = Prepared(select(PAGE.c.tag).order_by(PAGE.c.tag.desc()).limit(1))
_l, _d = tables.leaves, tables.details
PROOFS = Prepared(
    select(WANTED.c.entry, _l.c.leaf, _d.c.key, _d.c.detail).select_from(
        WANTED.join(_l, _l.c.entry == WANTED.c.entry).outerjoin(_d, _d.c.entry == WANTED.c.entry)
    ),
    many=True,
)

LAST_LEAF = Prepared(select(func.max(_l.c.id)))
LATER_LEAVES = Prepared(
    select(_l.c.leaf)
    .where(_l.c.id > bindparam("since", type_=Integer))
    .order_by(_l.c.id)
    .limit(bindparam("most", type_=Integer))
)

_MOST: Final = bindparam("most", type_=Integer)
_t, _r, _c, _s = (
    tables.tenancies.c, tables.registrations.c, tables.consents.c, tables.supply_choices.c
)  # fmt: skip
_SUPPLY = (_r.entry, _r.role, _r.premises, _r.start, _r.end, _t.entry, _t.start, _t.subject)
_CONSENT = (_c.entry, NEWEST, *(_c[name] for name in COLUMNS), _c.tag)
_CHOICE = (_s.entry, _s.granularity, _s.choice, _s.at, _s.tag)

REGISTERED = Prepared(
    select(_r.tag, *_SUPPLY)
    .select_from(tables.registrations.outerjoin(tables.tenancies, _t.tag == _r.tag))
    .where(_r.party == bindparam("party"), _r.tag > bindparam("low"))
    .order_by(_r.tag)
    .limit(_MOST),
    many=True,
)
FILL = Prepared(
    insert(PAGE).from_select(
        ["tag", "party"],
        select(_c.tag, bindparam("party", type_=String))
        .where(_c.party == bindparam("party"), _c.tag > bindparam("low"))
        .group_by(_c.tag)
        .order_by(_c.tag)
        .limit(_MOST),
    )
)


def _between(table: Table, columns: Sequence[ColumnElement[Any]], then: Any) -> Prepared:
    """Return a query of the party's rows of ``table`` about registered meter points of a range."""
    t = table.c
    mine = exists().where(_r.party == bindparam("party"), _r.tag == t.tag)
    here = t.party == bindparam("party"), t.tag > bindparam("low"), t.tag <= bindparam("high")
    return Prepared(select(*columns).where(*here, mine).order_by(t.tag, then))


BETWEEN = (
    _between(tables.consents, _CONSENT, _c.id),
    _between(tables.supply_choices, _CHOICE, _s.id),
)


def _of_page(table: Table, columns: Sequence[ColumnElement[Any]], then: Any) -> Prepared:
    """Return a query of the rows of ``table`` about the page's meter points."""
    here = (table.c.tag == PAGE.c.tag) & (table.c.party == PAGE.c.party)
    asked = select(*columns).select_from(PAGE.join(table, here))
    return Prepared(asked.order_by(PAGE.c.place, then))


OF_PAGE = (
    Prepared(
        select(PAGE.c.tag, *_SUPPLY)
        .select_from(
            PAGE.outerjoin(
                tables.registrations, (_r.tag == PAGE.c.tag) & (_r.party == PAGE.c.party)
            ).outerjoin(tables.tenancies, _t.tag == PAGE.c.tag)
        )
        .order_by(PAGE.c.place),
        many=True,
    ),
    _of_page(tables.consents, _CONSENT, _c.id),
    _of_page(tables.supply_choices, _CHOICE, _s.id),
)
