"""Counts tell of durations within a bucket, add up whoever counted, and name nobody."""

from __future__ import annotations

import json
import math
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from store import tables
from store.errors import CatalogueError
from store.policy import policy_set, response_rules
from store.targets.timekeeping import EVERY, Tally, Timekeeping
from store.targets.timing_book import HOUR, TimingBook
from store.targets.timings import (
    EDGES,
    LAST,
    SIZES,
    STEP,
    Kind,
    Spread,
    bucket_of,
    size_of,
    together,
)
from tests.world import FakeClock, World

VECTORS = json.loads((Path(__file__).parent / "timings.json").read_text())
POLICY = policy_set.load()
MEASURE = response_rules.load().measure
READ = Kind("4.8.1", "consent", 19_056, "answered")
SECONDS = st.floats(EDGES[0], EDGES[-1]) | st.sampled_from(EDGES)


def spread_of(durations: list[float]) -> Spread:
    tally = Tally(POLICY)
    for seconds in durations:
        tally.count("4.8.1", "OU", 19_008, "answered", seconds)
    return together(tally.take().values())


# ---- what a count tells ----------------------------------------------------------------------


@given(st.lists(SECONDS, min_size=1, max_size=60), st.floats(0.001, 1))
def test_a_quantile_is_never_told_below_the_true_one_nor_a_bucket_above(
    durations: list[float], share: float
) -> None:
    rank = max(1, math.ceil(share * len(durations)))
    true = sorted(durations)[rank - 1]
    told = spread_of(durations).quantile(share)
    assert told is not None
    assert true <= told <= true * STEP * (1 + 1e-12)
    assert told <= max(durations)


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=60))
def test_the_longest_is_told_to_the_second_however_long(durations: list[float]) -> None:
    spread = spread_of(durations)
    assert spread.most == spread.quantile(1.0) == max(durations)
    assert spread.number == len(durations)


@given(st.lists(SECONDS | st.floats(1e-9, 1e9), max_size=60), SECONDS)
def test_how_many_were_within_a_target_lies_between_what_is_told(
    durations: list[float], target: float
) -> None:
    low, high = spread_of(durations).within(target)
    assert low <= sum(seconds <= target for seconds in durations) <= high
    assert high - low <= sum(target / STEP < seconds <= target * STEP for seconds in durations)


@given(st.floats(0, 1e12))
def test_every_duration_has_one_bucket_and_its_edges_hold_it(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert bucket == LAST or seconds <= EDGES[bucket]
    assert bucket == 0 or EDGES[bucket - 1] < seconds


@given(st.lists(st.lists(SECONDS, max_size=9), max_size=5))
def test_several_counts_together_are_the_count_of_all(parts: list[list[float]]) -> None:
    every = [seconds for part in parts for seconds in part]
    assert together(map(spread_of, parts)) == spread_of(every)


def test_nothing_measured_has_no_quantile() -> None:
    assert Spread().quantile(0.5) is None
    assert Spread().within(30) == (0, 0)


def test_a_request_is_of_the_smallest_size_that_holds_it() -> None:
    assert [size_of(n) for n in (0, 1, 48, 49, 504, 505, 19_008, 19_056, 19_057)] == [
        48, 48, 48, 504, 504, 1_488, 19_056, 19_056, 175_680,
    ]  # fmt: skip
    assert size_of(1 << 40) == SIZES[-1]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["says"])
def test_what_a_bucket_means_never_changes(vector: dict[str, Any]) -> None:
    assert bucket_of(vector["given"]["seconds"]) == vector["bucket"]
    if vector["bucket"] < LAST:
        edge = EDGES[vector["bucket"]]
        assert math.isclose(edge, vector["edge"], rel_tol=1e-12)


# ---- the tally -------------------------------------------------------------------------------


def test_only_known_variants_are_counted_so_that_no_caller_fills_the_memory() -> None:
    tally = Tally(POLICY)
    for number in range(1_000):
        tally.count(f"9.{number}", "OU", 48, "answered", 0.001)
        tally.count("4.8.1", f"role{number}", 48, "answered", 0.001)
    assert {(kind.srv, kind.role): spread.number for kind, spread in tally.take().items()} == {
        ("4.8.1", ""): 1_000
    }


def test_what_two_threads_do_to_one_tally_is_all_counted() -> None:
    tally, taken, rounds = Tally(POLICY), list[Spread](), 20_000

    def counting() -> None:
        for number in range(rounds):
            tally.count("4.8.1", "OU", 48 + number % 5_000, "answered", 0.001 * (number % 99 + 1))

    thread, usual = threading.Thread(target=counting), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # seconds: they come in each other's way all the time
    try:
        thread.start()
        while thread.is_alive():
            taken += tally.take().values()
    finally:
        sys.setswitchinterval(usual)
    taken += tally.take().values()
    assert together(taken).number == rounds


def test_a_tally_gives_no_more_at_once_than_a_transaction_takes() -> None:
    tally = Tally(POLICY)
    for bucket in range(LAST):
        for role in ("OU", "IS", "ED", None):
            for size in SIZES:
                tally.count("4.8.1", role, size, "answered", EDGES[bucket])
    sizes = []
    while taken := tally.take():
        sizes.append(sum(len(spread.counts) for spread in taken.values()))
    assert sum(sizes) == LAST * 4 * len(SIZES)
    assert max(sizes) <= 500 + LAST


# ---- the book --------------------------------------------------------------------------------


def keeping(world: World) -> Timekeeping:
    return Timekeeping(world.store.database, world.clock, POLICY, MEASURE)


def test_several_workers_add_up_and_a_restart_forgets_nothing(world: World) -> None:
    workers = [keeping(world) for _ in range(3)]
    for turn, worker in enumerate(workers):
        for seconds in (0.001, 0.002 * (turn + 1), 0.5 + turn):
            worker.tally.count("4.8.1", "OU", 19_008, "answered", seconds)
        worker.tally.count("4.8.1", "OU", 19_008, "refused", 0.001)
        worker.close()
    hour = int(world.clock.now() // HOUR)
    again = TimingBook(world.store.database).read(hour, hour + 1)
    refused = Kind("4.8.1", "consent", 19_056, "refused")
    assert {kind: spread.number for kind, spread in again.items()} == {READ: 9, refused: 3}
    assert again[READ].most == 2.5
    assert again[READ].counts[bucket_of(0.001)] == 3
    assert TimingBook(world.store.database).read(hour + 1, hour + 9) == {}
    assert TimingBook(world.store.database).read(hour - 9, hour) == {}


@pytest.mark.parametrize("durations", [(1.0, 1.05), (1.05, 1.0)], ids=["up", "down"])
def test_the_longest_stays_the_longest_whoever_adds_last(
    world: World, durations: tuple[float, float]
) -> None:
    hour, first = int(world.clock.now() // HOUR), bucket_of(1.05)
    book = TimingBook(world.store.database)
    for seconds in durations:
        book.add(hour, {READ: Spread({first: 1}, seconds)})
    assert book.read(hour, hour + 1)[READ] == Spread({first: 2}, 1.05)


def test_counts_are_added_once_in_a_while_and_not_with_each_answer(home: World) -> None:
    times = keeping(home)
    times.tally.count("4.8.1", "OU", 48, "answered", 0.001)
    times.keep()
    assert home.count(tables.timings) == 0
    home.clock.pass_by(EVERY)
    times.keep()
    assert home.count(tables.timings) == 1
    times.tally.count("4.8.2", "OU", 48, "answered", 0.001)
    times.keep()
    assert home.count(tables.timings) == 1
    home.clock.pass_by(EVERY)
    times.keep()
    assert home.count(tables.timings) == 2


def test_what_could_not_be_added_is_added_the_next_time(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = keeping(home)

    def full(*_: Any) -> None:
        times.tally.count("4.8.1", "OU", 48, "answered", 0.004)  # meanwhile answers go on
        raise CatalogueError("there is no room")

    times.tally.count("4.8.1", "OU", 48, "answered", 0.001)
    with monkeypatch.context() as patch:
        patch.setattr(home.store.database, "hot_write_loose", full)
        with pytest.raises(CatalogueError):
            times.add()
    times.add()
    hour = int(home.clock.now() // HOUR)
    [spread] = times.book.read(hour, hour + 1).values()
    assert (spread.number, spread.most) == (2, 0.004)


def test_hours_past_their_time_go_and_no_other(world: World) -> None:
    times, clock = keeping(world), world.clock
    assert isinstance(clock, FakeClock)
    for _ in range(3):
        times.tally.count("4.8.1", "OU", 48, "answered", 0.001)
        times.add()
        clock.pass_by(HOUR)
    clock.pass_by(MEASURE.kept * 86_400 - 2 * HOUR)
    hour = int(clock.now() // HOUR) - MEASURE.kept * 24
    times.add()
    with world.store.database.read() as connection:
        left = connection.execute(select(tables.timings.c.hour)).scalars().all()
    assert sorted(left) == [hour, hour + 1]


def test_a_count_that_cannot_be_kept_stops_neither_the_log_nor_its_passes(home: World) -> None:
    told: list[str] = []
    done = threading.Event()
    pace = home.store.pace

    def failing() -> None:
        done.set()
        raise CatalogueError("there is no room")

    pace.beside = failing
    pace.start(lambda error: told.append(type(error).__name__))
    assert done.wait(20)
    pace.stop()
    assert told == ["CatalogueError"]
    pace.check()
