"""One ingest of the London CSVs, in a process and on a core of its own.

    python -m bench.london ours FOLDER OUT      validated, sealed, committed durably
    python -m bench.london theirs FOLDER OUT    pyarrow: read as CSV, typed, one plain Parquet file

Prints one line: reads, seconds. Starting the interpreter and importing are in neither's time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter


def one_core() -> None:
    """Stay on one core, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def ours(files: Sequence[Path], out: Path) -> tuple[int, float]:
    """Return reads and seconds of an ingest into a fresh store."""
    from ingest.pipeline import take  # noqa: PLC0415 - after the core is chosen
    from ingest.profiles import Form, Profile  # noqa: PLC0415
    from store.wiring import Settings, initialise, open_store  # noqa: PLC0415

    settings = Settings.from_environment({"METERKEEP_HOME": str(out)})
    initialise(settings)
    began = perf_counter()
    with open_store(settings) as store:
        reads = take(store.writes, files, Profile(Form.LCL), processes=1).reads
    return reads, perf_counter() - began


def theirs(files: Sequence[Path], out: Path) -> tuple[int, float]:
    """Return reads and seconds of pyarrow's plain way."""
    import pyarrow as pa  # noqa: PLC0415 - after the core is chosen
    import pyarrow.csv as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    pa.set_cpu_count(1)
    types = {"LCLid": pa.string(), "tstp": pa.timestamp("s"), "energy(kWh/hh)": pa.float64()}
    alone, typed = pc.ReadOptions(use_threads=False), pc.ConvertOptions(column_types=types)
    began = perf_counter()
    tables = [pc.read_csv(file, read_options=alone, convert_options=typed) for file in files]
    table = pa.concat_tables(tables)
    pq.write_table(table, out)
    return table.num_rows, perf_counter() - began


def main() -> None:
    """Run one of the two."""
    which, folder, out = sys.argv[1:]
    one_core()
    files = sorted(Path(folder).glob("*.csv"))
    reads, seconds = (ours if which == "ours" else theirs)(files, Path(out))
    print(reads, seconds)


if __name__ == "__main__":
    main()
