"""The store's contract: what goes in comes back, whoever keeps it; later reads overlay earlier."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from store import tables
from store.errors import CommitConflictError, InputError, MeterkeepError
from store.initialising import initialise
from store.reads import DAY_SLOTS, HALF_HOUR, MeterDays, Mpxn, Register, State
from store.settings import Settings
from store.writing.writestore import Source
from tests.world import (
    DAY,
    FakeClock,
    World,
    days_of,
    mpan,
    opened,
    several,
    values,
    window_of,
)

HOME, OTHER, GAS = mpan(1), mpan(2), Mpxn("1234567")
FULL = list(range(DAY_SLOTS))


def test_what_went_in_comes_back(world: World) -> None:
    highest = [*range(47), 65_533]
    world.keep(days_of(HOME, (DAY, highest), (DAY + 1, FULL)))
    world.allow(HOME)
    assert world.reads(HOME, window_of(DAY, 2)) == highest + FULL


def test_a_read_of_nought_is_a_read_and_a_gap_is_not(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [0, None, 0])))
    world.allow(HOME)
    assert world.reads(HOME, window_of(DAY))[:4] == [0, None, 0, None]


def test_many_homes_months_and_registers_come_back_each_its_own(world: World) -> None:
    drawn = np.random.default_rng(7)
    kept = {}
    parts = []
    for number in range(5):
        days = [(DAY + at, drawn.integers(0, 5_000, DAY_SLOTS)) for at in range(0, 70, 7 + number)]
        parts.append(days_of(mpan(number), *days))
        kept[number] = {day: list(map(int, line)) for day, line in days}
    parts.append(days_of(GAS, (DAY, FULL), register=Register.GAS_IMPORT))
    commit = world.keep(several(*parts))
    assert commit.days == sum(map(len, kept.values())) + 1
    assert commit.reads == commit.days * DAY_SLOTS
    for number, lines in kept.items():
        world.allow(mpan(number))
        got = world.reads(mpan(number), window_of(DAY, 70))
        for at in range(70):
            nothing = [None] * DAY_SLOTS
            assert got[at * 48 : at * 48 + 48] == lines.get(DAY + at, nothing)
    world.allow(GAS)
    [series] = world.answer(GAS, window_of(DAY)).series
    assert (series.register, values(series.energy)) == (Register.GAS_IMPORT, FULL)


def test_an_answer_holds_every_register_of_the_question(world: World) -> None:
    world.keep(
        several(
            days_of(HOME, (DAY, [1])),
            days_of(HOME, (DAY, [2]), register=Register.ACTIVE_IMPORT_SECONDARY),
        )
    )
    world.allow(HOME)
    series = world.answer(HOME, window_of(DAY)).series
    assert [(s.register, int(s.energy[0])) for s in series] == [
        (Register.ACTIVE_IMPORT, 1),
        (Register.ACTIVE_IMPORT_SECONDARY, 2),
    ]


def test_a_window_inside_a_day_gets_its_half_hours_only(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL), (DAY + 1, FULL)))
    world.allow(HOME)
    whole = window_of(DAY, 2)
    inside = type(whole)(whole.start + 3, whole.start + 50)
    assert world.reads(HOME, inside) == (FULL + FULL)[3:50]
    one = type(whole)(whole.start + 5, whole.start + 6)
    assert world.reads(HOME, one) == [5]


def test_a_late_read_fills_its_gap_and_touches_nothing_else(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10, None, 12])))
    world.keep(days_of(HOME, (DAY, [None, 11])))
    world.allow(HOME)
    assert world.reads(HOME, window_of(DAY))[:4] == [10, 11, 12, None]


def test_a_correction_is_a_new_row_and_the_old_one_stays(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10, 20, 30])))
    before = {name: world.steal(name) for name in world.live()}
    world.keep(days_of(HOME, (DAY, [None, 99])))
    world.allow(HOME)
    assert world.reads(HOME, window_of(DAY))[:3] == [10, 99, 30]
    assert {name: world.steal(name) for name in before} == before
    assert len(world.live()) == 2


def test_a_correction_among_other_days_leaves_them_in_place(world: World) -> None:
    world.keep(days_of(HOME, *((DAY + at, [at] * 48) for at in range(5))))
    world.keep(days_of(HOME, (DAY + 3, [None, 77])), days_of(OTHER, (DAY, [1])))
    world.allow(HOME)
    got = world.reads(HOME, window_of(DAY, 5))
    assert got == [at if slot != 145 else 77 for slot, at in enumerate(np.repeat(range(5), 48))]


def test_a_retracted_read_is_missing_and_says_so(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10, 20])))
    gone = days_of(HOME, (DAY, []))
    gone.states[0, 1] = State.RETRACTED
    world.keep(gone)
    world.allow(HOME)
    series = world.answer(HOME, window_of(DAY)).series[0]
    assert values(series.energy)[:3] == [10, None, None]
    assert series.states[:3].tolist() == [State.MEASURED, State.RETRACTED, State.NOTHING]


def test_an_estimate_stays_marked_until_it_is_measured(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10, 20]), state=State.ESTIMATED))
    world.keep(days_of(HOME, (DAY, [11])))
    world.allow(HOME)
    series = world.answer(HOME, window_of(DAY)).series[0]
    assert (values(series.energy)[:2], series.states[:2].tolist()) == ([11, 20], [1, 2])


def test_a_past_commit_answers_as_it_did(world: World) -> None:
    empty = world.store.writes.commit([], []).number
    first = world.keep(days_of(HOME, (DAY, [10, None]))).number
    at_first = world.clock.now()
    world.clock.pass_by(3_600)
    second = world.keep(days_of(HOME, (DAY, [11, 20]))).number
    world.allow(HOME)
    assert second == first + 1 == empty + 2

    def said(as_of: float | None) -> list[int | None]:
        return world.reads(HOME, window_of(DAY), as_of=as_of)[:2]

    assert [said(None), said(second), said(first), said(empty)] == [
        [11, 20],
        [11, 20],
        [10, None],
        [None, None],
    ]
    assert said(at_first) == said(at_first + 3_599.0) == [10, None]
    assert said(at_first + 3_600.0) == [11, 20]
    assert said(at_first - 1.0) == [None, None]
    assert world.answer(HOME, window_of(DAY), as_of=first).commit == first
    assert world.answer(HOME, window_of(DAY)).commit == second


@pytest.mark.parametrize("as_of", [99, -1])
def test_a_commit_that_never_was_is_no_answer(home: World, as_of: int) -> None:
    home.allow(HOME)
    with pytest.raises(InputError) as refused:
        home.answer(HOME, window_of(DAY), as_of=as_of)
    assert refused.value.code == "unknown_commit"


@pytest.mark.parametrize("compacted", [False, True])
def test_who_commits_last_overlays_whoever_began_first(world: World, compacted: bool) -> None:
    def slowly() -> Iterator[MeterDays]:
        yield days_of(HOME, (DAY, [1, 1, None]), (DAY + 1, [1]))
        quick = world.keep(days_of(HOME, (DAY, [2, 2, 2]), (DAY + 2, [2])))
        assert (quick.number, quick.batch) == (1, 2)

    slow = world.store.writes.commit(slowly(), [])
    assert (slow.number, slow.batch) == (2, 1)
    world.allow(HOME)
    if compacted:
        world.compact()
    assert world.reads(HOME, window_of(DAY))[:4] == [1, 1, 2, None]
    assert world.reads(HOME, window_of(DAY), as_of=1)[:4] == [2, 2, 2, None]
    assert world.reads(HOME, window_of(DAY, 3))[:3] == [1, 1, 2]


def test_a_reverted_commit_is_left_out_from_then_on_and_nothing_is_deleted(world: World) -> None:
    first = world.keep(days_of(HOME, (DAY, [10, 20]))).number
    wrong = world.keep(days_of(HOME, (DAY, [99, None]))).number
    world.allow(HOME)
    stored = {name: world.steal(name) for name in world.names()}
    by = world.store.writes.revert(wrong)
    assert world.reads(HOME, window_of(DAY))[:2] == [10, 20]
    assert world.reads(HOME, window_of(DAY), as_of=wrong)[:2] == [99, 20]
    assert world.reads(HOME, window_of(DAY), as_of=first)[:2] == [10, 20]
    assert world.answer(HOME, window_of(DAY)).commit == by == wrong + 1
    now = {name: world.steal(name) for name in world.names()}
    [said] = now.keys() - stored.keys()  # for a restore, which must not bring the commit back
    assert said.startswith("journal/")
    assert now.items() >= stored.items()


@pytest.mark.parametrize(
    ("which", "code"),
    [("none", "unknown_commit"), ("twice", "already_reverted"), ("revert", "unknown_commit")],
)
def test_only_a_commit_of_reads_is_reverted_and_only_once(
    world: World, which: str, code: str
) -> None:
    number = world.keep(days_of(HOME, (DAY, [1]))).number
    if which != "none":
        by = world.store.writes.revert(number)
    target = {"none": number + 7, "twice": number, "revert": number + 1}[which]
    with pytest.raises(InputError) as refused:
        world.store.writes.revert(target)
    assert refused.value.code == code
    assert which == "none" or by == world.store.writes.commit([], []).number - 1


def test_a_file_is_known_by_its_bytes_and_its_profile(world: World) -> None:
    digest = hashlib.sha256(b"a file").digest()
    seen = world.store.writes.seen
    assert seen(digest, "csv stamp=start") is None
    number = world.keep(days_of(HOME, (DAY, [1])), name="a file").number
    assert seen(digest, "csv stamp=start") == number
    assert seen(digest, "csv stamp=end") is None
    assert seen(hashlib.sha256(b"another").digest(), "csv stamp=start") is None


def test_a_file_taken_in_meanwhile_by_another_process_conflicts_and_leaves_nothing(
    world: World,
) -> None:
    """Two ingests of one file at once: the second commit fails whole."""
    world.keep(days_of(HOME, (DAY, [1])), name="a file")
    names = world.names()
    with pytest.raises(CommitConflictError):
        world.keep(days_of(HOME, (DAY, [2])), name="a file")
    world.allow(HOME)
    assert world.reads(HOME, window_of(DAY))[0] == 1
    assert world.names() == names
    assert world.keep(days_of(HOME, (DAY, [3]))).number == 2


def test_a_batch_number_is_never_given_twice(world: World) -> None:
    given = [world.store.catalogue.reserve() for _ in range(3)]
    commit = world.keep(days_of(HOME, (DAY, [1])))
    world.clock.pass_by(100_000)
    world.store.compaction.sweep()
    given += [commit.batch, world.store.catalogue.reserve()]
    assert given == sorted(set(given))


def test_a_commit_of_nothing_is_a_commit(world: World) -> None:
    commit = world.store.writes.commit([], [Source(b"d" * 32, "csv", "", 0, ())])
    assert (commit.days, commit.reads, world.live()) == (0, 0, [])
    assert world.store.writes.seen(b"d" * 32, "csv") == commit.number


def test_a_store_is_made_once_and_making_it_again_is_harmless(settings: Settings) -> None:
    with opened(settings) as world:
        world.keep(days_of(HOME, (DAY, FULL)))
        world.allow(HOME)
        code = world.party("reader")
    initialise(settings)
    initialise(settings)
    with opened(settings) as world:
        world.parties["reader"] = code
        assert world.reads(HOME, window_of(DAY)) == FULL


def test_another_process_sees_a_commit_at_once(settings: Settings, clock: FakeClock) -> None:
    with opened(settings, clock) as one, opened(settings, clock) as two:
        one.keep(days_of(HOME, (DAY, [1])))
        one.allow(HOME)
        two.parties = one.parties
        assert two.reads(HOME, window_of(DAY))[0] == 1
        one.keep(days_of(HOME, (DAY, [2])))
        assert two.reads(HOME, window_of(DAY))[0] == 2


def test_coverage_tells_what_is_there_and_no_energy(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10, None, 12])))
    world.allow(HOME)
    covered = asyncio.run(world.store.reads.coverage(world.grant(HOME, window_of(DAY))))
    assert values(covered.series[0].energy) == [None] * 48
    assert covered.series[0].states[:4].tolist() == [1, 0, 1, 0]


def test_a_day_that_the_format_cannot_hold_is_refused_and_nothing_is_kept(home: World) -> None:
    """A box keeps its day in 16 bits: 2149-06-06 is the last; a later one must not wrap round."""
    for day in (65_536 + DAY, -1):
        with pytest.raises(MeterkeepError):
            home.keep(days_of(HOME, (day, [1])))
    assert home.live() == []
    home.keep(days_of(HOME, (65_535, [1])))
    home.allow(HOME)
    assert home.reads(HOME, window_of(65_535))[0] == 1


def test_an_answer_is_logged_before_it_leaves_and_names_its_entry(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [1])))
    world.allow(HOME)
    before = world.count(tables.leaves)
    answer = world.answer(HOME, window_of(DAY))
    with world.store.database.read() as connection:
        leaves = connection.execute(tables.leaves.select().order_by(tables.leaves.c.id)).all()
        details = connection.execute(
            tables.details.select().where(tables.details.c.entry == answer.entry)
        ).all()
    assert len(leaves) == before + 1
    assert leaves[-1].entry == answer.entry
    assert len(details) == 1


def test_time_is_told_by_the_clock_that_the_store_was_given(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [1])))
    with home.store.database.read() as connection:
        assert connection.execute(tables.commits.select()).one().at == home.clock.now()
    assert home.clock.now() > DAY * DAY_SLOTS * HALF_HOUR
