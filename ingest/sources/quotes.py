"""Lines with quotes in them: which are well formed (RFC 4180, on one line), and their fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ingest.sources.arrow import strings
from ingest.sources.lines import Lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ingest.sources.layout import Layout


def closed(lines: pa.StringArray, delimiter: str) -> pa.BooleanArray:
    """Return which lines have quotes only around whole fields, doubled inside them."""
    mark = re.escape(delimiter)
    field = rf'(?:"(?:[^"\r]|"")*"|[^"\r{mark}]*)'
    return pc.match_substring_regex(lines, pattern=rf"^(?s:{field}(?:{mark}{field})*)$")


def all_closed(chunk: bytes, layout: Layout) -> bool:
    """Whether that holds of every line of ``chunk``."""
    return bool(pc.all(closed(line_texts(Lines(chunk)), layout.delimiter), min_count=0).as_py())


def line_texts(lines: Lines) -> pa.StringArray:
    """Return every line as a text, without its line break."""
    offsets = np.append(lines.start, len(lines.chunk))
    return pc.ascii_rtrim(strings(lines.chunk, offsets), characters="\r\n")


def fields(
    lines: pa.StringArray, layout: Layout
) -> tuple[dict[str, pa.StringArray], NDArray[np.intp]]:
    """Return the used columns of well-formed quoted ``lines``, and which lines those are.

    A line with another number of columns than the layout's is left out.
    """
    wrong: list[int] = []

    def skip(row: pacsv.InvalidRow) -> str:
        wrong.append(row.number - 1)
        return "skip"

    used = layout.used
    names = [str(at) for at in range(layout.width)]
    for role, at in used.items():
        names[at] = role
    text = b"\n".join(lines.cast(pa.binary()).to_pylist())
    table = pacsv.read_csv(
        pa.BufferReader(text),
        pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
        pacsv.ParseOptions(
            delimiter=layout.delimiter, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(used, pa.string()),
            include_columns=list(used),
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    good = np.ones(len(lines), np.bool_)
    good[wrong] = False
    columns = {role: table.column(role).combine_chunks().cast(pa.string()) for role in used}
    return columns, np.flatnonzero(good)
