"""Which fact each meter of an export rested on, kept for as long as the log tells of exports.

    page    entries, 16 bytes each: of each meter, in the order of their numbers, the log entry of
            the fact that it rested on; named by the number of its first meter
    leaf    what stands for one meter in the export's own tree: see store/README.md, an export

The export's log leaf commits to the tree and to SHA-256 of all pages. No page says whose meter it
is: that goes with `meters`, and what the export rested on can be held to the log for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, insert, select

from store import tables
from store.envelope import fields

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

SIZE: Final = 16  # bytes of an entry
_V1: Final = fields(b"meterkeep export meter v1")
_V2: Final = fields(b"meterkeep export meter v2")
_NUMBERS: Final = Struct(">HHHQHQ")  # registers, start and end, each behind its length
_t = tables.export_grounds


def begin(connection: Connection, export: str) -> None:
    """Take out what an earlier decision, cut short, wrote of an export."""
    connection.execute(delete(_t).where(_t.c.export == export))


def put(connection: Connection, export: str, first: int, entries: Sequence[bytes]) -> None:
    """Write one page: the entries of the meters from number ``first`` on."""
    row = {"export": export, "first": first, "page": b"".join(entries)}
    connection.execute(insert(_t), row)


def pages(connection: Connection, export: str) -> Iterator[bytes]:
    """Yield the pages of an export; none for one that an older program decided."""
    query = select(_t.c.page).where(_t.c.export == export).order_by(_t.c.first)
    for page in connection.execution_options(yield_per=100).execute(query).scalars():
        yield bytes(page)


def cut(page: bytes) -> list[bytes]:
    """Return the entries of a page."""
    return [page[at : at + SIZE] for at in range(0, len(page), SIZE)]


def meter_leaf(
    tag: bytes, subject: bytes, registers: int, start: int, end: int, entry: bytes = b""
) -> bytes:
    """Return what stands in an export's own tree for one of its meters.

    Without ``entry`` it is version 1, as an older program wrote it.
    """
    numbers = _NUMBERS.pack(2, registers, 8, start, 8, end)  # as `fields` has them
    if not entry:
        return _V1 + fields(tag, subject) + numbers
    return _V2 + fields(tag, subject) + numbers + fields(entry)
