"""A clock that is wrong begins no year's log; a store that was left alone for a year begins its."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import meterkeep
from store.errors import InputError, LogError
from store.log.clock import JUMP, SILENCE
from store.settings import Settings
from tests.store.log.test_tree import YEAR, entries, read, write
from tests.world import FakeClock, World, opened

DAY = 86_400.0  # seconds
NEW_YEAR = datetime(YEAR + 1, 1, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def begun(world: World) -> World:
    write(world.store, 5)
    assert world.store.sequencer.run()
    return world


def shards(world: World) -> list[int]:
    return [one.shard for one in world.store.tree.shards()]


@pytest.mark.parametrize("years", [1, 3, 40])
def test_a_clock_set_years_ahead_while_it_runs_begins_no_log(begun: World, years: int) -> None:
    right = begun.clock.time
    begun.clock.time += years * 366 * DAY
    with pytest.raises(LogError) as idle:  # though nothing waits
        begun.store.sequencer.run()
    meanwhile = write(begun.store, 2)
    for refuse in (begun.store.sequencer.run, begun.store.sequencer.check):
        with pytest.raises(LogError) as refused:
            refuse()
        assert refused.value.code == idle.value.code == "log_clock"
    assert shards(begun) == [YEAR]
    begun.clock.time = right + 60
    assert begun.store.sequencer.run()
    found, leaves = read(begun.store)
    assert found.size == 7
    assert entries(leaves)[-2:] == [one.hex() for one in meanwhile], "nothing is lost by it"


def test_answers_stop_at_once_and_go_on_when_the_clock_is_set(begun: World) -> None:
    pace = begun.store.pace
    pace.tick()
    pace.check()
    begun.clock.time += 500 * DAY
    pace.tick()
    with pytest.raises(LogError) as stopped:
        pace.check()
    assert stopped.value.code == "log_clock"
    begun.clock.time -= 500 * DAY
    pace.tick()
    pace.check()


def test_a_store_that_rested_for_a_year_begins_the_new_log_by_itself(settings: Settings) -> None:
    clock = FakeClock()
    with opened(settings, clock) as world:
        write(world.store, 3)
    clock = FakeClock(clock.time + 390 * DAY)  # another process: no monotonic clock knows
    with opened(settings, clock) as world:
        world.store.sequencer.check()
        write(world.store, 3)
        assert world.store.sequencer.run()
        assert read(world.store, YEAR + 1)[0].size == 4


def test_a_process_that_starts_with_a_clock_years_ahead_does_not_serve(settings: Settings) -> None:
    with opened(settings) as world:
        write(world.store, 3)
    clock = FakeClock(FakeClock().time + SILENCE + DAY)
    with opened(settings, clock) as world:
        with pytest.raises(LogError) as refused:
            world.store.pace.start(lambda _: None)
        assert refused.value.code == "log_clock"
        said = f"log begin {datetime.fromtimestamp(clock.time, UTC).year}"
        assert said in str(refused.value)
        assert shards(world) == [YEAR]


@pytest.mark.parametrize(("asleep", "begins"), [(0, True), (5 * DAY, True), (JUMP + DAY, False)])
def test_a_machine_that_slept_over_the_new_year_goes_on(
    begun: World, asleep: float, begins: bool
) -> None:
    """The monotonic clock of Linux stands while the machine sleeps."""
    begun.clock.pass_by(NEW_YEAR - DAY - begun.clock.time)
    begun.store.sequencer.run()
    begun.clock.pass_by(DAY + 60)
    begun.clock.time += asleep
    write(begun.store, 1)
    if begins:
        assert begun.store.sequencer.run()
    else:
        with pytest.raises(LogError):
            begun.store.sequencer.run()
    assert (YEAR + 1 in shards(begun)) is begins


def test_a_clock_that_was_behind_and_was_set_right_is_believed(begun: World) -> None:
    """A machine without a battery starts in 1970 until it has asked the network."""
    right = begun.clock.time
    begun.clock.time = 0.0
    write(begun.store, 1)
    assert begun.store.sequencer.run()
    begun.clock.time = right + 200 * DAY
    write(begun.store, 1)
    assert begun.store.sequencer.run()
    assert shards(begun) == [YEAR + 1, YEAR]


def test_the_operator_says_that_the_clock_is_right(
    folder_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = FakeClock(datetime(2020, 6, 1, tzinfo=UTC).timestamp())
    with opened(folder_settings, long_ago) as world:
        write(world.store, 3)
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("DATABASE_URL", "OBJECTS", "KEK", "PUBLIC_URL"):
        monkeypatch.delenv(f"METERKEEP_{name}", raising=False)

    def run(*words: str) -> Result:
        return CliRunner().invoke(meterkeep.build(), ["log", *words])

    year = datetime.now(UTC).year
    refused = run("sequence").exception
    assert isinstance(refused, LogError)
    assert refused.code == "log_clock"
    wrong = run("begin", str(year + 1)).exception
    assert isinstance(wrong, InputError)
    done = run("begin", str(year))
    assert (done.exit_code, done.stdout) == (0, f"1 entries in 127.0.0.1:8700/v1/log/{year}\n")
    assert run("sequence").exit_code == 0
    assert (Path(folder_settings.objects) / "log" / str(year) / "checkpoint").is_file()
