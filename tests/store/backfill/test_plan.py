"""A plan to fill gaps: it asks for what is missing, for nothing else, and opens nothing."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import meterkeep
from store.backfill.filling import Request, requests, stretches, turns
from store.backfill.lacking import Lacking
from store.backfill.plan import Asked, Plan, Wish, assumptions, made
from store.errors import TamperedError
from store.policy import response_rules
from store.reads import DAY_SLOTS, HALF_HOUR, Register, State, Window, moment_of
from store.settings import Settings
from store.targets.estimating import by_radio
from tests.world import NOON, World, days_of, mpan, opened, watched, window_of

MODEL = response_rules.load().meter
HOME, OTHER = mpan(1), mpan(2)
FULL = [100] * DAY_SLOTS
NOW = int(NOON // HALF_HOUR)
HELD = MODEL.holds["4.8.1"]
RECENT = NOW // DAY_SLOTS - 30  # a UTC day that a meter still has

ONE = Register.ACTIVE_IMPORT


@pytest.fixture
def world(folder_settings: Settings) -> Iterator[World]:
    with opened(folder_settings) as one:
        yield one


def wish(window: Window, **how: Any) -> Wish:
    said: dict[str, Any] = {
        "srv": "4.8.1", "registers": (ONE, Register.ACTIVE_IMPORT_SECONDARY, Register.GAS_IMPORT),
        "now": NOON, "model": MODEL, "at_once": 100, "estimated": True, "since_first": False,
    }  # fmt: skip
    return Wish(window=window, **said | how)


def plan(world: World, window: Window, **how: Any) -> Plan:
    """Return the plan for every customer of the store."""
    lacking = Lacking(world.store.database, world.store.catalogue, world.store.objects)
    fleet = (Asked("home", home, None) for homes in lacking.homes() for home in homes)
    return made(wish(window, **how), lacking, fleet)


def asked(made_: Plan) -> list[tuple[int, int]]:
    return [(turn.request.window.start, turn.request.window.end) for turn in made_.turns]


# ---- what is asked for -------------------------------------------------------------------------


def masks() -> st.SearchStrategy[list[bool]]:
    return st.lists(st.tuples(st.booleans(), st.integers(1, 1_500)), min_size=1, max_size=12).map(
        lambda runs: [lacks for lacks, length in runs for _ in range(length)]
    )


@given(masks(), st.integers(0, 5_000))
def test_stretches_are_the_half_hours_that_lack_and_none_touches_the_next(
    mask: list[bool], start: int
) -> None:
    found = stretches(np.array(mask), start)
    named = [slot - start for one in found for slot in range(one.start, one.end)]
    assert named == [at for at, lacks in enumerate(mask) if lacks]
    assert all(one.end < two.start for one, two in pairwise(found))


@given(masks(), st.integers(50, 20_000))
def test_requests_ask_for_every_half_hour_that_lacks_and_take_no_longer_than_one_each(
    mask: list[bool], most: int
) -> None:
    lacking = stretches(np.array(mask), 0)
    found = list(requests(MODEL, 7, lacking, most))
    covered = Counter(slot for one in found for slot in range(one.window.start, one.window.end))
    assert all(covered[at] == 1 for at, lacks in enumerate(mask) if lacks)
    assert max(covered.values(), default=0) <= 1
    for one in found:
        assert one.meter == 7
        assert len(one.window) <= most
        assert one.lacking == sum(mask[one.window.start : one.window.end]) > 0
        assert one.time == by_radio(MODEL, len(one.window))
    if most >= len(mask):
        alone = sum(by_radio(MODEL, len(one)).at_most for one in lacking)
        assert sum(one.time.at_most for one in found) <= alone


def test_gaps_of_an_evening_are_one_request_and_gaps_of_two_seasons_are_two() -> None:
    near = [Window(100, 101), Window(104, 106)]
    assert [one.window for one in requests(MODEL, 0, near, HELD)] == [Window(100, 106)]
    far = [Window(100, 101), Window(9_000, 9_001)]
    assert [one.window for one in requests(MODEL, 0, far, HELD)] == far


orders = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3_000), st.integers(1, 600)), max_size=25
)


@given(orders, st.integers(1, 6))
def test_no_more_meters_are_asked_at_once_than_may_be_and_none_for_two_things(
    told: list[tuple[int, int, int]], at_once: int
) -> None:
    found = [
        Request(meter, Window(start, start + length), length, by_radio(MODEL, length))
        for meter, start, length in told
    ]
    order = list(turns(found, 3_000 * HALF_HOUR, 2_000, at_once))
    assert sorted(one.window.start for one in found) == [t.request.window.start for t in order]
    for turn in order:
        others = [t for t in order if t.begins <= turn.begins < t.ends]
        assert len(others) <= at_once
        assert [t.request.meter for t in others].count(turn.request.meter) == 1
        assert turn.ends == turn.begins + turn.request.time.at_most
        gone = int(3_000 + turn.begins / HALF_HOUR) - 2_000
        window = turn.request.window
        assert turn.late == len([slot for slot in range(window.start, window.end) if slot < gone])


# ---- what a store lacks ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_what_lacks_is_what_a_reader_is_not_given(world: World, seed: int) -> None:
    rng = np.random.default_rng(seed)
    world.keep(days_of(HOME, (RECENT - 40, [1])))  # so that the register is expected
    commits = []
    for _ in range(int(rng.integers(2, 7))):
        days = sorted(set(rng.integers(0, 5, 3).tolist()))
        told = [
            (RECENT + day, [None if rng.random() < 0.4 else 7 for _ in range(DAY_SLOTS)])
            for day in days
        ]
        who = HOME if rng.random() < 0.7 else OTHER
        commits.append(world.keep(days_of(who, *told)).number)
        if commits and rng.random() < 0.3:
            world.store.writes.revert(commits.pop(int(rng.integers(len(commits)))))
        if rng.random() < 0.3:
            world.compact()
    window = Window(RECENT * DAY_SLOTS + 3, (RECENT + 5) * DAY_SLOTS - 7)
    world.allow(HOME)
    read = world.reads(HOME, window)
    found = plan(world, window)
    missing = [at for at, value in enumerate(read, window.start) if value is None]
    mine = _subject(world, HOME)
    lacking = Lacking(world.store.database, world.store.catalogue, world.store.objects)
    [kept] = lacking.kept([mine], [ONE], window, estimated=True)
    assert (np.flatnonzero(kept.lacking) + window.start).tolist() == missing
    covered = {slot for start, end in asked(found) for slot in range(start, end)}
    assert set(missing) <= covered


def _subject(world: World, mpxn: Any) -> bytes:
    with world.store.database.read() as connection:
        [tenancy] = world.store.facts.tenancies_of(connection, mpxn)
    assert tenancy.subject is not None
    return tenancy.subject


def test_a_zero_is_a_read_and_what_is_before_the_first_read_may_be_left_alone(
    world: World,
) -> None:
    world.keep(days_of(HOME, (RECENT, [0] * 20), (RECENT + 2, FULL)))
    window = window_of(RECENT - 1, 4)
    start = window.start
    everything = plan(world, window)
    assert asked(everything) == [(start, start + 144)]  # one request over the reads between
    assert everything.lacking == 48 + 28 + 48
    [turn] = plan(world, window, since_first=True).turns
    assert (turn.request.window.start, turn.request.lacking) == (start + 48 + 20, 28 + 48)


def test_an_estimate_is_a_read_unless_it_is_to_be_replaced(world: World) -> None:
    world.keep(days_of(HOME, (RECENT, FULL), state=State.ESTIMATED))
    assert plan(world, window_of(RECENT)).turns == []
    assert plan(world, window_of(RECENT), estimated=False).lacking == DAY_SLOTS


def test_the_later_of_a_read_and_an_estimate_is_what_counts(world: World) -> None:
    world.keep(days_of(HOME, (RECENT, FULL)))
    world.keep(days_of(HOME, (RECENT, FULL[:20]), state=State.ESTIMATED))
    world.keep(days_of(HOME, (RECENT, FULL[:5])))
    found = plan(world, window_of(RECENT), estimated=False)
    assert asked(found) == [(RECENT * DAY_SLOTS + 5, RECENT * DAY_SLOTS + 20)]


def test_a_meter_that_was_read_before_the_window_lacks_all_of_it(world: World) -> None:
    world.keep(days_of(HOME, (RECENT - 300, FULL)))
    for since_first in (False, True):
        assert plan(world, window_of(RECENT), since_first=since_first).lacking == DAY_SLOTS
    world.keep(days_of(HOME, (RECENT, [None, *FULL[1:]])))
    assert plan(world, window_of(RECENT), since_first=True).lacking == 1


def test_a_register_is_expected_of_a_meter_that_ever_had_it_and_of_no_other(world: World) -> None:
    secondary = Register.ACTIVE_IMPORT_SECONDARY
    world.keep(days_of(HOME, (RECENT, FULL)))
    assert plan(world, window_of(RECENT)).turns == []
    world.keep(days_of(HOME, (RECENT - 400, FULL), register=secondary))
    assert plan(world, window_of(RECENT)).lacking == DAY_SLOTS
    assert plan(world, window_of(RECENT), registers=(ONE,)).turns == []
    assert plan(world, window_of(RECENT), registers=(Register.GAS_IMPORT,)).meters == {"other": 1}


def test_what_no_meter_holds_any_more_is_told_apart_and_not_asked_for(world: World) -> None:
    world.keep(days_of(HOME, (RECENT, FULL)), days_of(OTHER, (RECENT, FULL)))
    old = Window(NOW - HELD - 1_000, NOW - HELD - 900)
    found = plan(world, old)
    assert (asked(found), found.too_old) == ([], 200)
    assert found.meters == {"too_old": 2}
    both = plan(world, Window(NOW - HELD - 10, NOW - HELD + 40))
    assert asked(both) == [(NOW - HELD + 1, NOW - HELD + 40)] * 2
    assert both.too_old == 2 * 11


def test_of_reactive_and_export_a_meter_holds_three_months_only(world: World) -> None:
    register = Register.ACTIVE_EXPORT
    world.keep(days_of(HOME, (RECENT, FULL), register=register))
    window = Window(NOW - HELD, RECENT * DAY_SLOTS)
    found = plan(world, window, srv="4.8.3", registers=(register, Register.REACTIVE_EXPORT))
    assert asked(found) == [(NOW - MODEL.holds["4.8.3"] + 1, RECENT * DAY_SLOTS)]


def test_what_the_meter_overwrites_first_is_asked_for_first_and_what_comes_too_late_is_told(
    world: World,
) -> None:
    world.keep(days_of(HOME, (RECENT, FULL)), days_of(OTHER, (RECENT, FULL)))
    window = Window(NOW - HELD, RECENT * DAY_SLOTS)
    found = plan(world, window, at_once=1)
    assert [turn.late for turn in found.turns] == [0, 2]
    assert found.turns[1].begins == found.turns[0].ends == 6_138.0  # 186 blocks at 33 s
    assert [turn.late for turn in plan(world, window, at_once=2).turns] == [0, 0]
    there_later = plan(world, Window(NOW - HELD + 50, RECENT * DAY_SLOTS), at_once=1)
    assert [turn.late for turn in there_later.turns] == [0, 0]


def test_an_earlier_customer_s_time_is_not_asked_for_and_an_erased_one_s_neither(
    world: World,
) -> None:
    world.keep(days_of(HOME, (RECENT, FULL)), days_of(OTHER, (RECENT, FULL)))
    begins = (RECENT + 1) * DAY_SLOTS + 6
    world.store.moving.move_in(HOME, begins)
    world.store.facts.erasing.erase([OTHER], "a letter")
    window = window_of(RECENT - 3, 6)
    found = plan(world, window)
    assert found.meters == {"silent": 1}  # who moved in has no read yet
    assert asked(found) == []
    world.keep(days_of(HOME, (RECENT + 2, FULL)))
    assert asked(plan(world, window)) == [(begins, (RECENT + 2) * DAY_SLOTS)]


def test_rows_that_were_changed_are_an_alarm_and_no_gap(world: World) -> None:
    world.keep(days_of(HOME, *((RECENT + day, FULL) for day in range(10))))
    [name] = world.live()
    body = bytearray(world.steal(name))
    at = body.index(RECENT.to_bytes(2, "little") + b"\x01\0\0\0")  # the day and the batch
    body[at + 10] ^= 0xFF  # of the states
    world.forge(name, bytes(body))
    with pytest.raises(TamperedError):
        plan(world, window_of(RECENT))


def test_a_compaction_in_between_is_looked_past(folder_settings: Settings) -> None:
    with watched(folder_settings) as (world, keeper):
        for _ in range(2):
            world.keep(days_of(HOME, (RECENT, FULL)))

        def compacted() -> None:
            keeper.before.clear()
            world.compact()
            world.clock.pass_by(86_400 * 30)
            world.store.compaction.sweep()

        keeper.before["ranges"] = compacted
        assert plan(world, window_of(RECENT, 2)).lacking == DAY_SLOTS


def test_it_is_the_same_wherever_a_store_is_kept(settings: Settings) -> None:
    with opened(settings) as elsewhere:
        elsewhere.keep(days_of(HOME, (RECENT, FULL[:20])), days_of(OTHER, (RECENT, FULL)))
        elsewhere.keep(days_of(HOME, (RECENT, FULL[:30])))
        found = plan(elsewhere, window_of(RECENT))
        assert asked(found) == [(RECENT * DAY_SLOTS + 30, (RECENT + 1) * DAY_SLOTS)]


def test_many_homes_are_looked_at_by_portions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.backfill.lacking.TOGETHER", 3)
    monkeypatch.setattr("store.backfill.plan.TOGETHER", 2)
    world.keep(*(days_of(mpan(number), (RECENT, FULL)) for number in range(1, 12)))
    found = plan(world, window_of(RECENT, 2))
    assert found.meters == {"lacking": 11}
    assert asked(found) == [((RECENT + 1) * DAY_SLOTS, (RECENT + 2) * DAY_SLOTS)] * 11
    assert sorted(turn.request.meter for turn in found.turns) == list(range(11))


def test_a_plan_has_a_bound_and_says_what_lies_beyond(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.backfill.plan.MOST", 2)
    world.keep(*(days_of(mpan(number), (RECENT, FULL)) for number in range(1, 6)))
    found = plan(world, window_of(RECENT, 2))
    assert (len(found.turns), found.beyond) == (2, 3)


# ---- the command -------------------------------------------------------------------------------


@pytest.fixture
def kept(folder_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a store of two homes, of which one has a gap, kept by the machine's own clock."""
    monkeypatch.setenv("METERKEEP_HOME", str(folder_settings.home))
    for name in ("METERKEEP_DATABASE_URL", "METERKEEP_OBJECTS", "METERKEEP_KEK"):
        monkeypatch.delenv(name, raising=False)
    with opened(folder_settings) as world:
        world.keep(
            days_of(HOME, *((TODAY - day, FULL) for day in (6, 5, 3))),
            days_of(OTHER, *((TODAY - day, FULL) for day in (6, 5, 4, 3))),
        )
    return folder_settings


TODAY = int(time.time() // 86_400)


def run(*words: str | Path) -> Result:
    days = [moment_of((TODAY - day) * DAY_SLOTS).isoformat() for day in (6, 2)]
    bounds = ["--from", days[0], "--to", days[1]]
    return CliRunner().invoke(meterkeep.build(), ["backfill", "plan", *map(str, words), *bounds])


def test_a_fleet_s_plan_needs_no_key_and_tells_no_meter_point(kept: Settings) -> None:
    Path(kept.kek).unlink()
    done = run("--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert (said["meters"], said["lacking"], said["late"]) == ({"lacking": 1, "whole": 1}, 48, 0)
    [request] = said["requests"]
    gap = window_of(TODAY - 4)
    assert request["from"] == moment_of(gap.start).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert request["to"] == moment_of(gap.end).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (request["half_hours"], request["blocks"], request["seconds_at_most"]) == (48, 1, 30.0)
    for word in ("--json", "--csv", "--since-first"):
        output = run(word).output
        assert HOME.text not in output
        assert OTHER.text not in output


def test_a_list_s_plan_names_meters_by_their_lines_and_asks_unknown_ones_for_all(
    kept: Settings, tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{OTHER.text}\n{mpan(3).text}\n{HOME.text}\n{HOME.text}\n")
    rows = list(csv.DictReader(io.StringIO(run("--mpxn-file", listed, "--csv").stdout)))
    assert [(row["order"], row["meter"], row["half_hours"]) for row in rows] == [
        ("1", "2", "192"), ("2", "3", "48"),
    ]  # fmt: skip
    assert {row["srv"] for row in rows} == {"4.8.1"}
    said = json.loads(run("--mpxn-file", listed, "--json").stdout)
    assert [(one["meter"], one["half_hours"]) for one in said["requests"]] == [
        ("2", 192),
        ("3", 48),
    ]
    text = run("--mpxn-file", listed).stdout
    assert "1 whole" in text
    assert "1 silent" in text
    assert "SECMP0053" in text
    assert mpan(3).text not in text


def test_nothing_lacks_is_status_0(kept: Settings, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(OTHER.text)
    done = run("--mpxn-file", listed)
    assert done.exit_code == 0
    assert "0 half-hours, 0 requests" in done.stdout
    assert json.loads(run("--mpxn-file", listed, "--json").stdout)["requests"] == []
    assert run("--mpxn-file", listed, "--csv").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--srv", "7.9"], "not_a_data_srv"),
        (["--srv", "4.10"], "srv_not_held"),
        (["--srv", "9.9"], "unknown_srv"),
        (["--register", "active_export"], "bad_register"),
        (["--mpxn-file", "/nowhere"], "unreadable"),
        (["12345678901234"], "malformed_mpxn"),
    ],
)
def test_what_cannot_be_planned_is_told_by_its_code(
    kept: Settings, words: Sequence[str], code: str
) -> None:
    assert getattr(run(*words).exception, "code", None) == code


def test_the_assumptions_say_what_the_model_says() -> None:
    told = " ".join(assumptions(wish(window_of(RECENT), at_once=7)))
    for figure in ("19,056", "4.8.1", "200 blocks", "19,008", "10 to 33 s", "7 meters"):
        assert figure in told
