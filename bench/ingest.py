"""The London CSVs taken in, one core, against pyarrow reading them and writing plain Parquet.

Ours validates, seals, syncs to disk and commits with its ledger and log; pyarrow's does none of
that. By month is the layout that can be asked, as ours is. Each round is a fresh process and a
fresh place; they take turns.
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
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "months": [], "single": []}
    for turn in range(plan.sizes.rounds):
        for which, held in taken.items():
            held.append(_once(which, plan.folder / "lcl", plan.folder / f"{which}-{turn}"))
    seconds, core = ({k: median([one[i] for one in v]) for k, v in taken.items()} for i in (0, 1))
    note = (
        f"one core, {READS / seconds['ours'] / 1e6:.2f} M reads/s; of it on the core "
        f"{core['ours']:.2f} s, pyarrow {core['months']:.2f} s by month, {core['single']:.2f} s "
        "in one file; the rest is waiting for the disk, or for a neighbour"
    )
    yield Figure(
        NAME, TITLE, seconds["ours"], "s", "pyarrow: CSV to plain Parquet by month",
        seconds["months"], 1, note,
    )  # fmt: skip
    yield Figure(
        NAME, TITLE, seconds["ours"], "s", "pyarrow: CSV to one plain Parquet file",
        seconds["single"],
    )  # fmt: skip


def _once(which: str, folder: Path, out: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.london", which, str(folder), str(out)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(said[0]) == READS, "not every read was taken in"
    return float(said[1]), float(said[2])
