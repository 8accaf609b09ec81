"""One customer at one meter point: who moves in, who moved out, who is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest

from store import tables
from store.block import unpack_states
from store.errors import CommitConflictError, ErasedError, InputError, TamperedError
from store.facts.census import Homes
from store.facts.door import Supply
from store.grants import Refused
from store.grounds import FOREVER
from store.lake import parquet
from store.reads import DAY_SLOTS, MeterDays, Window, local_midnight
from store.writing.quarantine import Rejected
from tests.world import ALL, DAY, World, days_of, mpan, several, window_of

HOME, OTHER = mpan(1), mpan(2)
FULL = list(range(DAY_SLOTS))
MOVE = local_midnight(date(2025, 7, 2))  # 23:00Z of the first of July
WHOLE, EARLIER, LATER = (
    window_of(DAY),
    Window(DAY * DAY_SLOTS, MOVE),
    Window(MOVE, (DAY + 1) * DAY_SLOTS),
)


def refusal(world: World, window: Window, **asked: object) -> str:
    with pytest.raises(Refused) as refused:
        world.reads(HOME, window, **asked)
    return refused.value.code


def supply(world: World) -> None:
    """Register a supplier to the home for all time; a registration spans tenancies."""
    party = world.party("supplier", "IS")
    world.store.facts.add_registrations([Supply(HOME, party, "IS", "nondomestic", ALL)])


def test_a_summer_midnight_in_london_lies_within_a_utc_day() -> None:
    assert MOVE == DAY * DAY_SLOTS + 46
    assert ALL.end == FOREVER


def test_a_day_astride_a_move_is_two_rows_that_complement_each_other(world: World) -> None:
    world.store.facts.add_tenancy(HOME, MOVE)
    commit = world.keep(days_of(HOME, (DAY, FULL)))
    assert commit.days == 2
    assert commit.reads == DAY_SLOTS
    [name] = world.live()
    days, packed = parquet.read_states(world.steal(name))
    states = unpack_states(packed)
    assert days.tolist() == [DAY, DAY]
    assert np.array_equal(states.sum(axis=0), np.ones(DAY_SLOTS))
    assert sorted(states.sum(axis=1).tolist()) == [2, 46]


def test_each_occupant_has_their_own_half_hours(world: World) -> None:
    world.allow(HOME)
    world.store.facts.add_tenancy(HOME, MOVE)
    world.keep(days_of(HOME, (DAY, FULL)))
    assert refusal(world, LATER) == "consent_missing"
    world.allow(HOME)
    assert world.reads(HOME, LATER) == FULL[46:]
    assert refusal(world, WHOLE) == "before_move_in"
    assert refusal(world, EARLIER) == "before_move_in"
    assert world.reads(HOME, WHOLE, partial=True) == [None] * 46 + FULL[46:]


def test_a_registration_reads_across_a_move(world: World) -> None:
    world.store.facts.add_tenancy(HOME, MOVE)
    world.keep(days_of(HOME, (DAY, FULL)))
    supply(world)
    assert world.reads(HOME, WHOLE, name="supplier", role="IS") == FULL


def test_a_correction_astride_a_move_reaches_each_occupants_row(world: World) -> None:
    world.store.facts.add_tenancy(HOME, MOVE)
    world.keep(days_of(HOME, (DAY, FULL)))
    world.keep(days_of(HOME, (DAY, [*[None] * 45, 145, 146])))
    supply(world)
    got = world.reads(HOME, WHOLE, name="supplier", role="IS")
    assert got == [*range(45), 145, 146, 47]


def test_a_previous_occupants_reads_are_never_released_by_the_next_ones_consent(
    world: World,
) -> None:
    """Back-dated: the reads were kept, and consented to, before the move was known."""
    world.keep(days_of(HOME, (DAY, FULL)))
    world.allow(HOME)
    assert world.reads(HOME, WHOLE) == FULL
    world.store.facts.add_tenancy(HOME, MOVE)
    assert refusal(world, EARLIER) == "before_move_in"
    world.allow(HOME)
    assert refusal(world, WHOLE) == "before_move_in"
    assert world.reads(HOME, WHOLE, partial=True)[:46] == [None] * 46


def test_a_back_dated_move_gives_the_next_occupant_their_reads(world: World) -> None:
    world.keep(days_of(HOME, (DAY - 1, FULL), (DAY, FULL), (DAY + 40, FULL)))
    assert world.store.moving.move_in(HOME, MOVE) == 2
    world.allow(HOME)
    assert world.reads(HOME, Window(MOVE, MOVE + 2)) == FULL[46:]
    assert world.reads(HOME, window_of(DAY + 40)) == FULL
    supply(world)
    assert world.reads(HOME, window_of(DAY - 1, 2), name="supplier", role="IS") == FULL * 2
    assert world.store.moving.move_in(HOME, MOVE) == 0
    assert world.reads(HOME, window_of(DAY + 40)) == FULL


@pytest.mark.parametrize("start", [MOVE, MOVE - 1])
def test_a_move_before_a_known_move_is_refused(world: World, start: int) -> None:
    world.store.facts.add_tenancy(HOME, MOVE)
    with pytest.raises(InputError) as refused:
        world.store.facts.add_tenancy(HOME, start)
    assert refused.value.code == "tenancy_exists"


def test_a_consent_is_of_who_lives_there_now_and_not_of_who_will(world: World) -> None:
    soon = int(world.clock.now() // 1_800) + 10
    world.store.facts.add_tenancy(HOME, soon)
    world.keep(days_of(HOME, (DAY, FULL)))
    world.allow(HOME)
    assert world.reads(HOME, WHOLE) == FULL
    world.clock.pass_by(11 * 1_800)
    assert refusal(world, WHOLE) == "before_move_in"
    assert refusal(world, Window(soon, soon + 1)) == "consent_missing"


# ---- the forgotten ---------------------------------------------------------------------------


def test_an_erased_customers_reads_are_gone_for_everybody(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)), days_of(OTHER, (DAY, FULL)))
    world.allow(HOME)
    world.allow(OTHER)
    supply(world)
    assert world.store.facts.erase([HOME], "asked to") == 1
    assert refusal(world, WHOLE) == "erased"
    assert refusal(world, WHOLE, name="supplier", role="IS") == "erased"
    assert world.reads(OTHER, WHOLE) == FULL
    world.compact()
    assert refusal(world, WHOLE) == "erased"
    assert world.reads(OTHER, WHOLE) == FULL


def test_who_never_had_a_consent_does_not_learn_that_somebody_was_erased(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.store.facts.erase([HOME], "asked to")
    assert refusal(world, WHOLE) == "consent_missing"


def test_a_decision_made_before_an_erasure_opens_nothing_after_it(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.allow(HOME)
    grant = world.grant(HOME, WHOLE)
    world.store.facts.erase([HOME], "asked to")
    with pytest.raises(ErasedError):
        asyncio.run(world.store.reads.read(grant))


def test_ingest_does_not_bring_an_erased_customer_back(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.store.facts.erase([HOME], "asked to")
    commit = world.keep(
        several(days_of(HOME, (DAY, FULL), (DAY + 1, FULL)), days_of(OTHER, (DAY, FULL)))
    )
    assert (commit.erased, commit.days) == (2, 1)
    with pytest.raises(InputError) as refused:
        world.allow(HOME)
    assert refused.value.code == "erased"
    with world.store.database.read() as connection:
        assert all(
            row.subject is None and row.mpxn is None
            for row in connection.execute(tables.tenancies.select())
            if row.erased is not None
        )


def test_the_next_occupant_of_an_erased_home_is_let_in(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.store.facts.erase([HOME], "asked to")
    world.store.facts.add_tenancy(HOME, MOVE)
    commit = world.keep(days_of(HOME, (DAY, FULL), (DAY + 1, FULL)))
    assert (commit.erased, commit.days, commit.reads) == (1, 2, 50)
    world.allow(HOME)
    assert world.reads(HOME, Window(MOVE, MOVE + 50)) == FULL[46:] + FULL
    assert refusal(world, EARLIER) == "before_move_in"
    supply(world)
    assert refusal(world, WHOLE, name="supplier", role="IS") == "erased"
    part = world.reads(HOME, WHOLE, name="supplier", role="IS", partial=True)
    assert part == [None] * 46 + FULL[46:]


def test_an_erasure_takes_the_refused_lines_along(world: World) -> None:
    line, stray = Rejected(2, "negative", "a,-1", HOME), Rejected(3, "bad_mpxn", "x,1")
    world.keep(days_of(HOME, (DAY, FULL)), rejected=[line, stray])
    assert len(world.store.quarantine.listing()) == 2
    world.store.facts.erase([HOME], "asked to")
    assert [group.reason for group in world.store.quarantine.listing()] == ["bad_mpxn"]
    world.keep(rejected=[line])
    assert [group.reason for group in world.store.quarantine.listing()] == ["bad_mpxn"]


@pytest.mark.parametrize("meanwhile", ["erased", "moved"])
def test_a_customer_who_goes_while_a_commit_runs_makes_it_fail_whole(
    world: World, meanwhile: str
) -> None:
    world.keep(days_of(HOME, (DAY, [1])))
    names = world.names()

    def parts() -> Iterator[MeterDays]:
        yield days_of(HOME, (DAY, FULL))
        if meanwhile == "erased":
            world.store.facts.erase([HOME], "asked to")
        else:
            world.store.facts.add_tenancy(HOME, MOVE)
        yield days_of(OTHER, (DAY, FULL))

    with pytest.raises(CommitConflictError):
        world.store.writes.commit(parts(), [])
    journal = {name for name in world.names() if name.startswith("journal/")}
    assert len(journal) == 1  # who went; nothing else is there that was not before
    assert world.names() - journal == names
    again = world.keep(days_of(HOME, (DAY, FULL)), days_of(OTHER, (DAY, FULL)))
    assert (again.erased, again.days) == ((1, 1) if meanwhile == "erased" else (0, 3))


def test_somebody_elses_move_disturbs_no_commit(world: World) -> None:
    def parts() -> Iterator[MeterDays]:
        yield days_of(HOME, (DAY, FULL))
        world.store.facts.add_tenancy(OTHER, MOVE)

    assert world.store.writes.commit(parts(), []).days == 1


def test_a_key_destroyed_between_two_looks_is_a_conflict_and_no_crash(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.keep(days_of(HOME, (DAY, [1])))
    look = Homes.find

    def look_then_lose(self: Homes, tags: object) -> object:
        found = look(self, tags)  # type: ignore[arg-type]
        monkeypatch.undo()
        home.store.facts.erase([HOME], "asked to")
        return found

    monkeypatch.setattr(Homes, "find", look_then_lose)
    with pytest.raises(CommitConflictError):
        home.keep(days_of(HOME, (DAY, [2])))


def test_a_strangers_meter_point_and_an_unknown_one_are_asked_for_alike(home: World) -> None:
    """The same statements, the same code: nobody learns which meter points there are."""
    home.keep(days_of(HOME, (DAY, FULL)))
    home.allow(HOME, party=home.party("somebody else"))
    home.party("reader")
    supply(home)
    home.party("another supplier", "IS")
    said: list[str] = []
    engine = home.store.database._reader
    engine.dispose()  # the next connection is the only one
    connection = engine.raw_connection()
    driver = connection.driver_connection
    assert driver is not None
    connection.close()

    def statements(number: int, name: str, **asked: object) -> tuple[str, list[str]]:
        said.clear()
        driver.set_trace_callback(said.append)
        try:
            home.grant(mpan(number), WHOLE, name, **asked)
        except Refused as refused:
            return refused.code, [line.split("WHERE")[0] for line in said]
        finally:
            driver.set_trace_callback(None)
        raise AssertionError

    for name, code in (("reader", "consent_missing"), ("another supplier", "not_registered")):
        foreign, unknown = statements(1, name), statements(99, name)
        assert foreign == unknown
        assert foreign[0] == code
        assert len(foreign[1]) >= 5


def test_a_move_stated_again_leaves_later_corrections_alone(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    assert world.store.moving.move_in(HOME, MOVE) == 1
    world.keep(days_of(HOME, (DAY, [None] * 47 + [9])))
    assert world.store.moving.move_in(HOME, MOVE) == 0
    world.allow(HOME)
    assert world.reads(HOME, LATER) == [46, 9]


def test_a_neighbours_key_beside_my_meter_point_opens_nothing(world: World) -> None:
    world.keep(days_of(HOME, (DAY, FULL)))
    world.keep(days_of(OTHER, (DAY, FULL)))
    world.allow(HOME)
    t = tables.tenancies
    with world.store.database.write() as connection:
        tags = [world.store.keys.tags.of(mpxn) for mpxn in (HOME, OTHER)]
        mine, theirs = (
            connection.execute(t.select().where(t.c.tag == tag)).one().subject for tag in tags
        )
        for tag, subject in ((tags[0], b"x" * 16), (tags[1], mine), (tags[0], theirs)):
            connection.execute(t.update().where(t.c.tag == tag).values(subject=subject))
    with pytest.raises(TamperedError):
        world.reads(HOME, WHOLE)
