"""Merging and clearing: no key in the process, no answer changed, nothing half gone."""

from __future__ import annotations

import hashlib
import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store import tables
from store.envelope import BOX_SIZE
from store.errors import CommitConflictError, KekError, ObjectError
from store.lake import compaction, merging, parquet
from store.lake.batches import LEASE
from store.lake.compaction import GRACE
from store.lake.files import LiveFile
from store.reads import DAY_SLOTS, MeterDays, Register
from store.settings import Settings
from store.writing.quarantine import Rejected
from store.writing.writestore import Source
from tests.world import DAY, FakeClock, World, days_of, mpan, opened, several, watched, window_of

HOMES = range(1, 4)
SPAN = 40  # days, two calendar months


def live_through(world: World) -> list[int]:
    """Let four commits and a revert happen; return every commit number."""
    drawn = np.random.default_rng(3)

    def read() -> int | None:
        return int(drawn.integers(900)) if drawn.random() < 0.8 else None

    def some(number: int, step: int) -> MeterDays:
        days = [(DAY + at, [read() for _ in range(48)]) for at in range(0, SPAN, step)]
        return days_of(mpan(number), *days)

    numbers = [world.keep(several(*(some(number, 1) for number in HOMES))).number]
    numbers += [world.keep(some(1, 5), some(2, 3)).number]
    world.clock.pass_by(60)
    numbers += [world.keep(some(1, 7)).number]
    numbers += [world.store.writes.revert(numbers[1])]
    numbers += [world.keep(some(3, 9)).number]
    for number in HOMES:
        world.allow(mpan(number))
    return numbers


def every_answer(world: World, numbers: list[int]) -> list[list[int | None]]:
    moments: list[float | None] = [None, *numbers, world.clock.now() - 30.0]
    windows = [window_of(DAY, SPAN), window_of(DAY + 3, 2)]
    return [
        world.reads(mpan(home), window, as_of=as_of)
        for home, window, as_of in itertools.product(HOMES, windows, moments)
    ]


@pytest.mark.parametrize("meters", [2, 20_000])
def test_compaction_changes_no_answer_now_or_as_of_then(world: World, meters: int) -> None:
    numbers = live_through(world)
    before = every_answer(world, numbers)
    assert len({str(answer) for answer in before}) > 10
    assert world.compact(most_meters=meters) == 2
    assert every_answer(world, numbers) == before
    assert world.compact() == 0
    assert len(world.live()) == (4 if meters == 2 else 2)
    numbers.append(world.store.writes.revert(numbers[2]))
    after = every_answer(world, numbers)
    world.store.compaction.sweep(grace=-1)
    assert every_answer(world, numbers) == after != before
    kept = {name for name in world.names() if not name.startswith("journal/")}  # of the reverts
    assert kept == set(world.live())


def test_after_compaction_an_answer_takes_one_range_a_month_and_register(
    settings: Settings, clock: FakeClock
) -> None:
    with watched(settings, clock) as (world, keeper):
        for at in range(3):
            second = days_of(mpan(1), (DAY + at, [at]), register=Register.ACTIVE_IMPORT_SECONDARY)
            world.keep(several(days_of(mpan(1), (DAY + at, [at]), (DAY + 35, [at])), second))
        world.allow(mpan(1))
        world.answer(mpan(1), window_of(DAY, SPAN))
        world.compact()
        del keeper.asked[1:]  # the compaction's own
        world.answer(mpan(1), window_of(DAY, SPAN))
        before, after = ([r.name.split("/")[:2] for r in asked] for asked in keeper.asked)
        assert len(before) == 9
        assert sorted(map(tuple, after)) == sorted(set(map(tuple, before)))
        assert len(after) == 3
        assert max(part.length for part in keeper.asked[-1]) <= 16 * 1024


def test_level_nought_and_level_one_merge_again(world: World) -> None:
    world.allow(mpan(1))
    for value in range(1, 4):
        world.keep(days_of(mpan(1), (DAY, [value])))
        assert world.compact() == 1
        assert world.reads(mpan(1), window_of(DAY))[0] == value
        assert len(world.live()) == 1


def test_of_two_compactions_at_once_one_conflicts_and_nothing_is_lost(world: World) -> None:
    for value in (1, 2):
        world.keep(days_of(mpan(1), (DAY, [value])))
    world.allow(mpan(1))
    [files] = world.store.compaction.due().values()
    world.store.compaction.compact(files)
    names = world.names()
    with pytest.raises(CommitConflictError):
        world.store.compaction.compact(files)
    assert world.names() == names
    assert world.reads(mpan(1), window_of(DAY))[0] == 2
    world.clock.pass_by(LEASE + 1)
    for _ in range(2):
        world.store.compaction.sweep()
        world.clock.pass_by(GRACE + 1)
    assert world.names() == set(world.live())
    assert world.reads(mpan(1), window_of(DAY))[0] == 2


def test_a_commit_during_a_compaction_is_kept(settings: Settings, clock: FakeClock) -> None:
    with watched(settings, clock) as (world, keeper):
        world.keep(days_of(mpan(1), (DAY, [1, 1])))
        world.allow(mpan(1))

        def meanwhile() -> None:
            keeper.before.clear()
            world.keep(days_of(mpan(1), (DAY, [None, 2])))

        keeper.before["put"] = meanwhile
        world.compact()
        assert world.reads(mpan(1), window_of(DAY))[:2] == [1, 2]


def test_housekeeping_holds_no_key(settings: Settings, clock: FakeClock) -> None:
    with opened(settings, clock) as world:
        for value in (1, 2):
            world.keep(days_of(mpan(1), (DAY, [value])))
        world.allow(mpan(1))
        parties = world.parties
    kept = settings.kek
    if not kept.startswith("aws-kms:"):
        Path(kept).rename(kept + ".away")
    with opened(settings, clock, needs_kek=False) as keyless:
        store = keyless.store
        for part in (
            "keys",
            "facts",
            "writes",
            "reads",
            "quarantine",
            "moving",
            "sequencer",
            "tree",
        ):
            with pytest.raises(KekError):
                getattr(store, part)
        assert keyless.compact() == 1
        clock.pass_by(GRACE + 1)
        assert store.compaction.sweep().files == 2
        assert len([name for name in keyless.names() if not name.startswith("log/")]) == 1
    if not kept.startswith("aws-kms:"):
        Path(kept + ".away").rename(kept)
    with opened(settings, clock) as world:
        world.parties = parties
        assert world.reads(mpan(1), window_of(DAY))[0] == 2


def test_a_reader_whose_file_was_compacted_away_looks_once_more(
    settings: Settings, clock: FakeClock
) -> None:
    with watched(settings, clock) as (world, keeper):
        for value in (1, 2):
            world.keep(days_of(mpan(1), (DAY, [value])))
        world.allow(mpan(1))

        def meanwhile() -> None:
            keeper.before.clear()
            world.compact()
            world.store.compaction.sweep(grace=-1)
            keeper.asked.clear()  # the compaction's own

        keeper.before["ranges"] = meanwhile
        assert world.reads(mpan(1), window_of(DAY))[0] == 2
        assert [len(asked) for asked in keeper.asked] == [2, 1]


def forged(world: World, month: int, meters: int) -> list[LiveFile]:
    """Let four commits of seven days each stand beside each other; nobody could open a box."""
    catalogue = world.store.catalogue
    first = np.datetime64(f"{month // 12}-{month % 12 + 1:02}-01").astype(int)
    subjects = sorted(hashlib.sha256(b"%d" % n).digest()[:16] for n in range(meters))
    for turn in range(4):
        batch = catalogue.reserve()
        boxes = np.zeros((meters, 7), parquet.BOX)
        boxes["day"], boxes["batch"] = first + turn + 4 * np.arange(7), batch
        rows = parquet.Sealed(subjects, [7] * meters, boxes.tobytes())
        new = parquet.build(Register.ACTIVE_IMPORT, month, 0, batch, rows)
        catalogue.register(batch, [new])
        world.store.objects.put(new.name, new.body)
        with world.store.database.write() as connection:
            catalogue.publish(connection, batch, 1)
    return world.store.compaction.due()[Register.ACTIVE_IMPORT, month]


def test_memory_of_a_compaction_does_not_grow_with_what_it_merges(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows go in by windows and out by files; both are small whatever the fleet is."""
    monkeypatch.setattr(compaction, "MOST_ROWS", 8_000)
    monkeypatch.setattr(merging, "WINDOW", 8_000)
    home.store.compaction.compact(forged(home, 24_300, 10))  # what is loaded once is loaded
    peaks, made = [], []
    for month, meters in ((24_301, 600), (24_302, 2_400)):
        files = forged(home, month, meters)
        tracemalloc.start()
        made.append(home.store.compaction.compact(files).files_after)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert made == [3, 9]
    assert peaks[1] < 1.3 * peaks[0] < 15e6, peaks


# ---- sweep -----------------------------------------------------------------------------------


def test_a_slow_writer_whose_lease_was_swept_fails_whole_and_leaves_nothing(world: World) -> None:
    line = Rejected(2, "negative", "a,-1")

    def slowly() -> Iterator[MeterDays]:
        yield days_of(mpan(1), (DAY, [1]))
        world.clock.pass_by(LEASE + 1)
        world.store.compaction.sweep()
        yield days_of(mpan(2), (DAY, [2]))

    with pytest.raises(CommitConflictError):
        world.store.writes.commit(slowly(), [Source(b"d" * 32, "csv", "", 2, [line])])
    assert world.live() == []
    assert world.names() == set()
    assert world.store.writes.seen(b"d" * 32, "csv") is None
    assert world.store.quarantine.listing() == []
    world.clock.pass_by(LEASE + GRACE)
    for _ in range(3):
        world.clock.pass_by(GRACE + 1)
        world.store.compaction.sweep()
    assert [world.count(t) for t in (tables.files, tables.runs, tables.batches)] == [0, 0, 0]
    assert world.count(tables.rejected) == 0
    assert world.count(tables.commits) == 0


def test_a_writer_swept_while_its_last_file_was_put_fails_whole(
    settings: Settings, clock: FakeClock
) -> None:
    with watched(settings, clock) as (world, keeper):

        def late() -> None:
            keeper.before.clear()
            clock.pass_by(LEASE + 1)
            world.store.compaction.sweep()

        keeper.before["put"] = late
        with pytest.raises(CommitConflictError):
            world.keep(days_of(mpan(1), (DAY, [1])))
        assert world.live() == []
        for _ in range(3):
            clock.pass_by(GRACE + 1)
            world.store.compaction.sweep()
        assert world.names() == set()
        assert world.count(tables.files) == world.count(tables.commits) == 0


def test_sweep_leaves_a_writer_alone_who_is_within_its_lease(world: World) -> None:
    def in_time() -> Iterator[MeterDays]:
        yield days_of(mpan(1), (DAY, [1]))
        world.clock.pass_by(LEASE - 1)
        world.store.compaction.sweep()
        yield days_of(mpan(2), (DAY, [2]))

    world.store.writes.commit(in_time(), [])
    world.allow(mpan(1))
    assert world.reads(mpan(1), window_of(DAY))[0] == 1
    assert len(world.names()) == 2


def test_an_object_put_after_its_sweep_is_cleared_by_the_next(world: World) -> None:
    """The writer hangs between naming its file and putting it, and wakes up after the sweep."""
    batch = world.store.catalogue.reserve()
    rows = parquet.Sealed([b"s" * 16], [1], bytes(BOX_SIZE))
    new = parquet.build(Register.ACTIVE_IMPORT, 24_306, 0, batch, rows)
    world.store.catalogue.register(batch, [new])
    world.clock.pass_by(LEASE + 1)
    world.store.compaction.sweep()
    world.store.objects.put(new.name, new.body)
    world.clock.pass_by(GRACE + 1)
    world.store.compaction.sweep()
    assert world.names() == set()
    assert world.count(tables.files) == 0


def test_a_sweep_that_died_in_the_middle_is_taken_up(settings: Settings, clock: FakeClock) -> None:
    with watched(settings, clock) as (world, keeper):
        for value in (1, 2, 3):
            world.keep(days_of(mpan(1), (DAY, [value])))
        world.allow(mpan(1))
        world.compact()
        clock.pass_by(GRACE + 1)
        countdown = iter([None, None])

        def die() -> None:
            if next(countdown, "dead") == "dead":
                raise ObjectError("the machine stops here")

        keeper.before["delete"] = die
        with pytest.raises(ObjectError):
            world.store.compaction.sweep()
        assert len(world.names()) == 2
        keeper.before.clear()
        assert world.store.compaction.sweep().files == 1
        assert world.names() == set(world.live())
        assert world.reads(mpan(1), window_of(DAY))[0] == 3


def test_dead_files_stay_for_readers_until_their_grace_is_over(world: World) -> None:
    for value in (1, 2):
        world.keep(days_of(mpan(1), (DAY, [value])))
    world.compact()
    world.store.compaction.sweep()
    assert len(world.names()) == 3
    world.clock.pass_by(GRACE + 1)
    world.store.compaction.sweep()
    assert len(world.names()) == 1


def test_any_tool_reads_the_plain_columns_and_they_equal_the_boxes(home: World) -> None:
    live_through(home)
    home.compact()
    for name in home.live():
        body = home.steal(name)
        table = pq.read_table(pa.BufferReader(body))
        boxes = np.frombuffer(b"".join(table.column("box").to_pylist()), parquet.BOX)
        assert np.array_equal(boxes["day"], table.column("day").cast("int32").to_numpy())
        assert np.array_equal(boxes["batch"], table.column("batch").to_numpy())
        assert boxes["states"].tobytes() == b"".join(table.column("states").to_pylist())
        keys = list(
            zip(table.column("subject").to_pylist(), boxes["day"], boxes["batch"], strict=True)
        )
        assert keys == sorted(keys)
        assert len(set(keys)) == len(keys)
        assert {len(box) for box in table.column("box").to_pylist()} == {BOX_SIZE}
        assert len(body) / (len(table) * DAY_SLOTS) < 20
