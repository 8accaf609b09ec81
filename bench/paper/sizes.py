"""What lies where: objects, rows of the database, bytes of both. Bytes unless a name says other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.paper.inputs import Inputs
from store.envelope import BOX_SIZE
from store.keys.bucket_keys import BUCKETS
from store.lake.compaction import MOST_METERS
from store.reads import DAY_SLOTS

GB = 1e9  # as AWS bills: 10^9 here, 2^30 there; the difference is within the model's
MONTH_DAYS = 365.25 / 12
MONTH_HOURS = MONTH_DAYS * 24
YEAR_MONTHS = 12
ANSWER_ENTRIES = 2  # an intent and an outcome
BENCH_PRESENCE = 0.9993  # of the half-hours of the homes that `bench` draws


def reads_a_day(given: Inputs) -> float:
    """Half-hours that arrive on one day."""
    return given.fleet.meters * DAY_SLOTS * given.fleet.presence


def reads_kept(given: Inputs, months: float) -> float:
    """Half-hours of ``months`` months."""
    return reads_a_day(given) * MONTH_DAYS * months


def box_bytes_a_read(presence: float) -> float:
    """Bytes that the sealed box alone takes of each read that arrived, by the format."""
    return BOX_SIZE / DAY_SLOTS / presence


def object_bytes(given: Inputs, months: float) -> float:
    """Compacted rows of ``months`` months; a row is as wide whatever is missing in it."""
    return given.fleet.meters * MONTH_DAYS * months * row_bytes(given)


def row_bytes(given: Inputs) -> float:
    """Bytes of a compacted meter-day, as `bench` measured them of its own homes."""
    return DAY_SLOTS * given.measured["object_bytes_a_read"] * BENCH_PRESENCE


def level_1_a_month(meters: float) -> int:
    """Objects of one register and month after compaction."""
    return math.ceil(meters / MOST_METERS)


def level_1_objects(given: Inputs, months: float) -> int:
    """Objects of ``months`` months after compaction; each month is a prefix."""
    return level_1_a_month(given.fleet.meters) * math.ceil(months)


def level_0_a_day(given: Inputs) -> int:
    """Objects that a day's deliveries put."""
    return math.ceil(given.fleet.meters / given.fleet.meters_of_an_object)


def buckets_of(customers: float) -> float:
    """Key buckets that hold at least one of ``customers``, drawn at random."""
    return BUCKETS * -math.expm1(customers * math.log1p(-1 / BUCKETS))


def customers(given: Inputs) -> float:
    """Customers with a key: who lives there, and who did while anything of them is kept."""
    moved = given.fleet.moves_a_year * given.fleet.months_kept / YEAR_MONTHS
    return given.fleet.meters * (1 + moved)


def answers_a_day(given: Inputs) -> float:
    """Whole answers."""
    return given.fleet.meters * given.fleet.answers_a_meter_month / MONTH_DAYS


def entries_a_day(given: Inputs) -> float:
    """Entries of the log: of answers, and of who moved, 64 facts to an entry of those."""
    moves = given.fleet.meters * given.fleet.moves_a_year / 365.25
    facts = moves * (1 + given.fleet.registrations) + given.fleet.erased_a_day
    return answers_a_day(given) * ANSWER_ENTRIES + facts


@dataclass(frozen=True, slots=True)
class Database:
    """Bytes of PostgreSQL, by what they hold; packed but for ``slack``."""

    customers: float
    registrations: float
    runs: float
    log: float
    slack: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.customers + self.registrations + self.runs + self.log + self.slack


def database(given: Inputs) -> Database:
    """Return what the database holds once ``months_kept`` are full."""
    weight, kept = given.measured, given.fleet.months_kept
    people = customers(given)
    parts = (
        people * weight["weighed_customer_b"],
        people * given.fleet.registrations * weight["weighed_registration_b"],
        given.fleet.meters * kept * weight["weighed_run_b"],
        entries_a_day(given) * MONTH_DAYS * kept * weight["weighed_entry_b"],
    )
    return Database(*parts, slack=sum(parts) * (given.fleet.database_slack - 1))


def log_object_bytes(given: Inputs) -> float:
    """Tiles and bundles of as many years as anything is kept."""
    days = MONTH_DAYS * given.fleet.months_kept
    return entries_a_day(given) * days * given.measured["weighed_entry_objects_b"]


def deleted_bytes(given: Inputs, days: float) -> float:
    """Versions of objects that were deleted, kept ``days`` days, so that a backup finds them."""
    rows = given.fleet.meters * (1 + rewritten_days(given))
    return rows * days * row_bytes(given)


def rewritten_days(given: Inputs) -> float:
    """Days of reads that compaction writes on a mean day: each pass writes the month so far."""
    return (MONTH_DAYS + 1) / 2 * given.fleet.compactions_a_day
