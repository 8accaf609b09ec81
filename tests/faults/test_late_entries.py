"""Entries that nobody waits for: written with the next, or alone, and not lost by a failure."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import orjson
import pytest
from sqlalchemy import select

from store import tables
from store.errors import CatalogueError
from store.local import SystemClock
from store.log import LATE, Entry, Kind
from store.wiring import Settings, Store, open_store
from tests.faults.failing import failing_databases


def actions(store: Store) -> list[str]:
    leaf = tables.leaves.c
    with store.database.read() as connection:
        rows = connection.execute(select(leaf.leaf).order_by(leaf.id)).scalars().all()
    return [orjson.loads(row[1:])["action"] for row in rows]


def ready(store: Store) -> None:
    for _ in range(100):
        if store.log._ready:
            return
        time.sleep(LATE / 10)
    raise AssertionError("it was never made ready")


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_late_entry_goes_along_with_the_next_one(settings: Settings) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        store.log.later(lambda: Entry(Kind.OUTCOME, "late"))
        ready(store)
        asyncio.run(store.log.write_async(Entry(Kind.INTENT, "next")))
        assert actions(store)[-2:] == ["next", "late"]
        assert store.log._ready == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_late_entry_outlives_the_failure_of_the_one_it_went_along_with(
    settings: Settings,
) -> None:
    with failing_databases() as plan, open_store(settings, clock=SystemClock()) as store:
        asyncio.run(store.log.write_async(Entry(Kind.INTENT, "first")))
        store.log.later(lambda: Entry(Kind.OUTCOME, "late"))
        ready(store)
        plan.arm(0, "write")
        with suppress(CatalogueError):  # it is the group of its own, where it came first
            asyncio.run(store.log.write_async(Entry(Kind.INTENT, "next")))
        assert plan.disarm()
        for _ in range(100):
            if "late" in actions(store):
                break
            time.sleep(LATE / 10)
        assert actions(store).count("late") == 1


def test_what_is_late_is_written_before_the_store_is_closed(settings: Settings) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        for at in range(300):
            store.log.later(lambda at=at: Entry(Kind.OUTCOME, f"late {at}"))  # type: ignore[misc]
        store.log.later(lambda: orjson.loads("{"))  # one that cannot be made stops nothing
    with open_store(settings, clock=SystemClock()) as store:
        assert {f"late {at}" for at in range(300)} <= set(actions(store))
        assert store.sequencer.run()
