"""`application/vnd.apache.arrow.stream`: the table as an Arrow IPC stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from service.shapes.table import tabulate

if TYPE_CHECKING:
    from service.shapes.reply import Reply

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


def encode(reply: Reply) -> bytes:
    """Return ``reply`` as one Arrow stream; the columns are those of `table`."""
    table = tabulate(reply)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
