"""The peers' files: the street's own rows as plain Parquet, and as pyarrow's encrypted Parquet.

    register=active_import/month=2025-01/part.parquet
    meter int64 (the MPAN's digits), ts timestamp, value uint16 (Wh): one row a read, missing left
    out, sorted by meter, ts

Rows of about 60 meters to a row group, so that statistics let a reader skip the rest: the layout
that serves the question best, for either peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.crypto import encryption
from bench.world import MONTHS, REGISTERS, SEED, UNTIL
from ingest.synthetic import street
from store.reads import DAY_SLOTS, HALF_HOUR, MISSING, MeterDays, month_name

GROUP = 60 * 31 * DAY_SLOTS  # rows
SCHEMA = pa.schema([("meter", pa.int64()), ("ts", pa.timestamp("s")), ("value", pa.uint16())])
FOLDER = "register=active_import"


def write(folder: Path, meters: int) -> tuple[Path, Path]:
    """Write the rows of ``meters`` meters twice; return the plain and the encrypted folder."""
    kinds = folder / "plain", folder / "encrypted"
    with ExitStack() as stack:
        writers: dict[tuple[Path, int], pq.ParquetWriter] = {}
        for part in street(meters, MONTHS, UNTIL, SEED, registers=REGISTERS):
            for month, table in _by_month(part):
                for kind in kinds:
                    if (kind, month) not in writers:
                        path = kind / FOLDER / f"month={month_name(month)}" / "part.parquet"
                        path.parent.mkdir(parents=True)
                        sealed = encryption() if kind is kinds[1] else None
                        writer = pq.ParquetWriter(path, SCHEMA, encryption_properties=sealed)
                        writers[kind, month] = stack.enter_context(writer)
                    writers[kind, month].write_table(table, row_group_size=GROUP)
    return kinds


def _by_month(part: MeterDays) -> Iterator[tuple[int, pa.Table]]:
    numbers = np.array([int(mpxn.text) for mpxn in part.mpxns])
    months = part.day.astype("M8[D]").astype("M8[M]").astype(np.int64) + 1970 * 12
    for month in np.unique(months).tolist():
        some = part.take(months == month)
        there = some.energy != MISSING
        slot = some.day[:, None].astype(np.int64) * DAY_SLOTS + np.arange(DAY_SLOTS)
        meter = np.repeat(numbers[some.meter], DAY_SLOTS).reshape(there.shape)
        columns = meter[there], (slot * HALF_HOUR).astype("M8[s]")[there], some.energy[there]
        yield month, pa.table([pa.array(one) for one in columns], schema=SCHEMA)
