"""Parquet with one read per row: columns for meter point, start or end, value, unit, register.

It is decoded in batches, never whole; a batch goes to the worker as an Arrow stream. A refused row
is kept as a line of CSV, with the roles as its header, and is replayed as such.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.columns import Coded, Columns
from ingest.reasons import Reason
from ingest.sources.arrow import coded, trimmed
from ingest.sources.files import BLOCK, changed, opened
from ingest.sources.layout import MAX_COLUMNS, Role
from ingest.sources.numbers import floats_of
from ingest.sources.stamps import off_grid, seconds_of
from store.errors import InputError

_LINE = 40  # bytes that one row is reckoned as
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_TIMES = (Role.TIME, Role.START, Role.END)


@dataclass(frozen=True, slots=True)
class RowParser:
    """Reads batches of rows.

    Attributes:
        roles: What the batch's columns are, in their order.
    """

    roles: tuple[Role, ...]

    def parse(self, chunk: bytes) -> Columns:
        """Return the rows of a batch."""
        batch = self._batch(chunk)
        value, fault = _values(batch[Role.VALUE])
        times = [_seconds(batch[role]) for role in _TIMES if role in batch]
        for _, good in times:
            fault[~good & (fault == 0)] = Reason.BAD_TIME.number
        return Columns(
            lines=len(value),
            seconds=times[0][0],
            value=value,
            fault=fault if fault.any() else None,
            other=times[1][0] if len(times) > 1 else None,
            meter=_coded(batch.get(Role.METER)),
            unit=_coded(batch.get(Role.UNIT)),
            register=_coded(batch.get(Role.REGISTER)),
        )

    def texts(self, chunk: bytes, lines: Sequence[int]) -> list[bytes]:
        """Return chosen rows, counted from 0, as lines of CSV."""
        batch = self._batch(chunk)
        rows = [column.take(pa.array(lines)).cast(pa.string()) for column in batch.values()]
        return [_line(row) for row in zip(*(column.to_pylist() for column in rows), strict=True)]

    @property
    def header(self) -> str:
        """The header of those lines."""
        return ",".join(self.roles)

    def _batch(self, chunk: bytes) -> dict[Role, pa.Array]:
        table = pa.ipc.open_stream(chunk).read_all().combine_chunks()
        return {
            role: column.chunk(0) if column.num_chunks else pa.array([], column.type)
            for role, column in zip(self.roles, table.columns, strict=True)
        }


@dataclass(slots=True)
class Rows:
    """One Parquet file.

    Attributes:
        path: Where it is.
        salt: Put before the bytes that are hashed.
        size: Bytes.
        names: Its columns.
    """

    path: Path
    salt: bytes
    size: int
    names: list[str]
    _stat: tuple[int, ...] = field(repr=False)
    _digest: bytes | None = None
    chosen: Mapping[Role, int] = field(default_factory=dict)

    @classmethod
    def look(cls, path: Path, salt: bytes = b"") -> Rows:
        """Return the file after a look at its schema.

        Raises:
            InputError: As `opened`; ``not_parquet``, ``too_many_columns``.
        """
        with opened(path) as stream:
            identity = _identity(stream.fileno())
            size = os.fstat(stream.fileno()).st_size
        with _file(path) as file:
            names = file.schema_arrow.names
        if len(names) > MAX_COLUMNS:
            raise InputError(
                f"more than {MAX_COLUMNS} columns: not a file of reads", code="too_many_columns"
            )
        return cls(path, salt, size, names, identity)

    def digest(self) -> bytes:
        """Return the SHA-256 of the salt and the file."""
        if self._digest is None:
            hasher = hashlib.sha256(self.salt)
            with opened(self.path) as stream:
                while block := stream.read(BLOCK):
                    hasher.update(block)
                self._unchanged(stream.fileno())
            self._digest = hasher.digest()
        return self._digest

    def choose(self, roles: Mapping[Role, int]) -> RowParser:
        """Fix the columns that are read. Raises InputError ``wrong_column_type``."""
        with _file(self.path) as file:
            for role, at in roles.items():
                _check(role, file.schema_arrow.field(at).type)
        self.chosen = dict(sorted(roles.items(), key=lambda item: item[1]))
        return RowParser(tuple(self.chosen))

    def ranges(self, size: int) -> Iterator[bytes]:
        """Yield the rows in batches of about ``size`` bytes, each an Arrow stream.

        Raises:
            InputError: ``damaged_file``; ``file_changed`` at the end.
        """
        columns = [self.names[at] for at in self.chosen.values()]
        with _file(self.path) as file:
            try:
                for batch in file.iter_batches(max(1, size // _LINE), columns=columns):
                    sink = pa.BufferOutputStream()
                    with pa.ipc.new_stream(sink, batch.schema) as writer:
                        writer.write_batch(batch)
                    yield sink.getvalue().to_pybytes()
            except (pa.ArrowException, OSError):
                raise InputError(
                    "the file is damaged or cut short: nothing of it was taken; fetch it again",
                    code="damaged_file",
                ) from None
        with opened(self.path) as stream:
            self._unchanged(stream.fileno())

    def _unchanged(self, descriptor: int) -> None:
        if _identity(descriptor) != self._stat:
            raise changed()


def _identity(descriptor: int) -> tuple[int, ...]:
    """What the system changes whenever somebody writes to a file or puts another in its place."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _file(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=BLOCK, pre_buffer=False)
    except (pa.ArrowException, OSError):
        raise InputError(
            "not a Parquet file, or cut short: is --profile the right one? else fetch it again",
            code="not_parquet",
        ) from None


def _check(role: Role, kind: pa.DataType) -> None:
    base = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = pa.types.is_string(base) or pa.types.is_large_string(base)
    number = pa.types.is_integer(base) or pa.types.is_floating(base) or pa.types.is_decimal(base)
    fits = {Role.METER: pa.types.is_integer(base), Role.VALUE: number}
    fits |= dict.fromkeys(_TIMES, pa.types.is_timestamp(base))
    if not (text or fits.get(role, False)):
        raise InputError(
            f"the column for the {role} is of a type that cannot be one", code="wrong_column_type"
        )


def _text(column: pa.Array) -> pa.StringArray:
    return trimmed(pc.fill_null(column.cast(pa.string()), ""))


def _coded(column: pa.Array | None) -> Coded | None:
    return None if column is None else coded(_text(column))


def _values(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (numbers, faults: uint8) of a value column."""
    fault = np.zeros(len(column), np.uint8)
    if pa.types.is_string(column.type) or not pa.types.is_primitive(column.type):
        value, good, nothing = floats_of(_text(column))
    else:
        value = np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan))
        nothing, good = np.isnan(value), np.isfinite(value)
        value = np.where(good, value, 0.0)
    fault[~good] = Reason.NOT_A_NUMBER.number
    fault[nothing] = Reason.NO_VALUE.number
    return value, fault


def _seconds(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return (seconds since 1970, whether each is a time) of a time column."""
    if not pa.types.is_timestamp(column.type):
        seconds, good, _ = seconds_of(_text(column))
        return seconds, good
    ticks = np.asarray(pc.fill_null(column.cast(pa.int64()), 0))
    per_second = _TICKS[column.type.unit]
    seconds = ticks // per_second
    return off_grid(seconds, ticks % per_second != 0), np.asarray(column.is_valid())


def _line(row: tuple[str | None, ...]) -> bytes:
    """One line, so a line break in a cell becomes a blank."""
    out = io.StringIO()
    cells = ["" if cell is None else " ".join(cell.splitlines()) for cell in row]
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue().encode()
