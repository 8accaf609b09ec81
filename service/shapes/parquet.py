"""`application/vnd.apache.parquet`: the table as one Parquet file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from service.shapes.table import tabulate

if TYPE_CHECKING:
    from service.shapes.reply import Reply

MEDIA_TYPE = "application/vnd.apache.parquet"


def encode(reply: Reply) -> bytes:
    """Return ``reply`` as one Parquet file; the columns are those of `table`."""
    sink = pa.BufferOutputStream()
    pq.write_table(tabulate(reply), sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
