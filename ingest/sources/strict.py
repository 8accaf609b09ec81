"""The careful path: a range of lines as texts, so that each fault is told of its own line.

It reads whatever the typed path declined: missing values, faults, blank lines, repeated headers,
times or numbers in a form that Arrow does not take. Still by columns, never by line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.columns import Columns
from ingest.reasons import GOOD, Reason
from ingest.sources import quotes
from ingest.sources.arrow import coded, trimmed
from ingest.sources.lines import Lines
from ingest.sources.numbers import floats_of
from ingest.sources.stamps import seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ingest.sources.layout import Layout


def parse(chunk: bytes, layout: Layout) -> Columns:
    """Return the lines of ``chunk``; blank lines and repeated headers are counted, nothing else."""
    lines = Lines(chunk)
    kept = lines.end > lines.start
    kept[lines.equal(layout.header)] = False
    line = np.flatnonzero(kept).astype(np.int32)
    texts, malformed = _fields(quotes.line_texts(lines).take(pa.array(line)), layout)
    cut_short = np.zeros(len(line), np.bool_)
    if layout.whole and lines.open:
        cut_short[line == len(lines) - 1] = True
    value, is_number, nothing = _distinct(texts["value"], floats_of)
    seconds, is_time, zoned = _distinct(texts["time"], seconds_of)
    other = None
    if layout.other is not None:
        other, is_other, zoned_too = _distinct(texts["other"], seconds_of)
        is_time, zoned = is_time & is_other, zoned & zoned_too
    fault = np.full(len(line), GOOD, np.uint8)
    found = (
        (cut_short, Reason.CUT_SHORT),
        (malformed, Reason.MALFORMED_LINE),
        (nothing, Reason.NO_VALUE),
        (~is_number, Reason.NOT_A_NUMBER),
        (~is_time, Reason.BAD_TIME),
        (~zoned & layout.zoned, Reason.TIME_WITHOUT_ZONE),
    )
    for where, reason in reversed(found):
        fault[where] = reason.number
    text = {role: coded(texts[role]) for role in ("meter", "unit", "register") if role in texts}
    return Columns(
        lines=len(lines),
        seconds=seconds,
        value=value,
        line=line,
        fault=fault if fault.any() else None,
        other=other,
        meter=text.get("meter"),
        unit=text.get("unit"),
        register=text.get("register"),
    )


def _fields(
    lines: pa.StringArray, layout: Layout
) -> tuple[dict[str, pa.StringArray], NDArray[np.bool_]]:
    """Return the used columns, blanks removed, "" where a line is malformed; and which are."""
    quoted = np.asarray(pc.match_substring(lines, pattern='"'))
    closed = quoted & np.asarray(quotes.closed(lines, layout.delimiter))
    plain, rows = _split(lines, np.flatnonzero(~quoted), layout)
    if closed.any():
        candidates = np.flatnonzero(closed)
        more, those = quotes.fields(lines.take(pa.array(candidates)), layout)
        plain = {role: pa.concat_arrays([plain[role], more[role]]) for role in plain}
        rows = np.concatenate([rows, candidates[those]])
    where = np.full(len(lines), -1, np.int64)
    where[rows] = np.arange(len(rows))
    at = pa.array(where, mask=where < 0)
    texts = {role: pc.fill_null(trimmed(column).take(at), "") for role, column in plain.items()}
    return texts, where < 0


def _split(
    lines: pa.StringArray, rows: NDArray[np.intp], layout: Layout
) -> tuple[dict[str, pa.StringArray], NDArray[np.intp]]:
    """Return the used columns of the lines in ``rows`` that have the right width; and those."""
    split = pc.split_pattern(lines.take(pa.array(rows)), pattern=layout.delimiter)
    good = np.asarray(pc.list_value_length(split)) == layout.width
    flat = split.filter(pa.array(good)).flatten()
    first = np.arange(int(good.sum())) * layout.width
    return {role: flat.take(pa.array(first + at)) for role, at in layout.used.items()}, rows[good]


def _distinct(
    texts: pa.StringArray, read: Callable[[pa.StringArray], tuple[NDArray[Any], ...]]
) -> tuple[NDArray[Any], ...]:
    """Return what ``read`` says of each text, having asked it once for each distinct one."""
    column = texts.dictionary_encode()
    index = np.asarray(column.indices)
    return tuple(array[index] for array in read(column.dictionary))
