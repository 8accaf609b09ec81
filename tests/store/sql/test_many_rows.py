"""Many rows in one statement are the rows, on either database, whatever stands in them."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select

from store import tables
from store.sql.statements import Prepared
from tests.world import World

ODD = [
    "",
    "a",
    '"',
    "\\",
    "{}",
    "NULL",
    "null",
    "a,b",
    "\n",
    "é\U0001f600",
    "'; --",
    "%(row)s",
    "%s",
]
_PUT = Prepared(
    insert(tables.details).values(
        entry=bindparam("entry"), key=bindparam("key"), detail=bindparam("detail")
    )
)


def test_rows_of_one_statement_come_back_as_they_were(world: World) -> None:
    rows = [
        {"entry": bytes([at]) * 16, "key": bytes([at, 0, 255, 34, 92]), "detail": text}
        for at, text in enumerate(ODD)
    ]
    with world.store.database.hot_write() as session:
        _PUT.run(session, rows)
        _PUT.run(session, [{"entry": b"alone", "key": b"", "detail": "alone"}])
        _PUT.run(session, [])
    d = tables.details.c
    with world.store.database.read() as connection:
        found = connection.execute(select(d.entry, d.key, d.detail)).all()
    told = [(bytes(entry), bytes(key), text) for entry, key, text in found]
    wanted = [(row["entry"], row["key"], row["detail"]) for row in rows]
    assert sorted(told) == sorted([*wanted, (b"alone", b"", "alone")])
