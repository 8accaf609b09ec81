"""Parquet, as little of it as a file of sealed rows needs: required columns, one plain page each.

    "PAR1"
    of each row group, of each column   page header (Thrift), the values one after the other
    footer (Thrift), its length (4, little-endian), "PAR1"

A writer of everything copies a value four times on its way and cuts pages where it likes. This one
hands on the caller's bytes as they lie, and what it wrote any reader of Parquet reads.

Source: github.com/apache/parquet-format, parquet.thrift; field numbers below are its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa

from store.thrift import BYTE, FALSE, I64, Value, many, number, record, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.ports import Write

MAGIC: Final = b"PAR1"
INT32, FIXED = 1, 7  # physical types
DATE: Final = {6: number(6), 10: record({6: record({})})}
UINT_32: Final = {
    6: number(13), 10: record({10: record({1: (BYTE, b"\x20"), 2: (FALSE, b"")})})
}  # fmt: skip
_REQUIRED, _DATA_PAGE, _PLAIN, _LEVELS = 0, 0, 0, 3  # levels are RLE; of required columns, none
_PLAINLY, _ZSTANDARD = 0, 6  # codecs
_VERSION: Final = 2  # of Parquet
_MAKER: Final = b"meterkeep version 1"


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: What it is called.
        kind: Its physical type.
        width: Bytes of a value.
        means: What the values mean, as fields of its SchemaElement.
        packed: Whether its pages are under Zstandard.
    """

    name: str
    kind: int
    width: int
    means: dict[int, Value]
    packed: bool = True


class Plain(NamedTuple):
    """The values of one column of one row group.

    Attributes:
        values: One after the other, little-endian.
        bounds: The least and the greatest, where that is to be told.
    """

    values: bytes | memoryview
    bounds: tuple[bytes, bytes] | None = None


class Parquet:
    """A file that goes on to ``write`` as it is made.

    Attributes:
        size: Bytes so far.
        heads: The header of the first page of each row group, by where it lies.
    """

    def __init__(self, columns: Sequence[Column], write: Write) -> None:
        """Begin a file of ``columns``."""
        self._columns, self._give, self._codec = columns, write, pa.Codec("zstd")
        self._groups: list[Value] = []
        self._rows = 0
        self.size, self.heads = 0, dict[int, bytes]()
        self._write(MAGIC)

    def add(self, rows: int, plain: Sequence[Plain]) -> None:
        """Add a row group: the values of each column."""
        began, chunks, whole = self.size, [], 0
        for column, some in zip(self._columns, plain, strict=True):
            at = self.size
            head = self._page(rows, column, some.values)
            self.heads.setdefault(began, head)
            size = len(head) + len(some.values)
            chunks.append(_chunk(column, rows, at, size, self.size - at, some.bounds))
            whole += size
        self._rows += rows
        self._groups.append(
            record({1: many(chunks), 2: number(whole, I64), 3: number(rows, I64),
                    5: number(began, I64), 6: number(self.size - began, I64)})
        )  # fmt: skip

    def end(self, said: dict[str, str]) -> bytes:
        """Write the footer, with what is ``said`` of the file by key; return it."""
        pairs = [record({1: text(k.encode()), 2: text(v.encode())}) for k, v in said.items()]
        root = record({4: text(b"schema"), 5: number(len(self._columns))})
        order = record({1: record({})})  # by type: FIXED as unsigned bytes
        body = record({
            1: number(_VERSION), 2: many([root, *map(_element, self._columns)]),
            3: number(self._rows, I64), 4: many(self._groups), 5: many(pairs), 6: text(_MAKER),
            7: many([order] * len(self._columns)),
        })[1]  # fmt: skip
        footer = body + len(body).to_bytes(4, "little") + MAGIC
        self._write(footer)
        return footer

    def _page(self, rows: int, column: Column, values: bytes | memoryview) -> bytes:
        """Write a page; return its header."""
        stored = self._codec.compress(values, asbytes=True) if column.packed else values
        inner = record({1: number(rows), 2: number(_PLAIN), 3: number(_LEVELS), 4: number(_LEVELS)})
        head = record({
            1: number(_DATA_PAGE), 2: number(len(values)), 3: number(len(stored)), 5: inner
        })[1]  # fmt: skip
        self._write(head)
        self._write(stored)
        return head

    def _write(self, piece: bytes | memoryview) -> None:
        self._give(piece)
        self.size += len(piece)


def _element(column: Column) -> Value:
    width = {2: number(column.width)} if column.kind == FIXED else {}
    return record(
        {1: number(column.kind), **width, 3: number(_REQUIRED), 4: text(column.name.encode()),
         **column.means}
    )  # fmt: skip


def _chunk(
    column: Column, rows: int, at: int, size: int, stored: int, bounds: tuple[bytes, bytes] | None
) -> Value:
    told = {}
    if bounds is not None:
        low, high = map(text, bounds)
        told = {12: record({3: number(0, I64), 5: high, 6: low})}
    codec = _ZSTANDARD if column.packed else _PLAINLY
    inner = record({
        1: number(column.kind), 2: many([number(_PLAIN)]), 3: many([text(column.name.encode())]),
        4: number(codec), 5: number(rows, I64), 6: number(size, I64), 7: number(stored, I64),
        9: number(at, I64), **told,
    })  # fmt: skip
    return record({2: number(0, I64), 3: inner})
