"""Nobody asks more than they may, whichever worker they ask, and nobody else hears of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service.gate import HOLD
from service.identity import Principal
from service.limits import LimitedError, Limits
from service.strikes import Strikes
from store import tables
from store.allowances import DAY, requests, volume
from store.errors import StoreError
from store.facts.door import Facts
from store.policy import limit_rules
from store.policy.limit_rules import Limit, LimitRules
from tests.service.conftest import Caller
from tests.world import NOON, World

SMALL = Limit(rate=2.0, burst=4, half_hours=1_000)
RULES = LimitRules(SMALL, {"p_more": Limit(2.0, 40, 10_000)}, 3, 0.5)


def limits_of(home: World) -> Limits:
    store = home.store
    return Limits(RULES, store.database, store.log, store.clock, store.policy.digest)


def who(client: str) -> Principal:
    return Principal(client, "jti", 0, "issuer")


async def let_in(limits: Limits, client: str, times: int) -> int:
    """Ask some times, one after the other; returns how many were let in."""

    async def ask() -> int:
        with suppress(LimitedError):
            await limits.admit(who(client))
            return 1
        return 0

    return sum([await ask() for _ in range(times)])


async def admitted(home: World, client: str, times: int, workers: int = 1) -> int:
    """Ask of several workers in turn."""
    each = [limits_of(home) for _ in range(workers)]
    found = 0
    for _ in range(times):
        for one in each:
            found += await let_in(one, client, 1)
            await asyncio.sleep(0.02)  # what a worker takes ahead, it takes on a thread
    for one in each:
        one.refusals.tell_all()
    return found


def test_a_burst_is_let_in_and_no_more(home: World) -> None:
    assert asyncio.run(admitted(home, "p_a", 12)) in {4, 5}


def test_all_workers_share_one_count(home: World) -> None:
    """Each may let in one request ahead of its count, and no more than that."""
    assert 4 <= asyncio.run(admitted(home, "p_a", 12, workers=3)) <= 4 + 3


def test_one_client_s_noise_takes_nothing_from_another(home: World) -> None:
    async def both() -> tuple[int, int]:
        limits = limits_of(home)
        noisy = await let_in(limits, "p_noisy", 50)
        return noisy, await let_in(limits, "p_quiet", 3)

    noisy, quiet = asyncio.run(both())
    assert noisy <= 5
    assert quiet == 3


def test_who_waits_as_told_is_let_in_again(home: World) -> None:
    async def later() -> int:
        limits = limits_of(home)
        await let_in(limits, "p_a", 12)
        home.clock.pass_by(2.0)
        return await let_in(limits, "p_a", 3)

    assert asyncio.run(later()) == 3


def test_who_was_told_to_wait_by_a_clock_that_was_set_back_since_need_not(home: World) -> None:
    async def later() -> int:
        limits = limits_of(home)
        assert await let_in(limits, "p_a", 12) < 12
        home.clock.pass_by(-3_600.0)
        return await let_in(limits, "p_a", 3)

    assert asyncio.run(later()) == 3


def test_a_client_may_be_allowed_more_than_others(home: World) -> None:
    assert asyncio.run(admitted(home, "p_more", 41)) in {40, 41}


def test_half_hours_of_a_day_are_counted(home: World) -> None:
    async def read() -> None:
        limits, other = limits_of(home), limits_of(home)
        for _ in range(4):
            await limits.charge(who("p_a"), 200)
        with pytest.raises(LimitedError) as refused:
            await other.charge(who("p_a"), 250)
        assert refused.value.code == "volume_limited"
        assert int(refused.value.headers["retry-after"]) <= DAY
        await other.charge(who("p_b"), 250)
        home.clock.pass_by(DAY)
        await limits.charge(who("p_a"), 900)
        await asyncio.sleep(0)
        limits.refusals.tell_all()
        other.refusals.tell_all()

    asyncio.run(read())


def test_a_thousand_refusals_are_one_leaf(home: World) -> None:
    async def noise() -> None:
        limits = limits_of(home)
        await let_in(limits, "p_a", 1_000)
        limits.refusals.tell_all()

    asyncio.run(noise())
    home.store.log.close()
    with home.store.database.read() as connection:
        query = select(tables.leaves.c.leaf, tables.details.c.detail).join_from(
            tables.leaves, tables.details, tables.leaves.c.entry == tables.details.c.entry
        )
        told = [(orjson.loads(leaf[1:]), orjson.loads(text)) for leaf, text in
                connection.execute(query)]  # fmt: skip
    mine = [(leaf, detail) for leaf, detail in told if leaf["action"] == "limit"]
    [(leaf, detail)] = mine
    assert (leaf["kind"], leaf["decision"], leaf["party"]) == ("denied", "rate_limited", "p_a")
    assert detail["refused"] >= 995


# ---- the arithmetic ----------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 9)), max_size=60))
def test_no_more_is_granted_than_the_burst_and_the_rate(asked: list[tuple[float, int]]) -> None:
    at, now, granted = 0.0, NOON, 0
    for pause, want in asked:
        now += pause
        at, lease = requests(at, SMALL, now, want)
        granted += lease.granted
        assert lease.granted <= want
        assert (lease.wait > 0) is (lease.granted == 0)
    assert granted <= SMALL.burst + SMALL.rate * (now - NOON) + 1e-3


@given(st.floats(0, 100))
def test_after_the_wait_there_is_one(ahead: float) -> None:
    _, lease = requests(NOON + ahead, SMALL, NOON, 1)
    _, again = requests(NOON + ahead, SMALL, NOON + lease.wait + 1e-3, 1)
    assert again.granted == 1


@given(st.lists(st.integers(1, 400), max_size=30))
def test_a_day_s_half_hours_are_never_exceeded(asked: list[int]) -> None:
    at, used, granted = 0.0, 0, 0
    for want in asked:
        at, used, lease = volume(at, used, SMALL, NOON, want)
        granted += lease.granted
    assert granted == min(SMALL.half_hours, sum(asked))


# ---- who proves nothing ------------------------------------------------------------------------


def test_who_proves_nothing_again_and_again_is_not_heard_for_a_while() -> None:
    strikes, key = Strikes(3, 0.5), ("192.0.2.1", "p_a")
    for _ in range(3):
        assert not strikes.wait(key, NOON)
        strikes.count(key, NOON)
    assert strikes.wait(key, NOON) == pytest.approx(2.0)
    assert not strikes.wait(("192.0.2.2", "p_a"), NOON)
    assert not strikes.wait(key, NOON + 2.0)


# ---- what is said of limits --------------------------------------------------------------------


def test_the_installed_limits_are_understood() -> None:
    rules = limit_rules.load()
    assert rules.of("p_anybody") == rules.default


@pytest.mark.parametrize(
    "change",
    [
        ("burst = 200", "burst = 0"),
        ("burst = 200", "burst = true"),
        ("requests_per_second = 100  #", "requests_per_second = nan  #"),
        ("failures = 20", "failures = 20.5"),
        ("[token]", "[tokens]"),
        ("[client]", "[client.p_a]\nmore = 1"),
    ],
)
def test_limits_that_are_not_understood_are_no_limits(change: tuple[str, str]) -> None:
    text = (Path(limit_rules.__file__).parents[2] / "policies" / "limits.toml").read_text()
    assert change[0] in text
    with pytest.raises(StoreError):
        limit_rules.parse(text.replace(*change, 1))


# ---- over HTTP ---------------------------------------------------------------------------------

Calling = Callable[[Callable[["Caller"], Coroutine[Any, Any, None]]], None]


def test_an_answer_says_where_its_client_stands(calling: Calling) -> None:
    async def body(caller: Caller) -> None:
        answer = await caller.reads("reader")
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == (
            '"requests";q=200;w=2, "half-hours";q=2000000000;w=86400;qu="half-hours"'
        )
        form = r'"requests";r=\d+;t=\d+, "half-hours";r=\d+;t=\d+'
        assert re.fullmatch(form, answer.headers["ratelimit"])
        unknown = await caller.http.get("/healthz")
        assert "ratelimit" not in unknown.headers

    calling(body)


def test_a_noisy_client_is_refused_before_any_fact_is_read_and_nobody_else_is(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_rules, "load", lambda _: RULES)

    async def body(caller: Caller) -> None:
        handle = await caller.handle("supplier")
        asked = f"/v1/meter-points/{handle}/reads?srv=4.8.1&from=2025-02-01T00:00:00Z"
        asked += "&to=2025-02-01T00:30:00Z&granularity=PT30M"
        noisy = await caller.headers("supplier")
        answers = [await caller.http.get(asked, headers=noisy) for _ in range(9)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 4 <= len(refused) <= 6
        assert {answer.json()["code"] for answer in refused} == {"rate_limited"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)

        def read(*_: object) -> None:
            raise AssertionError("a fact was read")

        with monkeypatch.context() as patch:
            patch.setattr(Facts, "grounds", read)
            assert (await caller.http.get(asked, headers=noisy)).status_code == 429
        quiet = await caller.reads("reader", to="2025-02-01T00:30:00Z")
        assert quiet.status_code == 200

    calling(body)


def test_who_does_not_wait_as_told_is_refused_a_moment_later(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_rules, "load", lambda _: RULES)
    held: list[float] = []
    sleep = asyncio.sleep

    async def hold(seconds: float) -> None:
        held.append(seconds)
        await sleep(0)

    async def body(caller: Caller) -> None:
        noisy = await caller.headers("supplier")

        async def ask() -> int:
            answer = await caller.http.get("/v1/consents/c_0", headers=noisy)
            return answer.status_code if answer.status_code == 429 else 0

        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", hold)
            while not await ask():
                assert not held
            assert not held  # the first refusal comes at once
            assert await ask()
            assert held == [HOLD]
            caller.world.clock.at += 2
            assert not await ask()
            while not await ask():
                pass
            assert held == [HOLD]  # it waited as told, so this is a first refusal again

    calling(body)


def test_a_question_larger_than_a_day_allows_is_refused(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_rules, "load", lambda _: RULES)

    async def body(caller: Caller) -> None:
        answer = await caller.reads("reader")  # 28 days, 1,344 half-hours
        assert (answer.status_code, answer.json()["code"]) == (429, "volume_limited")

    calling(body)


def test_token_requests_that_prove_nothing_are_heard_so_often_and_no_more(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_rules, "load", lambda _: RULES)

    async def body(caller: Caller) -> None:
        wrong = [
            (await caller.http.post("/oauth2/token", data=caller.world.form("reader", aud="x")))
            for _ in range(4)
        ]
        assert [answer.status_code for answer in wrong] == [401, 401, 401, 429]
        assert int(wrong[-1].headers["retry-after"]) >= 1
        assert wrong[-1].json()["error"] == "temporarily_unavailable"
        assert await caller.token("supplier")  # another client, from the same address
        caller.world.clock.at += 30
        assert await caller.token("reader")

    calling(body)
