"""Many meter points at once, exported; beside decrypting alone, and duckdb.

Worker processes are begun and warm before a clock runs; what a figure counts is one whole export:
decided, logged, planned, opened, shaped, sealed, synced, published.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import export_peers
from bench.figures import Figure, Skipped, median
from bench.world import MONTHS, REGISTERS, SEED, UNTIL
from ingest.synthetic import street
from store import age, heap
from store.executors import Pool
from store.exports.ordering import Wanted, order
from store.exports.runner import Exporting
from store.exports.workers import export_slice
from store.facts.door import Supply
from store.grounds import FOREVER
from store.initialising import initialise
from store.reads import DAY_SLOTS, Mpxn, Window
from store.settings import Settings
from store.wiring import open_store
from store.writing.writestore import Source

if TYPE_CHECKING:
    from bench.export_peers import Spent
    from bench.plan import Plan
    from store.orders.exported import Export

NAME = "exporting"
MOST = 100.0  # ns a half-hour on two cores: ten million a second
LONG = (1_000, MONTHS)  # meters, local months
PAIRS = (((1_000, 3), (20_000, 3)), ((1_000, 1), (100_000, 1)))  # the same months, few and many
FEW = (((100, 1), (400, 1)),)
TURNS = 3  # of each export
ROUNDS = 3  # of one Dask worker and two, in turn
MOST_MEMORY = 1_024  # MiB: the runner and two workers together


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
    full = plan.sizes.meters > FEW[-1][-1][0]
    pairs = [
        tuple(build(plan.folder / f"fleet-{n}-{months}", n, months) for n, months in pair)
        for pair in (PAIRS if full else FEW)
    ]
    long = build(plan.folder / "fleet-long", *LONG) if full else pairs[0][0]
    heap.settle()  # as `meterkeep export run` does
    with closing(Pool(width=2)) as pool:
        wait([pool.submit("warm", time.sleep, 0.5) for _ in range(2)])
        yield from _whole(pairs[0][1], pool, plan.folder)
        yield from _flat(pairs, long, pool)
    yield _memory(pairs[-1][1])
    yield from _dask(pairs[0][1])
    for fleet in (*(one for pair in pairs for one in pair), long):
        # Gigabytes that nobody reads again.
        shutil.rmtree(fleet.settings.home, ignore_errors=True)


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


def _peak(pid: int | str) -> float:
    """Return the MiB that a process ever held.

    Not by getrusage: a child's maximum there begins with what its parent held.
    """
    said = Path(f"/proc/{pid}/status").read_text()
    return int(said.partition("VmHWM:")[2].split()[0]) / 1024


def _whole(fleet: Fleet, pool: Pool, folder: Path) -> Iterator[Figure]:
    timed(fleet, pool, "day")  # lets each worker open the store
    days, alone, floors, boxes = [], [], [], []
    for _ in range(TURNS):  # in turn, so that a neighbour's work falls on all
        days.append(timed(fleet, pool, "day"))
        alone.append(_by_two(pool, export_peers.decrypting, fleet.settings))
        floors.append(_by_two(pool, export_peers.floor, fleet.settings, folder))
        boxes.append(_by_two(pool, export_peers.boxes, fleet.settings))
    hours = min((timed(fleet, pool, "half-hour") for _ in range(2)), key=_wall)
    copied = export_peers.copied(fleet.half_hours, folder)
    each = hours.wall / hours.half_hours * 1e9
    yield Figure(
        NAME, f"export, half-hour rows, {fleet.meters:,} meters, two cores", each,
        "ns a half-hour", most=MOST, note=f"{1e3 / each:.1f} million a second, whole",
    )  # fmt: skip
    yield Figure(
        NAME, "the same", each, "ns a half-hour", "duckdb: COPY of the plain rows to Parquet",
        copied, note="duckdb on two threads; nothing decided, opened, sealed or synced",
    )  # fmt: skip
    best = min(days, key=_cost)
    cost = _cost(best) * 1e9
    yield Figure(
        NAME, "export, day rows, all cores together", cost, "ns a half-hour",
        "decrypting the same alone: keys proven, rows read, checked, opened", min(alone) * 1e9, 2,
        f"{best.half_hours / best.wall / 1e6:.1f} million half-hours a second; the peer likewise "
        "in two workers at once",
    )  # fmt: skip
    yield Figure(
        NAME, "the same, beside boxes that lie in memory", cost, "ns a half-hour",
        "their keys unwrapped, opened, nothing read nor proven", min(boxes) * 1e9,
    )  # fmt: skip
    yield Figure(
        NAME, "the same, beside its floor", cost, "ns a half-hour",
        "what no export leaves out, bare", min(floors) * 1e9,
        note="decrypting, Parquet, two SHA-256, age, a sync; the rest decides, thrice, and keeps "
        "books",
    )  # fmt: skip


def _by_two(pool: Pool, work: Callable[..., Spent], settings: Settings, *more: Any) -> float:
    """Return the seconds a half-hour of two workers that do half of a fleet each, at once."""
    both = [
        pool.submit(f"{work.__name__} {turn}", work, settings, turn, 2, *more) for turn in range(2)
    ]
    spent = [one.result() for one in both]
    return sum(one.seconds for one in spent) / sum(one.half_hours for one in spent)


def _flat(pairs: Sequence[tuple[Fleet, ...]], long: Fleet, pool: Pool) -> Iterator[Figure]:
    """Yield the cost of a read of many meters beside that of few, over the same months."""
    few_of: list[tuple[Fleet, float]] = []
    for few, many in pairs:
        both: list[list[float]] = [[], []]
        for fleet in (few, many):
            timed(fleet, pool, "day")
        for _ in range(TURNS):
            both[0].append(median([_cost(timed(few, pool, "day")) for _ in range(TURNS)]))
            both[1].append(_cost(timed(many, pool, "day")))
        few_of.append((few, median(both[0])))
        yield Figure(
            NAME, f"export, day rows, {many.meters:,} meters", median(both[1]) * 1e9,
            "ns a half-hour", f"{few.meters:,} meters, the same months", median(both[0]) * 1e9, 1.3,
            f"{many.half_hours:,} half-hours, cores' time, in turn",
        )  # fmt: skip
    few, cost = few_of[-1]
    timed(long, pool, "day")
    over = median([_cost(timed(long, pool, "day")) for _ in range(TURNS)])
    yield Figure(
        NAME, f"export, day rows, {long.meters:,} meters, the longest window", over * 1e9,
        "ns a half-hour", f"{few.meters:,} meters, one month", cost * 1e9,
        note="what a meter costs once is shared by more reads",
    )  # fmt: skip


def _memory(fleet: Fleet) -> Figure:
    """Return the most that a runner and its two workers held, in processes of their own."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawned) as fresh:
        mine, workers = fresh.submit(_peaks, fleet).result()
    return Figure(
        NAME, f"runner and two workers, {fleet.meters:,} meters", mine + sum(workers), "MiB",
        most=MOST_MEMORY,
        note=f"half-hour and day rows; VmHWM: the runner {mine:.0f}, the workers "
        + " and ".join(f"{one:.0f}" for one in workers),
    )  # fmt: skip


def _peaks(fleet: Fleet) -> tuple[float, list[float]]:
    """Make exports; return the MiB that this process held at most, and each of its workers."""
    with closing(Pool(width=2)) as pool:
        for rows in ("half-hour", "day"):
            timed(fleet, pool, rows)
        inside: Any = pool
        return _peak("self"), [_peak(pid) for pid in inside._executor._processes]


def _wall(one: Timed) -> float:
    return one.wall


def _cost(one: Timed) -> float:
    return one.cores / one.half_hours


def _dask(fleet: Fleet) -> Iterator[Figure | Skipped]:
    name = "export by two Dask workers, a core each"
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield Skipped(NAME, name, "two cores are needed")
        return
    try:
        from distributed import LocalCluster  # noqa: PLC0415 - an extra
    except ImportError:
        yield Skipped(NAME, name, "Dask is not installed")
        return
    walls: list[list[float]] = [[], []]
    paths: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for at, workers in enumerate((1, 2)):
            cluster: Any = LocalCluster
            with (
                cluster(n_workers=workers, threads_per_worker=1, dashboard_address=None,
                        host="127.0.0.1") as local,
                closing(Pool(local.scheduler_address)) as pool,
            ):  # fmt: skip
                wait([pool.submit("warm", time.sleep, 0.0)])
                client: Any = pool._client
                for core, worker in zip(cores, client.scheduler_info()["workers"], strict=False):
                    client.run(os.sched_setaffinity, 0, {core}, workers=[worker])
                timed(fleet, pool, "half-hour")
                wall, path = _path(fleet, pool, client)
            walls[at].append(wall)
            paths[at].append(path)
    yield Figure(
        NAME, name, median(paths[1]), "s", "one", median(paths[0]), 1 / 1.6,
        "seconds on a core of the runner and of the busiest worker, one after the other: what "
        "others do on the machine does not count",
    )  # fmt: skip
    yield Figure(
        NAME, "the same by the clock", median(walls[1]), "s", "one", median(walls[0]),
        note=f"in turn; load {os.getloadavg()[0]:.1f} on {len(cores)} cores",
    )  # fmt: skip


def _path(fleet: Fleet, pool: Pool, client: Any) -> tuple[float, float]:
    """Return the seconds of an export by the clock, and on the cores that it must wait for."""
    before = client.run(time.process_time)
    one = timed(fleet, pool, "half-hour")
    after = client.run(time.process_time)
    busiest = max(after[worker] - before[worker] for worker in before)
    return one.wall, one.cores + busiest  # no process of a cluster's is counted in `cores`
