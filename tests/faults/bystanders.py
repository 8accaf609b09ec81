"""Who else is at the store while it is killed: a slow writer, and sweep.

The slow writer takes files in like anybody, only that between two of a file's parts it holds, for
a time about as long as its lease: some of its batches commit, some are swept away under it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from store.errors import MeterkeepError
from store.keepers.local import SystemClock
from store.parts import Store
from store.reads import MeterDays
from store.settings import Settings
from store.wiring import open_store
from tests.faults.deliveries import parts_of, source_of

FIRST = 1_000  # its files' numbers, apart from those of the rounds


def _slowly(number: int, held: float) -> Iterator[MeterDays]:
    for at, part in enumerate(parts_of(number)):
        if at == 1:
            time.sleep(held)
        yield part


def _write(store: Store, job: dict[str, Any]) -> None:
    drawn, lease = random.Random(job["seed"]), job["lease"]
    for number in range(FIRST, FIRST + 900):
        said = "acked"
        try:
            held = lease * drawn.uniform(0.0, 2.0)
            store.writes.commit(_slowly(number, held), [source_of(number)])
        except MeterkeepError as error:
            said = error.code
        sys.stdout.write(f"{said} {number}\n")
        sys.stdout.flush()


def _sweep(store: Store, job: dict[str, Any]) -> None:
    while True:
        try:
            swept = store.compaction.sweep(grace=job["grace"])
            said = f"swept {swept.files} {swept.batches}"
        except MeterkeepError as error:
            said = error.code
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()
        time.sleep(0.03)


def main() -> None:
    """Do one bystander's work until terminated."""
    job = json.loads(sys.argv[1])
    settings = Settings(**job["settings"] | {"home": Path(job["settings"]["home"])})
    needs_kek = job["work"] == "write"
    with open_store(
        settings, needs_kek=needs_kek, clock=SystemClock(), lease=job["lease"]
    ) as store:
        (_write if needs_kek else _sweep)(store, job)


if __name__ == "__main__":
    main()
