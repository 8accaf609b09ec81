"""Eight commits that lie beside each other, merged without a key; beside a plain copy, synced."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Figure
from bench.world import REGISTERS, SEED, UNTIL
from ingest.synthetic import street
from store import heap
from store.initialising import initialise
from store.settings import Settings
from store.wiring import open_store
from store.writing.writestore import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Plan

NAME = "compaction"
MOST = 1_000 / 300  # ms of a core a MB: 300 MB a second
SIZES = (2_000, 20_000)  # meters, one local month
FEW = (400,)
COMMITS = 8
ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took, in ms a MB of the input files.

    Attributes:
        core: Of the core, for all threads of the one process.
        wall: Of the clock.
        copied: Of the clock, for copying the same files, each synced.
    """

    core: float
    wall: float
    copied: float


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield what a merge costs by size; of several rounds, the quietest."""
    for meters in SIZES if plan.sizes.meters > FEW[-1] else FEW:
        home = plan.folder / f"commits-{meters}"
        _build(home, meters)
        # A process of its own, as `meterkeep compact` is one: nothing that was measured before is
        # in its memory, and no thread of it in its seconds.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            rounds = list(alone.map(_round, [home] * ROUNDS))
        shutil.rmtree(home)
        most = MOST if meters == SIZES[-1] else None  # of small ones, transactions are the cost
        yield from _told(meters, most, [took for took, _ in rounds], rounds[0][1])


def _told(meters: int, most: float | None, rounds: list[Round], what: str) -> Iterator[Figure]:
    core, wall = min(took.core for took in rounds), min(took.wall for took in rounds)
    rates = sorted(1_000 / took.core for took in rounds)
    spread = f"{rates[0]:.0f} to {rates[-1]:.0f} MB/s a core in {len(rounds)} rounds; {what}"
    yield Figure(NAME, f"{meters:,} meters, of one core", core, "ms a MB", most=most, note=spread)
    yield Figure(
        NAME, f"{meters:,} meters, by the clock", wall, "ms a MB", "a plain copy, synced",
        min(took.copied for took in rounds), None, "read back and checked; 1.25 is 80 % of it",
    )  # fmt: skip


def _build(home: Path, meters: int) -> None:
    """Make a store into which every commit put each eighth day of every meter."""
    settings = Settings.from_environment({"METERKEEP_HOME": str(home)})
    initialise(settings)
    with open_store(settings) as store:
        parts = list(street(meters, 1, UNTIL, SEED, registers=REGISTERS))
        for turn in range(COMMITS):
            source = Source(hashlib.sha256(b"%d" % turn).digest(), "synthetic", "", 0, ())
            some = (part.take(part.day % COMMITS == turn) for part in parts)
            store.writes.commit(some, [source])


def _round(home: Path) -> tuple[Round, str]:
    """Compact a copy of the store; return what it took and what was merged.

    The days of the month before are merged first, unmeasured: so that what a process does once,
    for its first statements, is done.
    """
    work = home.with_name("compacted")
    shutil.copytree(home, work)
    os.sync()
    settings = Settings.from_environment({"METERKEEP_HOME": str(work)})
    with open_store(settings, needs_kek=False) as store:
        heap.settle()  # as `meterkeep compact` does
        before, *groups = store.compaction.due().values()
        store.compaction.compact(before)
        size = sum(file.size for files in groups for file in files)
        copied = _copy(settings, groups, work / "copy")
        began, spent = time.perf_counter(), time.process_time()
        for files in groups:
            store.compaction.compact(files)
        wall, spent = time.perf_counter() - began, time.process_time() - spent
    shutil.rmtree(work)
    took = Round(spent / size * 1e9, wall / size * 1e9, copied / size * 1e9)
    return took, f"{size / 1e6:.0f} MB in {sum(map(len, groups))} files of {COMMITS} commits"


def _copy(settings: Settings, groups: list[Any], folder: Path) -> float:
    """Return the seconds that copying the files takes, each synced."""
    began = time.perf_counter()
    folder.mkdir()
    for number, file in enumerate(file for files in groups for file in files):
        target = folder / str(number)
        shutil.copyfile(Path(settings.objects) / file.name, target)
        with target.open("rb+") as copied:
            os.fsync(copied.fileno())
    taken = time.perf_counter() - began
    shutil.rmtree(folder)
    os.sync()  # what the removal leaves to do is nobody's who comes after
    return taken
