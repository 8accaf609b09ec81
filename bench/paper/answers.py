"""What answers ask: requests, calls, cores, time, and how much of the database."""

from __future__ import annotations

import math

from bench.paper import sizes
from bench.paper.inputs import Inputs
from store.envelope import BOX_SIZE
from store.keys.bucket_keys import BUCKET_LIFE, BUCKETS
from store.lake.compaction import MOST_METERS
from store.reads import DAY_SLOTS

CLIENT_CORES = 2  # of bench's machine: service, database and client share them
ROWS_LOOKED_AT = (
    8  # pages of tables that an answer reads besides the run index: tenancy, DEK, facts
)
MILLION = 1e6


def months_touched(local_months: float) -> int:
    """UTC months that so many local months touch: one more, for local midnight is not UTC's."""
    return math.ceil(local_months) + 1


def ranges(given: Inputs) -> float:
    """Ranges of objects that an answer gets: one a month and, on average, half a day's level 0."""
    waiting = 0.5 / given.fleet.compactions_a_day
    return months_touched(given.fleet.answer_months) + waiting


def largest_range(days: int = 31) -> int:
    """Bytes of the longest range of one delivery a day."""
    return days * BOX_SIZE


def bytes_got(given: Inputs) -> float:
    """Bytes of sealed rows that an answer fetches."""
    return given.fleet.answer_months * sizes.MONTH_DAYS * BOX_SIZE


def half_hours(given: Inputs) -> float:
    """Half-hours of an answer."""
    return given.fleet.answer_months * sizes.MONTH_DAYS * DAY_SLOTS


def kms_calls(given: Inputs) -> float:
    """KMS calls of an answer about a customer drawn at random: 1 unless its bucket is known.

    A process knows the buckets that it was asked about within BUCKET_LIFE.
    """
    per_process = sizes.answers_a_day(given) / 86_400 / given.fleet.processes
    known = sizes.buckets_of(per_process * BUCKET_LIFE)
    return given.measured["kek_cold"] * (1 - known / BUCKETS)


def core_seconds(given: Inputs) -> float:
    """Core seconds of an answer: at most, for database and client had the same cores."""
    return CLIENT_CORES / given.measured["answers_a_second"]


def found_ms(given: Inputs, files_a_month: float) -> float:
    """Milliseconds in which the catalogue finds the files of an answer, by the line measured."""
    few, many = given.measured["few_files_ms"], given.measured["many_files_ms"]
    slope = max(many - few, 0) / (_MANY_FILES - 1)
    return few + slope * max(files_a_month - 1, 0)


_MANY_FILES = 1_500


def answer_ms(given: Inputs, *, cold: bool) -> float:
    """Milliseconds of an answer at this size: what was measured, and what is farther away."""
    files = math.ceil(given.fleet.meters / MOST_METERS)
    more = found_ms(given, files) - found_ms(given, 1)
    kms = given.fleet.kms_ms if cold else 0
    return given.measured["answer_ms"] + more + given.fleet.get_ms + kms


def answers_a_second(given: Inputs, *, peak: bool) -> float:
    """Whole answers a second."""
    return sizes.answers_a_day(given) / 86_400 * (given.fleet.peak if peak else 1)


def cores(given: Inputs) -> int:
    """Cores that answer at the peak; at least two in each of two zones."""
    busy = answers_a_second(given, peak=True) * core_seconds(given)
    return max(math.ceil(busy / given.fleet.busy), 4)


def database_writes(given: Inputs) -> float:
    """Commits a second of the database at the peak, at most: an intent and an outcome each."""
    return answers_a_second(given, peak=True) * sizes.ANSWER_ENTRIES


def database_reads(given: Inputs) -> float:
    """Pages a second that answers read at the peak, at most: as if none were in memory."""
    each = months_touched(given.fleet.answer_months) + ROWS_LOOKED_AT
    return answers_a_second(given, peak=True) * each


def usd_a_million(given: Inputs) -> dict[str, float]:
    """US dollars that a million answers cost, by part; what runs all the time is not in it."""
    prices = given.prices
    vcpu = prices.core_hour + 2 * prices.memory_gb_hour
    entries = sizes.ANSWER_ENTRIES * given.measured["weighed_entry_b"]
    months = given.fleet.months_kept
    return {
        "ranges of objects": ranges(given) * prices.s3_get * MILLION,
        "KMS": kms_calls(given) * prices.kms_call * MILLION,
        "cores": core_seconds(given) / 3_600 * vcpu * MILLION,
        "their log entries in the database, kept to the end":
            entries / sizes.GB * MILLION * 2 * prices.database_gb_month * months,
    }  # fmt: skip
