"""The same question, one meter's 13 months, put to peers in process: no HTTP, no log, no decision.

    duckdb                plain Parquet by register and month, metadata and files cached, numpy out
    encrypted Parquet     pyarrow's modular encryption; files open, footers parsed and decrypted
                          beforehand, the one row group found by its statistics

Both are warm, and asked about the same meters as the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow.parquet as pq

from bench import plain
from bench.crypto import decryption
from bench.figures import Figure, median
from store.reads import Window, moment_of, month_name

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "peers"
Ask = Callable[[int], int]  # a meter's number -> how many reads came back


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the whole answer against each peer's bare query."""
    world, p50 = plan.world, plan.quiet.p50
    folders = plain.write(plan.folder, world.meters)
    asked = [int(mpxn.text) for mpxn in world.asked]
    ducks, sealed = Duck(folders[0], world.window), Encrypted(folders[1], world.window)
    counts = {ask(meter) for ask in (ducks, sealed) for meter in asked[:1]}
    assert len(counts) == 1, "the peers disagree about what was asked"
    times = _times([ducks, sealed], asked, plan.sizes.asks)
    yield Figure(
        NAME, "whole answer, p50", p50, "ms", "duckdb, plain Parquet, in process", times[0], 1,
        f"one row a read, sorted by meter and time, {plain.GROUP:,} rows to a row group",
    )  # fmt: skip
    yield Figure(
        NAME, "whole answer, p50", p50, "ms", "pyarrow, encrypted Parquet, in process", times[1]
    )


def _times(asks: list[Ask], meters: list[int], count: int) -> list[float]:
    """Return the median milliseconds of each, asked in turn, warm."""
    for ask in asks:
        for meter in meters[: count // 4]:
            ask(meter)
    taken: list[list[float]] = [[] for _ in asks]
    for turn in range(count):
        for ask, held in zip(asks, taken, strict=True):
            began = perf_counter()
            ask(meters[turn % len(meters)])
            held.append((perf_counter() - began) * 1e3)
    return [median(held) for held in taken]


class Duck:
    """duckdb over plain Parquet."""

    def __init__(self, folder: Path, window: Window) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("SET parquet_metadata_cache = true")
        ends = [moment_of(end).replace(tzinfo=None) for end in (window.start, window.end)]
        months = [month_name(month) for month in (window.months[0], window.months[-1])]
        self._rest = [*months, *ends]
        self._query = (
            f"SELECT ts, value FROM read_parquet('{folder}/*/*/*.parquet', "
            "hive_partitioning = true, hive_types = {'register': VARCHAR, 'month': VARCHAR}) "
            "WHERE register = 'active_import' AND meter = ? AND month BETWEEN ? AND ? "
            "AND ts >= ? AND ts < ? ORDER BY ts"
        )

    def __call__(self, meter: int) -> int:
        """Return how many reads ``meter`` has."""
        found = self._connection.execute(self._query, [meter, *self._rest]).fetchnumpy()
        return len(found["value"])


class Encrypted:
    """pyarrow over its own encrypted Parquet."""

    def __init__(self, folder: Path, window: Window) -> None:
        how = decryption()
        ends = [moment_of(end).replace(tzinfo=None) for end in (window.start, window.end)]
        self._start, self._end = (np.datetime64(end, "s") for end in ends)
        self._files: list[tuple[Any, list[tuple[int, int]]]] = []
        for path in sorted(folder.rglob("*.parquet")):
            file = pq.ParquetFile(path, decryption_properties=how, pre_buffer=False)
            groups = (file.metadata.row_group(at) for at in range(file.metadata.num_row_groups))
            spans = [(s.min, s.max) for s in (group.column(0).statistics for group in groups)]
            self._files.append((file, spans))

    def __call__(self, meter: int) -> int:
        """Return how many reads ``meter`` has."""
        count = 0
        for file, spans in self._files:
            wanted = [at for at, (low, high) in enumerate(spans) if low <= meter <= high]
            table = file.read_row_groups(wanted, use_threads=False)
            meters = table["meter"].to_numpy()
            first, last = np.searchsorted(meters, meter), np.searchsorted(meters, meter, "right")
            stamps = table["ts"].slice(first, last - first).to_numpy()
            values = table["value"].slice(first, last - first).to_numpy()
            count += len(values[(stamps >= self._start) & (stamps < self._end)])
        return count
