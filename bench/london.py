"""One ingest of the London CSVs, in a process and on a core of its own.

    python -m bench.london ours FOLDER OUT      validated, sealed, committed durably
    python -m bench.london months FOLDER OUT    pyarrow: CSV, typed, plain Parquet by month
    python -m bench.london single FOLDER OUT    pyarrow: the same, everything in one file

Prints one line: reads, seconds, seconds of them on the core. Starting the interpreter and importing
are in nobody's time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Seconds by the clock, and seconds that this process ran."""

    seconds: float
    core: float

    @classmethod
    def now(cls) -> Elapsed:
        """Return where both clocks stand."""
        return cls(perf_counter(), process_time())

    def since(self) -> Elapsed:
        """Return what went by since."""
        return Elapsed(perf_counter() - self.seconds, process_time() - self.core)


def one_core() -> None:
    """Stay on one core, where the system lets a process choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def ours(files: Sequence[Path], out: Path) -> tuple[int, Elapsed]:
    """Take ``files`` into a fresh store."""
    from ingest.pipeline import take  # noqa: PLC0415 - after the core is chosen
    from ingest.profiles import Form, Profile  # noqa: PLC0415
    from store.initialising import initialise  # noqa: PLC0415
    from store.settings import Settings  # noqa: PLC0415
    from store.wiring import open_store  # noqa: PLC0415

    settings = Settings.from_environment({"METERKEEP_HOME": str(out)})
    initialise(settings)
    began = Elapsed.now()
    with open_store(settings, decides=False) as store:
        reads = take(store.writes, files, Profile(Form.LCL), processes=1).reads
    return reads, began.since()


def theirs(files: Sequence[Path], out: Path, *, by_month: bool) -> tuple[int, Elapsed]:
    """Read ``files`` with pyarrow and write them as plain Parquet."""
    import pyarrow as pa  # noqa: PLC0415 - after the core is chosen
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.csv as pacsv  # noqa: PLC0415
    import pyarrow.dataset as ds  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    pa.set_cpu_count(1)
    types = {"LCLid": pa.string(), "tstp": pa.timestamp("s"), "energy(kWh/hh)": pa.float64()}
    alone, typed = pacsv.ReadOptions(use_threads=False), pacsv.ConvertOptions(column_types=types)
    began = Elapsed.now()
    table = pa.concat_tables(
        [pacsv.read_csv(file, read_options=alone, convert_options=typed) for file in files]
    )
    if by_month:
        # Numbers, not text: formatting a million months would cost three times as much.
        stamp = table["tstp"]
        month = pc.add(pc.multiply(pc.year(stamp), 100), pc.month(stamp))
        ds.write_dataset(
            table.append_column("month", month), out, format="parquet", partitioning=["month"],
            partitioning_flavor="hive", use_threads=False,
        )  # fmt: skip
    else:
        pq.write_table(table, out)
    return table.num_rows, began.since()


def main() -> None:
    """Run one of the three."""
    which, folder, out = sys.argv[1:]
    one_core()
    files = sorted(Path(folder).glob("*.csv"))
    if which == "ours":
        reads, elapsed = ours(files, Path(out))
    else:
        reads, elapsed = theirs(files, Path(out), by_month=which == "months")
    print(reads, elapsed.seconds, elapsed.core)


if __name__ == "__main__":
    main()
