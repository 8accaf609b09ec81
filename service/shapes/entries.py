"""Entries of the log as JSON, CSV or Parquet. One row an entry; see `store.audit.told`.

A field of a table that a spreadsheet would take for a formula stands behind an apostrophe: a name
or an issuer's client may begin as it likes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from store.audit.told import COLUMNS, row

JSON, CSV = "application/json", "text/csv"
PARQUET = "application/vnd.apache.parquet"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TYPES = {int: pa.int64(), str: pa.string(), datetime: pa.timestamp("ms", "UTC")}
SCHEMA: Final = pa.schema([pa.field(name, _TYPES[kind]) for name, kind in COLUMNS.items()])

Entries = Sequence[Mapping[str, Any]]


def to_json(entries: Entries, after: str | None, sizes: Mapping[int, int]) -> bytes:
    """Return one page: the entries, where to go on, and how far the index reaches by shard."""
    reached = {str(shard): size for shard, size in sizes.items()}
    return orjson.dumps({"entries": list(entries), "next": after, "indexed": reached})


def to_csv(entries: Entries, *, header: bool = True) -> bytes:
    """Return entries as CSV (RFC 4180)."""
    sink = io.StringIO(newline="")
    lines = csv.writer(sink)
    if header:
        lines.writerow(COLUMNS)
    lines.writerows([_safe(value) for value in row(one).values()] for one in entries)
    return sink.getvalue().encode()


def to_table(entries: Entries) -> pa.Table:
    """Return entries as an Arrow table of `SCHEMA`."""
    rows = [row(one) for one in entries]
    columns = {name: [one[name] for one in rows] for name in COLUMNS}
    columns["at"] = [datetime.fromisoformat(at) for at in columns["at"]]
    return pa.table(columns, schema=SCHEMA)


def to_parquet(entries: Entries) -> bytes:
    """Return entries as one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(entries), sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def write_parquet(pages: Iterable[Entries], sink: IO[bytes]) -> None:
    """Write pages of entries as one Parquet file, a row group a page."""
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for page in pages:
            writer.write_table(to_table(page))


TABLES: Final[dict[str, Callable[[Entries], bytes]]] = {CSV: to_csv, PARQUET: to_parquet}
MEDIA: Final = (JSON, *TABLES)


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
