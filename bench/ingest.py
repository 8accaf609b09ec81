"""The London CSVs taken in, one core, against pyarrow reading them and writing plain Parquet.

Ours validates, seals, syncs to disk and commits with its ledger and log; pyarrow's does none of
that. Each round is a fresh process and a fresh place; the two take turns.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure, Skipped, median

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "ingest"
ARCHIVE = Path(__file__).parents[2] / "shared/data/lcl_2013_100_households_raw_csv.tar.xz"
READS = 1_674_718
TITLE = "ingest of 100 London households"


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield the seconds of an ingest against pyarrow's."""
    if not ARCHIVE.exists():
        yield Skipped(NAME, TITLE, "../shared/data has no London archive here")
        return
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(plan.folder, filter="data")
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(plan.sizes.rounds):
        for which, held in times.items():
            held.append(_once(which, plan.folder / "lcl", plan.folder / f"{which}-{turn}"))
    ours, theirs = median(times["ours"]), median(times["theirs"])
    note = f"one core, {READS / ours / 1e6:.2f} M reads/s, validated, sealed, committed"
    yield Figure(NAME, TITLE, ours, "s", "pyarrow: CSV to plain Parquet", theirs, 1, note)


def _once(which: str, folder: Path, out: Path) -> float:
    command = [sys.executable, "-m", "bench.london", which, str(folder), str(out)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(said[0]) == READS, "not every read was taken in"
    return float(said[1])
