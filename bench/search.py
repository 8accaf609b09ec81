"""Who read this customer's data, asked of a log of ten million entries.

The index's rows are written in bulk, as `LogIndex.note` would leave them: half of the entries are
intents, each followed by its outcome; a customer has a hundred, spread over the whole time. Those
of the customers that are asked about have leaves and details too, so that each is read off its leaf
and held to it, as for an auditor. SQLite, on a real disk.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Figure, median, quantile
from bench.plan import FULL
from store.audit.rows import place_of
from store.audit.search import LogSearch
from store.audit.wanted import Wanted
from store.initialising import initialise
from store.log.writer import Entry, Kind, canonical, encode
from store.settings import Settings
from store.sql.database import Database

if TYPE_CHECKING:
    from bench.plan import Plan

NAME = "search"
MANY, FEW = 10_000_000, 200_000  # entries: of a run whose figures are quoted, of a quick one
EACH = 100  # intents about one customer
ASKED = 400  # customers
MOST = 50.0  # ms
YEAR, START, STEP = 2026, 1_767_225_600_000, 50  # ms: when the log begins, from entry to entry
FIRST = place_of(YEAR, 0)
HALF_HOURS = 19_010
KEY = b"k" * 32
# An odd number reorders 32 bits: identifiers are scattered as random ones are.
_SCATTERED = "cast(printf('%08x%08x', ({i} * 2654435761) & 4294967295, {i}) AS blob)"


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield p50 and p99 of one page of a customer's entries."""
    count = MANY if plan.sizes == FULL else FEW
    settings = Settings.from_environment({"METERKEEP_HOME": str(plan.folder / "searched")})
    initialise(settings)
    file, began = settings.home / "catalogue.db", time.perf_counter()
    customers = count // 2 // EACH
    asked = [n * (customers // ASKED) for n in range(ASKED)]
    _fill(file, count, customers, asked)
    built, size = time.perf_counter() - began, file.stat().st_size
    database = Database(settings.database_url)
    first, *taken = [_timed(LogSearch(database), customer) for customer in asked]
    database.close()
    yield Figure(
        NAME, f"search by subject in {count:,} entries, p50", median(taken), "ms", most=MOST,
        note=f"a page of {EACH} entries with their outcomes, each held to its leaf; "
        f"{customers:,} customers; {size / count:.0f} bytes an entry, in bulk in {built:.0f} s",
    )  # fmt: skip
    yield Figure(
        NAME, "the same, p99", quantile(taken, 0.99), "ms", most=MOST,
        note=f"of {ASKED - 1} customers, each asked about once; the very first question of the "
        f"process, which writes the SQL too, took {first:.0f} ms",
    )  # fmt: skip


def _timed(search: LogSearch, customer: int) -> float:
    wanted = Wanted(subjects=(_scattered(customer),))
    began = time.perf_counter()
    found = search.page(wanted, None, EACH, newest=True).found
    taken = (time.perf_counter() - began) * 1e3
    if len(found) != EACH or any(one.state != "kept" or one.outcome is None for one in found):
        raise AssertionError("the search did not find what was written")
    return taken


def _scattered(number: int) -> bytes:
    return f"{number * 2_654_435_761 & 0xFFFFFFFF:08x}{number:08x}".encode()


def _fill(file: Path, count: int, customers: int, asked: list[int]) -> None:
    """Write an index of ``count`` entries, with the leaves of the ``asked`` customers' alone."""
    connection = sqlite3.connect(file)
    for pragma in ("synchronous=OFF", "cache_size=-400000"):
        connection.execute(f"PRAGMA {pragma}")
    made = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
        "AND tbl_name IN ('log_entries', 'log_subjects')"
    ).fetchall()
    for name, _ in made:
        connection.execute(f"DROP INDEX {name}")
    numbers = (
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1) "
    )
    entry, intent = _SCATTERED.format(i="i"), _SCATTERED.format(i="(i - 1)")
    connection.execute(
        f"INSERT INTO log_entries {numbers} SELECT {FIRST} + i, {entry}, {START} + {STEP} * i, "
        "iif(i % 2, 'outcome', 'intent'), printf('p_%016x', i / 2 % 200), 'read 4.8.1', "
        f"iif(i % 2, 'released', 'allow'), NULL, {HALF_HOURS}, iif(i % 2, {intent}, NULL), 0 FROM n"
    )
    subject = _SCATTERED.format(i=f"(i / 2 % {customers})")
    connection.execute(
        f"INSERT INTO log_subjects {numbers} SELECT {subject}, {FIRST} + i FROM n "
        "WHERE i % 2 = 0 ORDER BY 1, 2"
    )
    for _, sql in made:
        connection.execute(sql)
    for customer in asked:
        for intent_at in range(2 * customer, count, 2 * customers):
            _write(connection, intent_at)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _write(connection: sqlite3.Connection, at: int) -> None:
    """Write the leaves and details of one intent and its outcome."""
    rests = [{"basis": "opt-in", "reference": "domestic", "entry": "00" * 16, "subject": "00" * 16}]
    intent = {"half_hours": HALF_HOURS, "rests_on": rests, "registers": ["active_import"]}
    left = {"intent": _scattered(at).hex(), "half_hours": HALF_HOURS, "sha256": "00" * 32}
    party = f"p_{at // 2 % 200:016x}"
    for place, kind, decision, detail in (
        (at, Kind.INTENT, "allow", intent), (at + 1, Kind.OUTCOME, "released", left),
    ):  # fmt: skip
        said: Any = Entry(kind, "read 4.8.1", party, decision)
        when, text = (START + STEP * place + 0.5) / 1000, canonical(detail)
        leaf = encode(said, _scattered(place), when, KEY, text)
        connection.execute(
            "INSERT INTO leaves (entry, shard, position, at, leaf) VALUES (?, ?, ?, ?, ?)",
            (_scattered(place), YEAR, place, when, leaf),
        )
        connection.execute(
            "INSERT INTO details VALUES (?, ?, ?)", (_scattered(place), KEY, text.decode())
        )
