"""Runs every measure. Exit status: 0 every bound is kept; 1 one is missed, told after all ran."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench import (
    answer,
    busy,
    calls,
    compaction,
    deciding,
    erasing,
    exporting,
    ingest,
    log,
    noise,
    opening,
    peers,
    rate,
    report,
    scale,
    search,
    size,
    verifying,
    weighing,
)
from bench.figures import Figure, Skipped
from bench.plan import FULL, QUICK, Plan

# The busy store is written to, so it comes after all that ask the same store in peace.
MEASURES: dict[str, Callable[[Plan], Iterator[Figure | Skipped]]] = {
    "answer": answer.measure,
    "peers": peers.measure,
    "opening": opening.measure,
    "calls": calls.measure,
    "deciding": deciding.measure,
    "size": size.measure,
    "weighing": weighing.measure,
    "ingest": ingest.measure,
    "scale": scale.measure,
    "noise": noise.measure,
    "rate": rate.measure,
    "log": log.measure,
    "search": search.measure,
    "verifying": verifying.measure,
    "erasing": erasing.measure,
    "exporting": exporting.measure,
    "compaction": compaction.measure,
    "busy": busy.measure,
}
VAR = Path("var")  # of the working directory: a real disk, where /tmp may be memory


def main() -> int:
    """Measure, show, write results.json."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for development")
    parser.add_argument("--only", action="append", choices=MEASURES, help="may repeat")
    asked = parser.parse_args()
    told = Console(stderr=True)
    figures: list[Figure | Skipped] = []
    began = time.perf_counter()
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as folder:
        plan = Plan(QUICK if asked.quick else FULL, Path(folder).absolute())
        for name, measure in MEASURES.items():
            if asked.only and name not in asked.only:
                continue
            at = time.perf_counter()
            figures += measure(plan)
            told.print(f"{name}: {time.perf_counter() - at:.0f} s", style="dim")
    report.show(figures, Console(width=None if sys.stdout.isatty() else 140))
    if not asked.only:
        report.write(figures, quick=asked.quick, seconds=time.perf_counter() - began)
    return int(any(isinstance(one, Figure) and one.holds is False for one in figures))


if __name__ == "__main__":
    sys.exit(main())
