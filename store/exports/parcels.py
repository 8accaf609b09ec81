"""Meter-days as a recipient takes them: Parquet or CSV, half-hours or whole days. Values in.

    half-hour   mpxn, register, unit, from, to, value, quality
                a row for each half-hour that may be read of a day of which anything is kept
    day         mpxn, register, unit, day, from, to, quality, h0000, h0030 .. h2330
                a row for each UTC day; ``quality`` has a letter for each half-hour

Both ends of the time are told, in UTC. A missing read is null and never 0. In Parquet values are
delta-packed INT32 and words are dictionaries: every reader knows them, and little is left to seal.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from store.errors import InputError
from store.reads import DAY_SLOTS, HALF_HOUR, MISSING, Register, State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from store.reading.canvases import Opened

FORMATS: Final = ("parquet", "csv")
ROWS: Final = ("half-hour", "day")
AT_ONCE: Final = {"half-hour": 8_192, "day": 131_072}  # meter-days of one row group
QUALITY: Final = ("missing", "measured", "estimated")  # by State number; retracted is missing
LETTERS: Final = np.frombuffer(b"-ME-.", np.uint8)  # by State number; the last: not to be read
_OUTSIDE: Final = 4
_MEASURED: Final = np.full(8, State.MEASURED, np.uint8).view(np.uint64)[0]  # eight at once
_TOGETHER: Final = 1 << 16  # values that are encoded at once
_TURNED: Final = 512  # days whose half-hours become columns at once
_COLUMNS: Final = tuple(f"h{slot // 2:02d}{slot % 2 * 30:02d}" for slot in range(DAY_SLOTS))
_WORDS: Final = ["mpxn", "register", "unit", "quality"]
_TIMES: Final = ("from", "to")
_INSTANT: Final = pa.timestamp("ms", "UTC")


def encode(
    register: Register, opened: Opened, names: Sequence[str], rows: str, shape: str
) -> bytes:
    """Return meter-days in one of ROWS and one of FORMATS.

    Args:
        register: What was measured.
        opened: The meter-days.
        names: The meter point of each subject.
        rows: One of ROWS.
        shape: One of FORMATS.
    """
    if rows not in ROWS or shape not in FORMATS:
        raise InputError("rows are half-hour or day, formats parquet or csv", code="bad_format")
    table = _half_hours if rows == "half-hour" else _days
    size = AT_ONCE[rows]
    some = (
        table(register, opened, slice(at, min(at + size, len(opened))), names)
        for at in range(0, max(len(opened), 1), size)
    )
    return _parquet(some, rows) if shape == "parquet" else _csv(some)


def _days(register: Register, opened: Opened, at: slice, names: Sequence[str]) -> pa.Table:
    day = opened.day[at]
    start = day * (DAY_SLOTS * HALF_HOUR * 1000)
    columns = _turned(opened.energy[at])
    there = np.packbits(columns != MISSING, axis=1, bitorder="little")
    return pa.table(
        {
            "mpxn": _named(opened.who[at], names),
            "register": _constant(register.word, len(day)),
            "unit": _constant(register.unit, len(day)),
            "day": pa.array(day.astype(np.int32)).cast(pa.date32()),
            "from": _instants(start),
            "to": _instants(start + DAY_SLOTS * HALF_HOUR * 1000),
            "quality": _letters(opened, at),
            **{name: _numbers(columns[slot], there[slot])
               for slot, name in enumerate(_COLUMNS)},
        }
    )  # fmt: skip


def _turned(days: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the half-hours of days as columns, some days at once: they stay near the core."""
    columns = np.empty(days.shape[::-1], days.dtype)
    for at in range(0, len(days), _TURNED):
        columns[:, at : at + _TURNED] = days[at : at + _TURNED].T
    return columns


def _half_hours(register: Register, opened: Opened, at: slice, names: Sequence[str]) -> pa.Table:
    energy, states = opened.energy[at].reshape(-1), opened.states[at].reshape(-1)
    slot = opened.day[at, None] * DAY_SLOTS + np.arange(DAY_SLOTS)
    start = slot.reshape(-1) * (HALF_HOUR * 1000)
    who = np.repeat(opened.who[at], DAY_SLOTS)
    mine = (opened.partly >= at.start) & (opened.partly < at.stop)
    if mine.any():
        keep = np.ones((at.stop - at.start, DAY_SLOTS), bool)
        keep[opened.partly[mine] - at.start] = opened.inside[mine]
        kept = keep.reshape(-1)
        energy, states, start, who = energy[kept], states[kept], start[kept], who[kept]
    told = np.where(states == State.RETRACTED.value, State.NOTHING, states).astype(np.int8)
    quality = pa.DictionaryArray.from_arrays(pa.array(told), pa.array(QUALITY))
    return pa.table(
        {
            "mpxn": _named(who, names),
            "register": _constant(register.word, len(start)),
            "unit": _constant(register.unit, len(start)),
            "from": _instants(start),
            "to": _instants(start + HALF_HOUR * 1000),
            "value": _numbers(energy, np.packbits(energy != MISSING, bitorder="little")),
            "quality": quality,
        }
    )


def _numbers(values: NDArray[np.uint16], there: NDArray[np.uint8]) -> pa.Array:
    """Return ``values`` as they lie, null where their bit is not set. Nothing is copied."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(
        pa.uint16(), len(values), [pa.py_buffer(there), pa.py_buffer(values)]
    )


def _letters(opened: Opened, at: slice) -> pa.DictionaryArray:
    """Return 48 letters a row: M measured, E estimated, - missing, a dot where not to be read.

    Most days are measured whole: they are told apart first, and only the others are sorted.
    """
    states = opened.states[at]
    other = np.flatnonzero((states.view(np.uint64) != _MEASURED).any(axis=1))
    told = states[other]
    mine = (opened.partly >= at.start) & (opened.partly < at.stop)
    where = np.searchsorted(other, opened.partly[mine] - at.start)
    cut = told[where]
    cut[~opened.inside[mine]] = _OUTSIDE
    told[where] = cut
    texts = np.ascontiguousarray(LETTERS[told]).view(f"S{DAY_SLOTS}").reshape(-1)
    distinct, which = np.unique(texts, return_inverse=True)
    index = np.zeros(len(states), np.int32)
    index[other] = which + 1
    words = ["M" * DAY_SLOTS, *(text.decode() for text in distinct.tolist())]
    return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(words))


def _named(who: NDArray[np.intp], names: Sequence[str]) -> pa.DictionaryArray:
    """Return the meter points of rows whose subjects ascend."""
    if not len(who):
        return pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
    low, high = int(who[0]), int(who[-1])
    index, mine = who - low, names[low : high + 1]
    distinct = list(dict.fromkeys(mine))
    if len(distinct) < len(mine):  # several customers of one meter point: it is one word
        place = {word: at for at, word in enumerate(distinct)}
        index = np.array([place[word] for word in mine])[index]
    return pa.DictionaryArray.from_arrays(
        pa.array(index.astype(np.int32)), pa.array(distinct, pa.string())
    )


def _constant(word: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array([word]))


def _instants(milliseconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(milliseconds).cast(_INSTANT)


def _parquet(tables: Iterable[pa.Table], rows: str) -> bytes:
    sink = pa.BufferOutputStream()
    writer = None
    # A month's days come again with each meter: few words; its half-hours are many, in steps.
    words = _WORDS if rows == "half-hour" else [*_WORDS, "day", *_TIMES]
    numbers = (*_TIMES, "value") if rows == "half-hour" else _COLUMNS
    packed = dict.fromkeys(numbers, "DELTA_BINARY_PACKED")
    try:
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(
                    sink, table.schema, use_dictionary=words, column_encoding=packed,
                    compression="NONE", write_statistics=["mpxn"], store_schema=False,
                    write_batch_size=_TOGETHER,
                )  # fmt: skip
            writer.write_table(table, row_group_size=max(len(table), 1))
    finally:
        if writer is not None:
            writer.close()
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _csv(tables: Iterable[pa.Table]) -> bytes:
    sink = io.BytesIO()
    for number, table in enumerate(tables):
        plain = pa.table({name: _told(table.column(name)) for name in table.column_names})
        options = pa_csv.WriteOptions(include_header=not number, quoting_style="needed")
        pa_csv.write_csv(plain, sink, options)
    return sink.getvalue()


def _told(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as CSV has it: words as they are, times as RFC 3339."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64()).dictionary_encode()
        return pa.chunked_array([_stamped(chunk) for chunk in column.chunks], pa.string())
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _stamped(chunk: pa.DictionaryArray) -> pa.Array:
    stamps = list(_stamps(chunk.dictionary.to_pylist()))
    return pa.DictionaryArray.from_arrays(chunk.indices, pa.array(stamps)).cast(pa.string())


def _stamps(milliseconds: Iterable[int]) -> Iterator[str]:
    for one in milliseconds:
        yield datetime.fromtimestamp(one / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
