"""How long it takes to forget: one customer, and a hundred thousand.

Counted is all of it: tag, keys, tombstone, leaf with its journal entry, log details, the emptied
write-ahead log; each transaction is synced to the disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.figures import Figure, median, quantile
from store.initialising import initialise
from store.reads import Mpxn, mpan_check_digit
from store.settings import Settings
from store.wiring import open_store

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "erasing"
MANY, FEW = 100_000, 2_000  # customers erased at once, in full and in a quick run
SOME = 1_000
ONES = 40


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the time of one erasure, and of many at once."""
    many = MANY if plan.sizes.meters >= FEW else FEW
    settings = Settings.from_environment({"METERKEEP_HOME": str(plan.folder / "forgotten")})
    initialise(settings)
    homes = [meter_point(number) for number in range(many + SOME + ONES + 1)]
    with open_store(settings) as store:
        store.tenancies.census(homes)
        erase, took = store.facts.erasing.erase, list[float]()
        erase(homes[:1], "warm")
        store.sequencer.run()  # what waits for the tree is what waits in a store that serves
        for home in homes[1 : ONES + 1]:
            at = time.perf_counter()
            erase([home], "measured")
            took.append((time.perf_counter() - at) * 1000)
        at = time.perf_counter()
        erase(homes[ONES + 1 : ONES + 1 + SOME], "measured")
        some = time.perf_counter() - at
        at = time.perf_counter()
        done = erase(homes[ONES + 1 + SOME :], "measured")
        seconds = time.perf_counter() - at
        assert done.customers == many
        assert done.clean
    note = f"p99 {quantile(took, 0.99):.1f} ms, among {many:,} customers"
    yield Figure(NAME, "one customer erased", median(took), "ms", most=20.0, note=note)
    yield Figure(
        NAME, "1,000 customers erased", some, "s", note="at once; `bench.paper` foretells it"
    )
    yield Figure(
        NAME, "100,000 customers erased", seconds * MANY / many, "s", most=60.0,
        note=f"{many:,} at once, told for 100,000; {len(done.entries):,} log entries",
    )  # fmt: skip


def meter_point(number: int) -> Mpxn:
    """Return one of a long row of meter points."""
    twelve = f"12{number:010d}"
    return Mpxn(f"{twelve}{mpan_check_digit(twelve)}")
