"""Thrift's compact protocol, written: what the headers and the footer of a Parquet file are in.

    number   zigzag, then varint: seven bits to a byte, least first, the top bit where more follow
    text     its length as varint, its bytes
    many     length << 4 | type of its values, or F0 | type and the length as varint; its values
    record   each field behind (its number less the number before) << 4 | its type; 00

Source: Apache Thrift, doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FALSE, BYTE, I32, I64, TEXT, MANY, RECORD = 2, 3, 5, 6, 8, 9, 12
_SHORT: Final = 15  # values or field numbers that four bits do not count
_MORE: Final = 0x80  # of a varint's byte: another follows


Value = tuple[int, bytes]
"""A value's type, and its bytes. Not a class of its own: a file of a million rows has 5,000."""


def varint(value: int) -> bytes:
    """Return ``value``, 0 or above, seven bits to a byte."""
    body = bytearray()
    while value >= _MORE:
        body.append(value & 0x7F | _MORE)
        value >>= 7
    body.append(value)
    return bytes(body)


def number(value: int, kind: int = I32) -> Value:
    """Return a whole number, 0 or above, of 32 or 64 bits; zigzag keeps the lowest bit for less."""
    return kind, varint(value << 1)


def text(value: bytes) -> Value:
    """Return bytes, or text in UTF-8."""
    return TEXT, varint(len(value)) + value


def many(values: Sequence[Value]) -> Value:
    """Return a list of ``values``, at least one and all of one type."""
    (kind, _), size = values[0], len(values)
    head = bytes([size << 4 | kind]) if size < _SHORT else bytes([0xF0 | kind]) + varint(size)
    return MANY, head + b"".join([body for _, body in values])


def record(fields: Mapping[int, Value]) -> Value:
    """Return a struct of ``fields`` by their numbers, which ascend in steps below 16."""
    pieces, before = [], 0
    for at, (kind, body) in fields.items():
        pieces += [bytes([at - before << 4 | kind]), body]
        before = at
    return RECORD, b"".join([*pieces, b"\0"])
