"""How long a request takes: the meter's model holds its source's figures, and the store its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.policy import response_rules
from store.policy.response_rules import MeterModel
from store.reads import HALF_HOUR, Window
from store.targets.estimating import FEW, alike, by_radio, estimate, held
from store.targets.timings import Kind, Spread, bucket_of

RULES = response_rules.load()
MODEL = RULES.meter
SEC = RULES.in_force(date(2026, 11, 26))
NOW = 1_000_000 * float(HALF_HOUR)
HOURS = 3_600
THIRTEEN_MONTHS = Window(1_000_000 - 19_008, 1_000_000)

MODELS = st.builds(
    lambda half_hours, blocks, quick, share, fast, slow: MeterModel(
        half_hours, min(blocks, half_hours), fast, fast * slow,
        quick, share * -(-quick * min(blocks, half_hours) // half_hours) * fast, MODEL.holds,
    ),
    st.integers(1, 100_000), st.integers(1, 1_000), st.integers(1, 20_000),
    st.floats(0.01, 1), st.floats(0.1, 100), st.floats(1, 10),
)  # fmt: skip


def spread(number: int, seconds: float) -> Spread:
    return Spread({bucket_of(seconds): number}, seconds)


# ---- by radio --------------------------------------------------------------------------------


def test_thirteen_months_at_low_load_take_about_two_hours() -> None:
    """SECMP0053: 200 GBT blocks; the footnote's 6,600 s is the one that agrees with the text."""
    told = by_radio(MODEL, 19_008)
    assert told.blocks == 200
    assert (told.at_least, told.at_most) == (2_000, 6_600)
    assert abs(told.at_most - 2 * HOURS) < 0.1 * 2 * HOURS


def test_a_week_and_a_half_of_half_hours_fits_into_thirty_seconds_and_one_more_does_not() -> None:
    assert by_radio(MODEL, 504).at_most == 30
    assert by_radio(MODEL, 505).at_least > 30


def test_nothing_takes_no_time() -> None:
    assert (by_radio(MODEL, 0).at_least, by_radio(MODEL, 0).at_most) == (0, 0)


@given(MODELS | st.just(MODEL), st.integers(0, 60_000), st.integers(0, 60_000))
def test_more_half_hours_never_take_less_time(model: MeterModel, one: int, other: int) -> None:
    less, more = (by_radio(model, n) for n in sorted((one, other)))
    assert less.blocks <= more.blocks
    assert less.at_least <= more.at_least * (1 + 1e-9)
    assert less.at_most <= more.at_most * (1 + 1e-9)
    assert less.at_least <= less.at_most * (1 + 1e-9)


@given(st.integers(900_000, 1_100_000), st.integers(0, 200_000))
def test_a_meter_is_asked_only_for_what_it_holds(start: int, length: int) -> None:
    window = Window(start, start + max(1, length))
    asked = held(MODEL, "4.8.1", window, NOW)
    there = range(1_000_000 - 19_056, 1_000_000)
    assert asked == len(range(max(window.start, there.start), min(window.end, there.stop)))


def test_what_the_meter_holds_no_more_is_told_and_not_asked_of_it() -> None:
    """The meter keeps 93 days of reactive and export energy, the store as long as it is told."""
    told = estimate(RULES, SEC, {}, "4.8.2", THIRTEEN_MONTHS, NOW)
    assert told["half_hours"] == 19_008
    assert told["meter"]["half_hours"] == 4_464
    assert told["meter"]["not_held"] == 19_008 - 4_464
    assert told["target"] is None  # version 10 was not read for it
    ahead = estimate(RULES, SEC, {}, "4.8.1", Window(1_000_000, 1_000_048), NOW)
    assert (ahead["meter"]["half_hours"], ahead["meter"]["at_most"]) == (0, 0)


# ---- by the store ----------------------------------------------------------------------------


def test_an_answer_is_told_of_by_its_like() -> None:
    like, unlike = Kind("4.8.1", "consent", 19_056, "answered"), spread(FEW, 9.0)
    spreads = {
        like: spread(FEW - 1, 0.001),
        replace(like, role="supplier"): spread(1, 0.002),
        replace(like, size=48): unlike,
        replace(like, srv="4.8.2"): unlike,
        replace(like, outcome="refused"): unlike,
        replace(like, outcome="failed"): unlike,
    }
    told = estimate(RULES, SEC, spreads, "4.8.1", THIRTEEN_MONTHS, NOW)
    assert told["store"]["most"] == 0.002
    assert 0.001 <= told["store"]["p50"] <= 0.0011
    assert told["store"]["answers_at_least"] == 10  # 20: how much others ask is not told
    assert told["target"] == {"catalogue": SEC.name if SEC else "", "smets1": 16, "smets2": 5_600}


def test_where_its_like_is_rare_it_is_told_of_by_the_next_larger_never_by_a_smaller() -> None:
    one = Kind("4.8.1", "consent", 1_488, "answered")
    other, larger, smaller = (
        replace(one, srv="4.8.2"), replace(one, size=4_464), replace(one, size=504),
    )  # fmt: skip
    few, many = spread(3, 0.001), spread(FEW, 0.002)
    assert alike({one: few, smaller: many}, "4.8.1", 1_000) == ("4.8.1", 1_488, few)
    assert alike({one: few, other: many}, "4.8.1", 1_000)[:2] == ("", 1_488)
    assert alike({one: few, larger: many}, "4.8.1", 1_000) == ("4.8.1", 4_464, many)
    assert alike({smaller: many}, "4.8.1", 1_000) == ("", 1_488, Spread())


def test_where_nothing_was_measured_nothing_is_claimed() -> None:
    told = estimate(RULES, SEC, {}, "4.8.1", THIRTEEN_MONTHS, NOW)["store"]
    assert {told[name] for name in ("p50", "p95", "p99", "most")} == {None}
    assert told["answers_at_least"] == 0
    assert told["basis"].startswith("nothing like it")


@pytest.mark.parametrize(("number", "told"), [(1, 1), (9, 1), (10, 10), (99, 10), (12_345, 10_000)])
def test_how_many_answers_it_rests_on_is_told_by_its_digits(number: int, told: int) -> None:
    kind = Kind("4.8.1", "consent", 19_056, "answered")
    found = estimate(
        RULES, SEC, {kind: spread(number, 0.001)}, "4.8.1", THIRTEEN_MONTHS, NOW
    )  # fmt: skip
    assert found["store"]["answers_at_least"] == told
