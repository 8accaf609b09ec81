"""`text/csv` (RFC 4180): one line per half-hour, day or month, a header, times in UTC.

register,from,to,value,unit,quality
active_import,2025-03-01T00:00:00Z,2025-03-01T00:30:00Z,95,Wh,measured
active_import,2025-03-01T00:30:00Z,2025-03-01T01:00:00Z,,Wh,missing

No field ever needs quotes: words, numbers and times only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from service.shapes.table import tabulate

if TYPE_CHECKING:
    from service.shapes.reply import Reply

MEDIA_TYPE = "text/csv"
_TIMES = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def encode(reply: Reply) -> bytes:
    """Return ``reply`` as CSV, a header first, lines ended by CRLF."""
    table = tabulate(reply)
    lines = [",".join(table.column_names)]
    if table.num_rows:
        columns = [_text(column.combine_chunks()) for column in table.columns]
        lines += pc.binary_join_element_wise(*columns, ",").to_pylist()
    return ("\r\n".join(lines) + "\r\n").encode()


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        # orjson writes 19,000 times in 1 ms, where strftime takes 20.
        moments = column.to_numpy(zero_copy_only=False).astype("datetime64[s]")
        return pa.array(orjson.dumps(moments, option=_TIMES)[2:-2].decode().split('","'))
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    return pc.fill_null(column.cast(pa.string()), "")
