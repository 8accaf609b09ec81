"""A verdict is remembered for its set and its request, and for nothing wider."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.access.records import on_consent
from store.grants import Question
from store.grounds import FOREVER, Consent, Party, Tenancy
from store.policy import cedar
from store.policy.cedar import REFUSED, Asked
from store.policy.policy_check import examples
from store.policy.policy_set import load, parse, read
from store.reads import HALF_HOUR, Mpxn, Register, Window

POLICY = load()
DAY = 86_400
NOW = 1_000_000.0 * HALF_HOUR
AGO = -1_000 * DAY


def consented() -> Asked:
    return next(e.asked for e in examples() if e.allowed and e.asked.action == "read on consent")


def test_what_is_remembered_is_what_cedar_says() -> None:
    told = [example.asked for example in examples()]
    first, remembered = POLICY.rules.ask(told), POLICY.rules.ask(told)
    assert first == remembered
    assert first == [POLICY.rules._judged(one) for one in told]
    assert len(set(first)) > 9


def test_an_equal_request_is_judged_once_and_another_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    judge = cedar.cedarpy.is_authorized_batch

    def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        return judge(*arguments)

    monkeypatch.setattr(cedar.cedarpy, "is_authorized_batch", counted)
    fresh, one = load(), consented()
    asked.clear()  # loading asks too
    assert fresh.rules.ask([one, one]) == fresh.rules.ask([one]) * 2
    assert len(asked) == 1
    for other in (
        replace(one, role="ES"),
        replace(one, action="read on registration"),
        replace(one, resource="Books"),
        replace(one, context=one.context.replace("true", "false", 1)),
    ):
        before = len(asked)
        fresh.rules.ask([other])
        assert len(asked) == before + 1, other


def test_another_set_remembers_nothing_of_this_one() -> None:
    one = consented()
    assert POLICY.rules.ask([one])[0].allowed
    never = '@id("erased.all") @says("x") forbid (principal, action, resource);'
    house = parse(
        read() | {"never.cedar": never.replace("action,", 'action == Action::"read on consent",')}
    )
    assert not house.rules.ask([one])[0].allowed
    assert POLICY.rules.ask([one])[0].allowed


def test_what_could_not_be_judged_stays_refused() -> None:
    broken = Asked("OU", "read on consent", "{")
    assert POLICY.rules.ask([broken, broken]) == [REFUSED, REFUSED]
    assert POLICY.rules.ask([broken]) == [REFUSED]


def test_no_more_verdicts_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cedar, "_MOST_KEPT", 8)
    fresh = load()
    for at in range(40):
        fresh.rules.ask([Asked(f"role {at}", "ask")])
    assert fresh.rules._said.cache_info().currsize == 8  # type: ignore[attr-defined]


# ---- a consent's record keeps for a day, and no sign or day of the month ahead is lost by it ----


def left(seconds: float) -> int:
    """What a record says is left of a consent that expires ``seconds`` after NOW."""
    mpxn = Mpxn.parse("1200000000020")
    asked = Question(Party("p", "p", frozenset({"OU"})), "4.8.1", mpxn, Window(0, 9))
    consent = Consent(
        "c", 0, Window(0, FOREVER), "PT30M", frozenset(), NOW + seconds, None, "granted", b""
    )
    lives = Tenancy(Window(0, FOREVER), b"s" * 16, b"")
    text = on_consent(asked, [Register.ACTIVE_IMPORT], consent, lives, Window(0, 9), NOW)
    told: int = orjson.loads(text)["expires_in"]
    return told


@given(st.floats(AGO, -AGO), st.integers(-30, 30))
def test_what_is_left_is_on_the_same_side_of_every_day_of_a_month(
    seconds: float, days: int
) -> None:
    real = (NOW + seconds) - NOW
    assert (left(seconds) <= days) is (real <= days * DAY)
    assert -31 <= left(seconds) <= 31


@given(st.integers(-900, 900))
def test_a_record_stays_the_same_for_a_day(days: int) -> None:
    assert left(days * DAY) == left(days * DAY - DAY + 1)
