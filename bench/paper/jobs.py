"""What runs beside answers: ingest, compaction, exports, erasing, rotation, the log's sequencer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from bench.paper import sizes
from bench.paper.inputs import Inputs
from store.envelope import BOX_SIZE
from store.exports.planning import LARGEST, SLICES, SMALLEST
from store.keys.bucket_keys import BUCKETS
from store.lake.merging import WINDOW
from store.lake.parquet import GROUP_ROWS
from store.log.pace import EVERY, MANY
from store.proofs.tiles import TILE_WIDTH, due
from store.reads import DAY_SLOTS

SECRETS = 8  # names of `secrets`, each once
EXPORT_DAYS = 14  # an export lives
RUN_MEMORY = 100  # bytes of a run while it is merged: as kept, in columns, in order
HOUR = 3_600
_FULL = TILE_WIDTH**2  # a tree some tiles high


@dataclass(frozen=True, slots=True)
class Work:
    """What a job asks.

    Attributes:
        core_hours: Of one core.
        puts: Objects.
        gets: Objects, and ranges of them.
        kms: Calls of the KEK.
        got: Bytes read from objects.
        put: Bytes written to objects.
    """

    core_hours: float = 0.0
    puts: float = 0.0
    gets: float = 0.0
    kms: float = 0.0
    got: float = 0.0
    put: float = 0.0


def groups(rows: float) -> int:
    """Row groups of a file, which is how many ranges its boxes lie in."""
    return math.ceil(rows / GROUP_ROWS)


def ingest_a_day(given: Inputs) -> Work:
    """Return what the deliveries of one day ask; a bucket key is asked for once a process."""
    seconds = given.fleet.meters * given.measured["delivered_us"] / 1e6
    body = sizes.reads_a_day(given) * given.measured["delivered_b_a_read"]
    return Work(seconds / HOUR, puts=sizes.level_0_a_day(given), kms=BUCKETS, put=body)


def compaction_gets(level_0: int, files: int, old_rows: float, new_rows: float) -> int:
    """Ranges that one pass over a register and month gets.

    Of each range of subjects, WINDOW rows at a time, it takes the share of each level-0 object; of
    level 1 its own file, twice (merged, then found again in the output); and reads the output back.

    Args:
        level_0: Objects of level 0, of no more rows to a window than a row group holds.
        files: Files of level 1 that come out.
        old_rows: Rows of level 1 that go in.
        new_rows: Rows of level 0 that go in.
    """
    if not old_rows + new_rows:
        return 0
    rows = (old_rows + new_rows) / files
    windows = math.ceil(rows / WINDOW)
    return files * (level_0 * windows + 2 * groups(old_rows / files) + groups(rows))


def compaction_pass(given: Inputs, day: float) -> Work:
    """Return what a pass on the ``day``-th day of a month asks: the whole month so far."""
    share = 1 / given.fleet.compactions_a_day
    meters = given.fleet.meters
    new, old = meters * share, meters * max(day - share, 0)
    files = sizes.level_1_a_month(meters)
    level_0 = math.ceil(sizes.level_0_a_day(given) * share)
    put = (new + old) * BOX_SIZE
    return Work(
        put * given.measured["compaction_ns_a_byte"] / 1e9 / HOUR,
        puts=files,
        gets=compaction_gets(level_0, files, old, new),
        got=(new + 2 * old) * BOX_SIZE + put,
        put=put,
    )


def compaction_memory(given: Inputs) -> float:
    """Bytes of run indexes that the committing process holds: of level 0, and of level 1."""
    return 2 * given.fleet.meters * RUN_MEMORY


def compaction_a_day(given: Inputs) -> Work:
    """Return what the passes of a mean day ask: those of the middle of a month."""
    one = compaction_pass(given, (sizes.MONTH_DAYS + 1) / 2)
    return scaled(one, given.fleet.compactions_a_day)


def scaled(work: Work, times: float) -> Work:
    """Return ``work`` so many times."""
    return Work(*(getattr(work, name) * times for name in Work.__slots__))


# ---- exports -----------------------------------------------------------------------------------


def reads_of(months: float, presence: float) -> float:
    """Half-hours of one meter in so many months of a mean length."""
    return months * sizes.MONTH_DAYS * DAY_SLOTS * presence


def line(at: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return (ns a half-hour, ns a meter) that explain two costs.

    Args:
        at: Half-hours a meter, and ns a half-hour measured there.
        other: The same of another store.
    """
    (few, dear), (many, cheap) = at, other
    a_meter = (dear - cheap) / (1 / few - 1 / many)
    return dear - a_meter / few, a_meter


def day_rows_ns(given: Inputs) -> tuple[float, float]:
    """Core ns of day rows: a half-hour, and a meter; from the smallest and the largest fleet."""
    measured = given.measured
    return line(
        (reads_of(1, 1), measured["export_days_100000_ns"]),
        (reads_of(13, 1), measured["export_days_1000_ns"]),
    )


def export_core_seconds(given: Inputs, meters: float, months: float, rows: str) -> float:
    """Seconds of cores that an export takes. Half-hour rows cost the ratio measured more."""
    a_half_hour, a_meter = day_rows_ns(given)
    each = reads_of(months, 1)
    seconds = meters * (a_half_hour * each + a_meter) / 1e9
    if rows == "day":
        return seconds
    # By the clock on two cores, so at most twice that of cores.
    dear = 2 * given.measured["export_hours_ns"] / given.measured["export_days_20000_ns"]
    return seconds * dear


def export_slices(meters: float, rows: str) -> int:
    """Slices that an export is cut into; each is a task, of one part for each month."""
    size = min(max(SMALLEST, math.ceil(meters / SLICES)), LARGEST[rows])
    return math.ceil(meters / size)


def export_wall_seconds(given: Inputs, meters: float, months: float, rows: str) -> float:
    """Seconds by the clock at ``workers``: deciding alone, then slices side by side."""
    alone = meters * given.measured["export_decided_us"] / 1e6
    abreast = min(given.fleet.workers, export_slices(meters, rows))
    return alone + export_core_seconds(given, meters, months, rows) / abreast


def export_of(given: Inputs, meters: float, months: int, rows: str) -> Work:
    """Return what an export of ``meters`` for ``months`` UTC months asks."""
    parts = export_slices(meters, rows) * months
    reads = meters * reads_of(months, given.fleet.presence)
    a_read = given.measured["export_days_b" if rows == "day" else "export_hours_b"]
    rows_of_a_part = meters / export_slices(meters, rows) * sizes.MONTH_DAYS
    return Work(
        export_core_seconds(given, meters, months, rows) / HOUR,
        puts=parts,
        gets=parts * max(groups(rows_of_a_part), 1),
        kms=BUCKETS * given.fleet.workers,
        got=reads * given.measured["object_bytes_a_read"],
        put=reads * a_read,
    )


def exports_a_month(given: Inputs) -> Work:
    """Return what all suppliers' monthly exports ask: the month that is over, half-hour rows."""
    suppliers = given.fleet.meters / given.fleet.supplier
    one = export_of(given, given.fleet.supplier, 1, "half-hour")
    return scaled(one, suppliers * given.fleet.exported_a_month)


# ---- keys and the log --------------------------------------------------------------------------


def kek_rotation(given: Inputs) -> tuple[int, float]:
    """Return calls of KMS, and seconds: each bucket key and secret is opened and wrapped anew."""
    calls = 2 * (BUCKETS + SECRETS)
    return calls, calls * given.fleet.kms_ms / 1e3


def bucket_rotation(given: Inputs) -> tuple[int, float]:
    """Return calls of KMS, and at most how many hours: new bucket keys, every DEK wrapped anew."""
    seconds = sizes.customers(given) * given.measured["rewrapped_us"] / 1e6
    return 2 * BUCKETS, seconds / HOUR


def erasing_seconds(given: Inputs, many: float) -> float:
    """Seconds that ``many`` customers take on PostgreSQL, by the clock."""
    return many * given.measured["erased_postgres_ms"] / 1e3


@cache
def puts_of_a_pass(entries: int) -> float:
    """Objects that a pass with ``entries`` new entries puts: mean over where a tile may stand."""
    offsets = range(1, TILE_WIDTH + 1)
    sized = (due(_FULL + at, _FULL + at + entries) for at in offsets)
    return sum(len(one.tiles) + len(one.bundles) for one in sized) / len(offsets) + 1


def passes_a_day(given: Inputs) -> float:
    """Passes that find anything."""
    entries = sizes.entries_a_day(given)
    return max(min(entries, 86_400 / EVERY), entries / MANY)


def log_a_day(given: Inputs) -> Work:
    """Return what the sequencer asks in a day: tiles, bundles, checkpoints."""
    passes, entries = passes_a_day(given), sizes.entries_a_day(given)
    puts = passes * puts_of_a_pass(max(round(entries / passes), 1)) if entries else 0.0
    return Work(puts=puts, gets=passes, put=entries * given.measured["weighed_entry_objects_b"])
