"""Many meter points at once, exported; beside decrypting alone, and duckdb.

Worker processes are begun and warm before a clock runs; what a figure counts is one whole export:
decided, logged, planned, opened, shaped, sealed, synced, published.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from bench.figures import Figure, Skipped, median
from bench.world import MONTHS, REGISTERS, SEED, UNTIL
from ingest.synthetic import street
from store import age, envelope
from store.executors import Pool
from store.exporting import Exporting
from store.facts import Supply
from store.grounds import FOREVER
from store.ordering import Wanted, order
from store.reads import DAY_SLOTS, Mpxn, Window
from store.slices import Slices
from store.wiring import Settings, Store, initialise, open_store
from store.workers import export_slice
from store.writestore import Source

if TYPE_CHECKING:
    from bench.plan import Plan
    from store.exported import Export

NAME = "exporting"
MOST = 100.0  # ns a half-hour on two cores: ten million a second
SIZES = ((1_000, MONTHS), (20_000, 3), (100_000, 1))  # meters, local months: about as many reads
FEW = ((200, 3), (400, 1))
PAIRS = 3


@dataclass
class Fleet:
    """A store of a street whose every home one supplier has.

    Attributes:
        half_hours: Reads that arrived.
    """

    settings: Settings
    supplier: str
    window: Window
    half_hours: int
    meters: int


@dataclass(frozen=True)
class Timed:
    """What one export took, in seconds, of the clock and of all cores together."""

    export: Export
    wall: float
    cores: float
    half_hours: int


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield exports by size and their peers."""
    full = plan.sizes.meters > FEW[-1][0]
    fleets = [
        build(plan.folder / f"fleet-{n}", n, months) for n, months in (SIZES if full else FEW)
    ]
    with closing(Pool(width=2)) as pool:
        yield from _exports(fleets, pool, plan.folder)
        peak = _peak(pool)
    yield Figure(NAME, "largest worker process", peak, "MiB", most=400,
                 note="two of them and their runner stay under 1 GiB")  # fmt: skip
    yield from _dask(fleets[1])


def build(home: Path, meters: int, months: int) -> Fleet:
    """Make a store of a street, compacted, and register every home to one supplier."""
    settings = Settings.from_environment({"METERKEEP_HOME": str(home)})
    initialise(settings)
    points: list[Mpxn] = []
    days: list[int] = []
    with open_store(settings) as store:

        def parts() -> Iterator[Any]:
            for part in street(meters, months, UNTIL, SEED, registers=REGISTERS):
                points.extend(part.mpxns)
                days.extend((int(part.day.min()), int(part.day.max())))
                yield part

        source = Source(hashlib.sha256(b"fleet").digest(), "synthetic", "", 0, ())
        reads = store.writes.commit(parts(), [source]).reads
        for files in store.compaction.due().values():
            store.compaction.compact(files)
        store.compaction.sweep(grace=-1.0)
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "fleet"}
        code = store.facts.add_party("Bench Supply", ["IS"], jwk, age.new_identity()[1])
        always = Window(0, FOREVER)
        store.facts.registrations.add(
            Supply(mpxn, code, "IS", "nondomestic", always) for mpxn in points
        )
    window = Window(min(days) * DAY_SLOTS, (max(days) + 1) * DAY_SLOTS)
    return Fleet(settings, code, window, reads, meters)


def timed(fleet: Fleet, pool: Any, rows: str) -> Timed:
    """Order one export, and time its making."""
    with open_store(fleet.settings) as store:
        with store.database.hot_read() as connection:
            party = store.facts.party(connection, fleet.supplier)
        assert party is not None
        asked = Wanted(("4.8.1",), fleet.window, REGISTERS, rows=rows)
        made = order(store, party, asked)
        runner = Exporting(store, pool, functools.partial(export_slice, fleet.settings))
        before, began = _cores(pool), time.perf_counter()
        runner.run()
        wall, cores = time.perf_counter() - began, _cores(pool) - before
        made = store.exports.get(made.id, fleet.supplier)
        progress = store.exports.parts.progress(made.id)
        assert made.state == "done", made.failed
        assert progress.half_hours == fleet.half_hours
        return Timed(made, wall, cores, progress.half_hours)


def _cores(pool: Any) -> float:
    """Return the seconds of cores that this process and the pool's used so far."""
    mine = time.process_time()
    inside = getattr(getattr(pool, "_executor", None), "_processes", None) or {}
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in inside:
        spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        mine += sum(map(int, spent)) / ticks
    return mine


def _peak(pool: Any) -> float:
    """Return the MiB that the largest of the pool's processes ever held.

    Not by getrusage: a child's maximum there begins with what its parent held.
    """
    said = [Path(f"/proc/{pid}/status").read_text() for pid in pool._executor._processes]
    return max(int(one.partition("VmHWM:")[2].split()[0]) for one in said) / 1024


def _exports(fleets: list[Fleet], pool: Pool, folder: Path) -> Iterator[Figure]:
    warm = [pool.submit("warm", time.sleep, 0.5) for _ in range(2)]
    wait(warm)
    # The first of two lets each worker open the store; the better one counts.
    days = [min((timed(f, pool, "day") for _ in range(2)), key=_cost) for f in fleets]
    middle = 1
    hours = min((timed(fleets[middle], pool, "half-hour") for _ in range(2)), key=_wall)
    copied = _duckdb(fleets[middle], folder)
    each = hours.wall / hours.half_hours * 1e9
    yield Figure(
        NAME, f"export, half-hour rows, {fleets[middle].meters:,} meters, two cores", each,
        "ns a half-hour", most=MOST, note=f"{1e3 / each:.1f} million a second, whole",
    )  # fmt: skip
    yield Figure(
        NAME, "the same", each, "ns a half-hour", "duckdb: COPY of the plain rows to Parquet",
        copied, note="duckdb on two threads; nothing decided, opened, sealed or synced",
    )  # fmt: skip
    cost, alone = _cost(days[middle]), decrypting(fleets[middle])
    yield Figure(
        NAME, "export, day rows, all cores together", cost * 1e9, "ns a half-hour",
        "decrypting the same rows alone, their keys unwrapped", alone * 1e9, 2,
        f"{days[middle].half_hours / days[middle].wall / 1e6:.1f} million half-hours a second",
    )  # fmt: skip
    for small, large in ((0, 1), (0, 2)):
        if large < len(fleets):
            many, few = fleets[large].meters, fleets[small].meters
            yield Figure(
                NAME, f"export, day rows, {many:,} meters", _cost(days[large]) * 1e9,
                "ns a half-hour", f"{few:,} meters", _cost(days[small]) * 1e9, 1.3,
                f"{days[large].half_hours:,} half-hours, cores' time",
            )  # fmt: skip


def _wall(one: Timed) -> float:
    return one.wall


def _cost(one: Timed) -> float:
    return one.cores / one.half_hours


def decrypting(fleet: Fleet) -> float:
    """Return the seconds a half-hour that unwrapping keys and opening boxes alone takes."""
    with open_store(fleet.settings) as store:
        with store.database.read() as connection:
            files = list(store.catalogue.live(connection))
            index = store.catalogue.index_of(connection, files[0])
        subjects = [run.subject for run in index][:5_000]
        slices = Slices(store.database, store.catalogue, store.objects)
        months = range(files[0].month, files[-1].month + 1)
        snapshot = slices.snapshot(subjects, REGISTERS, months, 1)
        fetched = [slices.rows(snapshot, (REGISTERS[0], month)) for month in months]
        taken, half_hours = [], 0
        for _ in range(3):
            began = time.process_time()
            with store.database.hot_read() as connection:
                deks = store.tenancies.all_deks(connection, subjects)
            half_hours = sum(_opened(store, subjects, deks, *one) for one in fetched)
            taken.append(time.process_time() - began)
        return median(taken) / half_hours


def _opened(store: Store, subjects: list[bytes], deks: Any, rows: Any, who: Any) -> int:
    if not len(rows):
        return 0
    cuts = [0, *(np.flatnonzero(np.diff(who)) + 1).tolist(), len(rows)]
    body, size = memoryview(rows.tobytes()), rows.dtype.itemsize
    for start, end in pairwise(cuts):
        subject = subjects[who[start]]
        aad = envelope.row_aad(store.identity, REGISTERS[0], subject)
        envelope.unseal(deks[subject][1].key, aad, body[start * size : end * size])
    return len(rows) * DAY_SLOTS


def _duckdb(fleet: Fleet, folder: Path) -> float:
    """Return the ns a half-hour of a COPY of as many plain rows as a fleet's."""
    most = min(fleet.half_hours, 40_000_000)
    with duckdb.connect() as plain:
        plain.execute("SET threads = 2")
        plain.execute(
            "CREATE TABLE reads AS SELECT '12' || lpad((i // 4464)::VARCHAR, 11, '0') AS mpxn, "
            "'active_import' AS register, 'Wh' AS unit, "
            "TIMESTAMP '2025-06-01' + INTERVAL 30 MINUTE * (i % 4464) AS begins, "
            "TIMESTAMP '2025-06-01' + INTERVAL 30 MINUTE * (i % 4464 + 1) AS ends, "
            "(hash(i) % 2000)::USMALLINT AS value, 'measured' AS quality "
            f"FROM range({most}) t(i)"
        )
        taken = []
        for turn in range(2):
            out = folder / f"copied-{turn}.parquet"
            began = time.perf_counter()
            plain.execute(f"COPY reads TO '{out}' (FORMAT parquet)")
            taken.append((time.perf_counter() - began) / most * 1e9)
            out.unlink()
    return min(taken)


def _dask(fleet: Fleet) -> Iterator[Figure | Skipped]:
    name = "export by two Dask workers"
    if (os.cpu_count() or 1) < 2 or os.getloadavg()[0] > 1:
        yield Skipped(NAME, name, "two cores of its own are needed: others work on this machine")
        return
    try:
        from distributed import LocalCluster  # noqa: PLC0415 - an extra
    except ImportError:
        yield Skipped(NAME, name, "Dask is not installed")
        return
    taken: list[list[float]] = [[], []]
    for _ in range(PAIRS):
        for workers, held in zip((1, 2), taken, strict=True):
            cluster: Any = LocalCluster
            with (
                cluster(n_workers=workers, threads_per_worker=1, dashboard_address=None,
                        host="127.0.0.1") as local,
                closing(Pool(local.scheduler_address)) as pool,
            ):  # fmt: skip
                timed(fleet, pool, "half-hour")
                held.append(timed(fleet, pool, "half-hour").wall)
    yield Figure(NAME, name, median(taken[1]), "s", "one", median(taken[0]), 1 / 1.6)
