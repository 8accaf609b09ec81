"""An answer as rows: the columns that CSV, Arrow and Parquet share.

    register, from, to, value, unit, quality          half-hours
    .., expected, present                             days and months: half-hours counted

A missing half-hour is a row without a value, so that no reader takes an absent row for zero.
`quality`: measured | estimated | missing; for days and months also partial (some half-hours
missing), and estimated where any half-hour was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from service.shapes.reply import Reply, estimated, in_words, missing, stamps
from service.shapes.totals import Calendar, add_up
from store.reads import Register, Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUALITIES = ("measured", "estimated", "partial", "missing")
_MEASURED, _ESTIMATED, _PARTIAL, _MISSING = range(len(QUALITIES))
_WORD = pa.dictionary(pa.int8(), pa.string())
_TIME = pa.timestamp("ms", tz="UTC")
_COLUMNS = [
    pa.field("register", _WORD, nullable=False),
    pa.field("from", _TIME, nullable=False),
    pa.field("to", _TIME, nullable=False),
    pa.field("value", pa.int32()),
    pa.field("unit", _WORD, nullable=False),
    pa.field("quality", _WORD, nullable=False),
]
_COUNTS = [
    pa.field("expected", pa.int32(), nullable=False),
    pa.field("present", pa.int32(), nullable=False),
]
_REGISTERS = [register.word for register in Register]
_UNITS = sorted({register.unit for register in Register})


def tabulate(reply: Reply) -> pa.Table:
    """Return ``reply`` as a table; its schema's metadata says what it is and what it lacks."""
    schema = pa.schema(
        _COLUMNS if reply.calendar is None else _COLUMNS + _COUNTS,
        metadata={
            "meter_point": reply.meter_point,
            "srv": reply.srv,
            "commit": str(reply.commit),
            "withheld": in_words(reply.withheld),
            "interval": "PT30M" if reply.calendar is None else reply.calendar.interval,
            **({} if reply.sample is None else {"sample": reply.sample.name}),
        },
    )
    batches = [_batch(series, reply.calendar, schema) for series in reply.series]
    return pa.Table.from_batches(batches, schema)


def _batch(series: Series, calendar: Calendar | None, schema: pa.Schema) -> pa.RecordBatch:
    gone, guessed = missing(series), estimated(series)
    if calendar is None:
        begin = np.arange(series.window.start, series.window.end)
        quality = np.where(gone, _MISSING, np.where(guessed, _ESTIMATED, _MEASURED))
        columns = _columns(series.register, begin, begin + 1, series.energy, quality)
    else:
        sums = add_up(series, calendar)
        any_guess = np.add.reduceat(guessed.astype(np.int64), sums.begin - series.window.start) > 0
        quality = np.select(
            [sums.present == 0, sums.present < sums.expected, any_guess],
            [_MISSING, _PARTIAL, _ESTIMATED],
            _MEASURED,
        )
        columns = _columns(series.register, sums.begin, sums.end, sums.energy, quality)
        columns += [pa.array(sums.expected, pa.int32()), pa.array(sums.present, pa.int32())]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _columns(
    register: Register,
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    energy: NDArray[np.uint16] | NDArray[np.int64],
    quality: NDArray[np.int64],
) -> list[pa.Array]:
    rows = len(begin)
    return [
        _words(np.full(rows, _REGISTERS.index(register.word)), _REGISTERS),
        pa.array(stamps(begin)).cast(_TIME),
        pa.array(stamps(end)).cast(_TIME),
        pa.array(energy.astype(np.int32), pa.int32(), mask=quality == _MISSING),
        _words(np.full(rows, _UNITS.index(register.unit)), _UNITS),
        _words(quality, list(QUALITIES)),
    ]


def _words(index: NDArray[np.int64], words: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(index.astype(np.int8), words)
