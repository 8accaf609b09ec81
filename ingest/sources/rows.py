"""Rows of a Parquet file to columns: meter point, start or end, value, unit, register.

A refused row is kept as a line of CSV, with the roles as its header, and is replayed as such.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.columns import Coded, Columns
from ingest.reasons import Reason
from ingest.sources.arrow import coded, trimmed
from ingest.sources.layout import Role
from ingest.sources.numbers import floats_of
from ingest.sources.stamps import off_grid, seconds_of

TIMES = (Role.TIME, Role.START, Role.END)
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


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
        times = [_seconds(batch[role]) for role in TIMES if role in batch]
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
