"""What reads otherwise than it did: no change is missed, and nothing is opened to find it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from store import block, envelope, tables
from store.errors import InputError, TamperedError
from store.facts.door import Supply
from store.lake import parquet
from store.reading.changes import Changed, changed
from store.reading.overlay import Moment
from store.reading.readstore import Answer
from store.reads import DAY_SLOTS, MISSING, Register, State, Window
from store.settings import Settings
from tests.store.test_tampering import box_at, flipped, put_box, subject_of
from tests.world import ALL, DAY, World, days_of, mpan, watched, window_of

HOME = mpan(1)
WEEK = window_of(DAY, 7)


def changes(
    world: World, since: int, window: Window = WEEK, name: str = "reader", **asked: Any
) -> Answer[Changed]:
    grant = world.grant(HOME, window, name, registers=(Register.ACTIVE_IMPORT,), **asked)
    return asyncio.run(world.store.reads.changes(grant, since))


def told(world: World, since: int, window: Window = WEEK, **asked: Any) -> list[int]:
    """Return the half-hours that changed, counted from the start of the week."""
    [one] = changes(world, since, window, **asked).series
    assert one.window == window
    return [window.start - WEEK.start + at for at in np.flatnonzero(one.changed).tolist()]


@pytest.fixture
def kept(home: World) -> World:
    """Commit 1: a week of reads, but for the first two half-hours of its second day."""
    gap = [None, None, *range(46)]
    home.keep(days_of(HOME, *((DAY + n, gap if n == 1 else range(48)) for n in range(7))))
    home.allow(HOME)
    return home


def test_nothing_changed_since_now(kept: World) -> None:
    assert told(kept, 1) == []


def test_everything_changed_since_before_there_was_anything(kept: World) -> None:
    assert told(kept, 0) == [at for at in range(7 * 48) if at not in (48, 49)]


def test_a_later_row_changes_the_half_hours_of_which_it_speaks(kept: World) -> None:
    kept.keep(days_of(HOME, (DAY + 1, [7, 8, None, 9])))
    assert told(kept, 1) == [48, 49, 51]
    assert told(kept, 2) == []


def test_a_reverted_commit_changes_what_lay_under_it(kept: World) -> None:
    kept.keep(days_of(HOME, (DAY + 2, [1, 2])))
    kept.store.writes.revert(2)
    assert told(kept, 2) == [96, 97]
    assert told(kept, 1) == []
    kept.store.writes.revert(1)
    assert told(kept, 3) == told(kept, 0) + told(kept, 1) == told(kept, 1)
    assert told(kept, 0) == []


def test_a_commit_that_was_hidden_changes_nothing_when_it_goes(kept: World) -> None:
    kept.keep(days_of(HOME, (DAY + 2, [5])))
    kept.keep(days_of(HOME, (DAY + 2, [6])))
    kept.store.writes.revert(2)
    assert told(kept, 3) == []
    assert told(kept, 2) == [96]


def test_a_retraction_is_a_change_and_one_of_nothing_is_none(kept: World) -> None:
    gone = days_of(HOME, (DAY + 1, []))
    gone.states[0, :3] = State.RETRACTED
    kept.keep(gone)
    assert told(kept, 1) == [50]
    assert kept.reads(HOME, window_of(DAY + 1))[:4] == [None, None, None, 1]


def test_compaction_changes_nothing(kept: World) -> None:
    kept.keep(days_of(HOME, (DAY + 1, [7])))
    before = told(kept, 1)
    kept.compact()
    assert told(kept, 1) == before == [48]
    assert told(kept, 2) == []


def test_nothing_is_opened_and_no_key_is_needed(
    kept: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a key was asked for")

    kept.keep(days_of(HOME, (DAY + 1, [7])))
    monkeypatch.setattr(envelope, "unseal", refuse)
    monkeypatch.setattr(kept.store.reads._planner._tenancies, "all_deks", refuse)
    assert told(kept, 1) == [48]


def test_no_row_is_fetched_to_say_that_nothing_came(folder_settings: Settings) -> None:
    with watched(folder_settings) as (world, keeper):
        world.keep(days_of(HOME, (DAY, [1])))
        world.allow(HOME)
        keeper.asked.clear()
        assert told(world, 1) == []
        assert not any(keeper.asked)
        assert told(world, 0) == [0]
        assert any(keeper.asked)


def test_a_row_that_was_tampered_with_is_an_alarm(kept: World) -> None:
    [name], subject = kept.live(), subject_of(kept, 1)
    put_box(kept, name, subject, flipped(box_at(kept, name, subject), 10))
    with pytest.raises(TamperedError):
        changes(kept, 0)


@pytest.mark.parametrize("since", [-1, 2, 10**14])
def test_a_commit_that_is_not_there_is_refused_after_its_leaf(kept: World, since: int) -> None:
    before = kept.count(tables.leaves)
    with pytest.raises(InputError) as refused:
        changes(kept, since)
    assert refused.value.code == "unknown_commit"
    assert kept.count(tables.leaves) > before


def test_only_what_may_be_read_is_compared(home: World) -> None:
    home.keep(days_of(HOME, *((DAY + n, range(48)) for n in range(7))))
    home.allow(HOME, Window(WEEK.start + 30, WEEK.start + 100))
    home.keep(days_of(HOME, *((DAY + n, range(48)) for n in range(7))))
    assert told(home, 1, partial=True) == list(range(30, 100))


def test_a_supplier_is_told_over_a_move_in(home: World) -> None:
    supplier = home.party("supplier", "IS")
    home.store.facts.add_registrations([Supply(HOME, supplier, "IS", "nondomestic", ALL)])
    moved = WEEK.start + 100
    home.keep(days_of(HOME, (DAY, [1, 2])))
    home.store.facts.add_tenancy(HOME, moved)
    home.keep(days_of(HOME, (DAY, [5]), (DAY + 5, [6])))
    assert told(home, 1, name="supplier") == [0, 240]


def test_its_leaf_says_what_it_was_compared_with(kept: World) -> None:
    answer = changes(kept, 1)
    t, d = tables.leaves.c, tables.details.c
    with kept.store.database.read() as connection:
        leaf = connection.execute(select(t.leaf).where(t.entry == answer.entry)).scalar_one()
        text = connection.execute(select(d.detail).where(d.entry == answer.entry)).scalar_one()
    assert orjson.loads(leaf[1:])["action"] == "changes 4.8.1"
    detail = orjson.loads(text)
    assert (detail["since"], detail["half_hours"], len(detail["rests_on"])) == (1, 7 * 48, 1)


# ---- held to the answers themselves ----------------------------------------------------------

AAD, KEY = bytes(49), 1
STATES = st.sampled_from(list(State))
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(1, 6), st.lists(st.tuples(STATES, st.integers(0, 3)),
                                                      min_size=3, max_size=3)
    ),
    max_size=9,
)  # fmt: skip
REVERTS = st.dictionaries(st.integers(1, 6), st.integers(7, 12), max_size=4)


def boxes_of(rows: list[Any]) -> bytes:
    """Return boxes, a batch each."""
    made = np.zeros(len(rows), parquet.BOX)
    for batch, (day, _, cells) in enumerate(rows, start=1):
        states = np.zeros((1, DAY_SLOTS), np.uint8)
        energy = np.full((1, DAY_SLOTS), MISSING, np.uint16)
        for slot, (state, value) in enumerate(cells):
            states[0, slot * 23] = state
            if state in (State.MEASURED, State.ESTIMATED):
                energy[0, slot * 23] = value
        _, packed = block.pack(energy, states)
        made[batch - 1]["day"], made[batch - 1]["batch"] = DAY + day, batch
        made[batch - 1]["states"] = np.frombuffer(packed, np.uint8)
    return made.tobytes()


def shown(rows: list[Any], window: Window, moment: Moment) -> list[tuple[int, int | None]]:
    """Return state and energy of each half-hour: a program of the tests' own."""
    found: dict[int, tuple[int, int | None]] = {}
    ordered = sorted(enumerate(rows, start=1), key=lambda one: (moment.of[one[0]], one[0]))
    for batch, (day, _, cells) in ordered:
        if moment.counts(batch):
            for slot, (state, value) in enumerate(cells):
                if state is not State.NOTHING:
                    is_read = state in (State.MEASURED, State.ESTIMATED)
                    at = (DAY + day) * DAY_SLOTS + slot * 23
                    found[at] = (state if is_read else 0, value if is_read else None)
    return [found.get(at, (0, None)) for at in range(window.start, window.end)]


@given(ROWS, REVERTS, st.integers(0, 12), st.integers(0, 60), st.integers(1, 90))
def test_no_change_is_missed_and_what_is_told_is_another_row(
    rows: list[Any], reverts: dict[int, int], since: int, cut: int, length: int
) -> None:
    boxes = boxes_of(rows)
    commits = {batch: commit for batch, (_, commit, _) in enumerate(rows, start=1)}
    window = Window(DAY * DAY_SLOTS + cut, DAY * DAY_SLOTS + cut + length)
    then, now = (
        Moment(as_of, frozenset(c for c, by in reverts.items() if by <= as_of), commits)
        for as_of in (since, 12)
    )
    before, after = shown(rows, window, then), shown(rows, window, now)
    flags = changed(boxes, window, then, now).tolist()
    for at, (one, other) in enumerate(zip(before, after, strict=True)):
        if one != other:
            assert flags[at]
        if one[1] is None and other[1] is None:
            assert not flags[at]
    if now == then:
        assert not any(flags)


def test_told_are_the_half_hours_that_an_answer_as_of_then_has_otherwise(kept: World) -> None:
    """By the store's own answers, over some commits and reverts."""
    kept.keep(days_of(HOME, (DAY + 1, [100, 101]), (DAY + 3, [None, 102])))
    kept.keep(days_of(HOME, (DAY + 3, [200, 201]), state=State.ESTIMATED))
    kept.store.writes.revert(2)
    kept.keep(days_of(HOME, (DAY + 6, [300])))
    now = kept.reads(HOME, WEEK)
    for since in range(6):
        then = kept.reads(HOME, WEEK, as_of=since)
        other = [at for at, (a, b) in enumerate(zip(then, now, strict=True)) if a != b]
        assert told(kept, since) == other, since
