"""The model against runs of `bench`: what it says of them, and what they measured.

Where a figure went into the model, another one is asked for here: never the same.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.paper import answers, jobs, sizes
from bench.paper.inputs import Inputs
from store.envelope import BOX_SIZE
from store.facts.erasing import TOGETHER

WEIGHED = 2_000  # meters of `bench.weighing`
WEIGHED_DAYS = (31, 1)  # UTC days of its two UTC months
ANSWERS, PASS = 4_096, 128  # whose entries it wrote, and how many to a pass


class Check(NamedTuple):
    """One thing that was said and measured.

    Attributes:
        basis: Of what the model says it.
    """

    what: str
    says: float
    measured: float
    unit: str
    basis: str

    @property
    def error(self) -> float:
        """By what share the model is too high."""
        return self.says / self.measured - 1


def checks(given: Inputs) -> list[Check]:
    """Return every check."""
    return [*_stored(given), *_requests(given), *_times(given)]


def _stored(given: Inputs) -> list[Check]:
    measured = given.measured
    box = sizes.box_bytes_a_read(sizes.BENCH_PRESENCE)
    per_meter = measured["weighed_customer_b"] + 14 * measured["weighed_run_b"]
    reads = jobs.reads_of(13, sizes.BENCH_PRESENCE)
    home = measured["object_bytes_a_read"] + per_meter / reads
    return [
        Check("bytes a read, compacted", box, measured["object_bytes_a_read"], "B",
              "the format: 146 bytes a meter-day"),
        Check("bytes a read with catalogue and keys, SQLite", home, measured["home_bytes_a_read"],
              "B", "rows as PostgreSQL weighs them"),
        Check("largest range of an answer", answers.largest_range() / 1024,
              measured["largest_range_kib"], "KiB", "the format: 31 boxes"),
    ]  # fmt: skip


def _requests(given: Inputs) -> list[Check]:
    measured = given.measured
    gets = sum(jobs.compaction_gets(days, 1, 0, WEIGHED * days) for days in WEIGHED_DAYS)
    parts = jobs.export_slices(WEIGHED, "half-hour") * len(WEIGHED_DAYS)
    passes = ANSWERS / PASS
    return [
        Check("ranges of an answer, 13 months", answers.months_touched(13),
              measured["answer_ranges"], "", "one a UTC month"),
        Check("objects put by 32 deliveries", sum(WEIGHED_DAYS), measured["delivered_puts"], "",
              "one a delivery and month"),
        Check("objects after compaction", sizes.level_1_a_month(WEIGHED) * len(WEIGHED_DAYS),
              measured["compacted_puts"], "", "one a month and 20,000 meters"),
        Check("ranges that compaction gets", gets, measured["compacted_gets"], "",
              "one an object of level 0, one a row group read back"),
        Check("bytes it gets for each that it puts", 2 * BOX_SIZE / sizes.row_bytes(given),
              measured["compacted_got_of_put"], "", "the boxes in, and again out"),
        Check("ranges that an export gets", parts, measured["export_gets"], "", "one a part"),
        Check("objects that an export puts", parts, measured["export_puts"], "", "one a part"),
        Check("objects that the log puts", passes * jobs.puts_of_a_pass(2 * PASS),
              measured["log_puts"], "", "the tiles of C2SP"),
        Check("KMS calls for the keys of 2,000 customers", sizes.buckets_of(WEIGHED),
              measured["new_key_calls"], "", "one a bucket: drawn at random"),
    ]  # fmt: skip


def _times(given: Inputs) -> list[Check]:
    measured = given.measured
    middle = jobs.export_core_seconds(given, 20_000, 3, "day")
    really = measured["export_days_20000_ns"] * 20_000 * jobs.reads_of(3, 1) / 1e9
    one, many = measured["erased_one_ms"] / 1e3, measured["erased_many_s"]
    compacting = WEIGHED * sum(WEIGHED_DAYS) * BOX_SIZE * measured["compaction_ns_a_byte"] / 1e9
    return [
        Check("exporting 20,000 meters, 3 months, day rows", middle, really, "core s",
              "a line through 1,000 meters and 100,000"),
        Check("erasing 1,000 customers, SQLite", erased_seconds(1_000, one, many),
              measured["erased_some_s"], "s", "one alone, and 100,000"),
        Check("compacting 2,000 meters in 32 deliveries", compacting, measured["compacted_s"],
              "core s", "bytes a second of 20,000 meters in 8"),
    ]  # fmt: skip


def erased_seconds(customers: int, one: float, hundred_thousand: float) -> float:
    """Seconds that erasing takes: so much a transaction of 128, and so much a customer."""
    transactions = -(-customers // TOGETHER)
    all_of_them = 100_000 / TOGETHER
    each = (hundred_thousand - all_of_them * one) / (100_000 - all_of_them)
    return transactions * (one - each) + customers * each
