"""Entries that nobody waits for: written with the next, or alone, and not lost by a failure."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import orjson
import pytest
from sqlalchemy import select

from store import tables
from store.errors import CatalogueError
from store.keepers.local import SystemClock
from store.log.writer import ALONG, LATE, MOST_LATE, Entry, Kind
from store.parts import Store
from store.settings import Settings
from store.wiring import open_store
from tests.faults.failing import failing_databases


def actions(store: Store) -> list[str]:
    leaf = tables.leaves.c
    with store.database.read() as connection:
        rows = connection.execute(select(leaf.leaf).order_by(leaf.id)).scalars().all()
    return [orjson.loads(row[1:])["action"] for row in rows]


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; a machine with much to do takes its time."""
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up, "it never came to that"
        time.sleep(LATE / 10)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No late entry is written alone in this test, however long the machine takes for it."""
    monkeypatch.setattr("store.log.writer.LATE", 600.0)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_late_entry_goes_along_with_the_next_one(settings: Settings, unhurried: None) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        for _ in range(ALONG):
            store.log.later(lambda: Entry(Kind.OUTCOME, "late"))
        asyncio.run(store.log.write_async(Entry(Kind.INTENT, "next")))
        assert actions(store)[-1 - ALONG :] == ["next", *["late"] * ALONG]
        assert store.log._ready == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_an_answer_takes_no_few_along(settings: Settings, unhurried: None) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        store.log.later(lambda: Entry(Kind.OUTCOME, "late"))
        asyncio.run(store.log.write_async(Entry(Kind.INTENT, "next")))
        assert actions(store)[-1] == "next"
    with open_store(settings, clock=SystemClock()) as store:
        assert actions(store).count("late") == 1


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_the_bytes_of_an_answer_wait_for_nothing(settings: Settings) -> None:
    """A thousand answers' bodies, ten years each, would be a gigabyte."""
    with open_store(settings, clock=SystemClock()) as store:
        body = bytes(100_000)
        before = sys.getrefcount(body)
        store.log.later(partial(_hashed, body))
        assert sys.getrefcount(body) == before


def _hashed(body: bytes) -> Entry:
    return Entry(Kind.OUTCOME, "late", detail={"sha256": hashlib.sha256(body).hexdigest()})


def test_no_more_late_entries_wait_than_memory_is_set_aside_for(settings: Settings) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        store.log._begin = lambda: None  # type: ignore[method-assign] - nobody takes any
        for _ in range(MOST_LATE + 10):
            store.log.later(lambda: Entry(Kind.OUTCOME, "late"))
        assert len(store.log._ready) == MOST_LATE
        del store.log._begin


def test_late_entries_go_alone_where_nobody_takes_them_and_the_writer_then_sleeps(
    settings: Settings,
) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        for _ in range(2):
            before = actions(store).count("late")
            store.log.later(lambda: Entry(Kind.OUTCOME, "late"))
            until(lambda known=before: actions(store).count("late") > known)
            assert actions(store).count("late") == before + 1
            until(lambda: not store.log._timed)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_late_entry_outlives_the_failure_of_the_one_it_went_along_with(
    settings: Settings,
) -> None:
    with failing_databases() as plan, open_store(settings, clock=SystemClock()) as store:
        asyncio.run(store.log.write_async(Entry(Kind.INTENT, "first")))
        store.log.later(lambda: Entry(Kind.OUTCOME, "late"))
        plan.arm(0, "write")
        with suppress(CatalogueError):  # it is the group of its own, where it came first
            asyncio.run(store.log.write_async(Entry(Kind.INTENT, "next")))
        assert plan.disarm()
        until(lambda: "late" in actions(store))
        assert actions(store).count("late") == 1


def test_what_is_late_is_written_before_the_store_is_closed(settings: Settings) -> None:
    with open_store(settings, clock=SystemClock()) as store:
        for at in range(300):
            store.log.later(lambda at=at: Entry(Kind.OUTCOME, f"late {at}"))
        store.log.later(lambda: orjson.loads("{"))  # one that cannot be made stops nothing
    with open_store(settings, clock=SystemClock()) as store:
        assert {f"late {at}" for at in range(300)} <= set(actions(store))
        assert store.sequencer.run()
