"""Registrations from a file: CSV (UTF-8, with a header) or Parquet, in bounded memory.

    mpxn, party (its name), role, premises, from, to (empty: until told otherwise)

A time is a date, midnight in London, or RFC 3339; Parquet may hold dates and times as such. A line
that cannot be meant is told by its number and a code, never by what it says.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.commands.asked import moment
from store.errors import InputError
from store.facts.registrations import Supply
from store.grounds import FOREVER
from store.reads import Mpxn, Window

COLUMNS = ("mpxn", "party", "role", "premises", "from", "to")
_BATCH = 8_192  # rows of Parquet held at once
_PIECE = 1 << 20  # bytes of a file counted at once
_WORD = 60  # characters of a role or kind of premises at most
MOST_TOLD = 10_000  # refused lines that are told one by one


@dataclass(slots=True)
class Refusals:
    """Lines that could not be stated.

    Attributes:
        count: How many.
        first: The first of them: line and code.
    """

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, line: int, code: str) -> None:
        """Note one line."""
        self.count += 1
        if len(self.first) < MOST_TOLD:
            self.first.append((line, code))


def lines_of(file: Path) -> int:
    """Return how many lines or rows a file has, about; 0 where it cannot be read."""
    try:
        if file.suffix == ".parquet":
            return int(pq.read_metadata(file).num_rows)
        with file.open("rb") as stream:
            return sum(some.count(b"\n") for some in iter(partial(stream.read, _PIECE), b""))
    except (OSError, pa.ArrowException):
        return 0  # `read_supplies` says why


def read_supplies(file: Path, codes: Mapping[str, str], refused: Refusals) -> Iterator[Supply]:
    """Yield the registrations of ``file``, in its order; lines that cannot be meant go aside.

    Args:
        file: Parquet where its name ends so, else CSV.
        codes: Party codes by name.
        refused: Told of each line that is left out.

    Raises:
        InputError: The file cannot be read (``unreadable``) or lacks a column
            (``bad_registration``).
    """
    rows = _parquet(file) if file.suffix == ".parquet" else _csv(file)
    for line, row in rows:
        try:
            yield _supply(row, codes, line)
        except InputError as error:
            refused(line, error.code)


def _supply(row: tuple[Any, ...], codes: Mapping[str, str], line: int) -> Supply:
    mpxn, party, role, premises, start, end = row
    if not all(isinstance(one, str) and len(one) <= _WORD for one in (mpxn, role, premises)):
        raise InputError("a column is missing or too long", code="bad_line")
    code = codes.get(party)
    if code is None:
        raise InputError("no party has this name", code="unknown_party")
    window = Window(_half_hour(start), FOREVER if end in ("", None) else _half_hour(end))
    return Supply(Mpxn.parse(mpxn), code, role, premises, window, line)


@lru_cache(maxsize=65_536)
def _half_hour(said: str | date) -> int:
    """Return the half-hour of a time; a file of millions of lines says few of them."""
    if isinstance(said, date):  # a datetime is one too
        said = said.isoformat()
    if not isinstance(said, str):
        raise InputError("a time is missing", code="bad_time")
    return moment(said)


def _csv(file: Path) -> Iterator[tuple[int, tuple[Any, ...]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = csv.reader(stream, strict=True)
            places = _places([name.strip() for name in next(lines, [])])
            widest = max(places) + 1
            while True:
                try:
                    row = next(lines)
                except StopIteration:
                    return
                except csv.Error:
                    yield lines.line_num, ("", "", "", "", "", "")
                    continue
                if len(row) < widest:
                    row += [""] * (widest - len(row))
                yield lines.line_num, tuple(row[place] for place in places)
    except (OSError, UnicodeDecodeError):
        raise InputError("the file of registrations cannot be read", code="unreadable") from None


def _parquet(file: Path) -> Iterator[tuple[int, tuple[Any, ...]]]:
    try:
        with pq.ParquetFile(file) as opened:
            _places(opened.schema_arrow.names)
            line = 0
            for batch in opened.iter_batches(_BATCH, columns=list(COLUMNS)):
                columns = [_values(batch.column(name)) for name in COLUMNS]
                for row in zip(*columns, strict=True):
                    line += 1
                    yield line, row
    except (OSError, pa.ArrowException):
        raise InputError("the file of registrations cannot be read", code="unreadable") from None


def _values(column: Any) -> Iterable[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_integer(column.type):  # meter points kept as numbers
        return [None if value is None else str(value) for value in values]
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        return [None if value is None else f"{_iso(value)}Z" for value in values]
    return values


def _iso(value: datetime) -> str:
    return value.isoformat()


def _places(names: list[str]) -> list[int]:
    if any(names.count(name) != 1 for name in COLUMNS):
        raise InputError(f"the columns are {','.join(COLUMNS)}, each once", code="bad_registration")
    return [names.index(name) for name in COLUMNS]
