"""Whoever is known may ask what is promised, and how long a request would take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from joserfc.jwk import OKPKey
from sqlalchemy import select

from service import app
from service.app import timekeeping
from service.door import Door
from service.telemetry import ASKED, Telemetry
from service.times import FRESH
from store import tables
from store.errors import CatalogueError
from store.policy import policy_set
from store.reads import Mpxn
from store.targets.timekeeping import Tally
from store.targets.timing_book import TimingBook
from store.targets.timings import Kind, Spread
from tests.service.conftest import HOME, Caller, Party, World

Calling = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]
WHERE = "/v1/response-times"


def test_anybody_who_is_known_sees_what_is_promised(calling: Calling) -> None:
    async def body(caller: Caller) -> None:
        for who in ("reader", "supplier", "stranger"):
            answer = await caller.http.get(WHERE, headers=await caller.headers(who))
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert told["in_force"] == "sec-appendix-e-10"
            assert [one["standing"] for one in told["catalogues"]] == ["in_force", "proposed"]
            assert told["measure"]["counted"] == ["answered", "failed"]

    calling(body)


def test_nobody_else_does(calling: Calling) -> None:
    async def body(caller: Caller) -> None:
        answer = await caller.http.get(WHERE)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
        headers = await caller.headers("reader")
        first = await caller.http.get(WHERE, headers=headers)
        again = await caller.http.get(
            WHERE, headers=headers | {"dpop": first.request.headers["dpop"]}
        )
        assert (again.status_code, again.json()["code"]) == (401, "used_before")

    calling(body)


def test_what_is_not_asked_here_is_refused(calling: Calling) -> None:
    async def body(caller: Caller) -> None:
        answer = await caller.http.get(f"{WHERE}?day=1", headers=await caller.headers("reader"))
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter")

    calling(body)


# ---- what is counted of each request ---------------------------------------------------------


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, world: World) -> Callable[[], dict[Kind, Spread]]:
    """Return what gives the counts of the application, and forgets them."""
    made = timekeeping(world.store)
    monkeypatch.setattr(app, "timekeeping", lambda _: made)
    return made.tally.take


def test_answers_refusals_and_failures_are_counted_apart_and_what_is_no_question_is_not(
    calling: Calling, counted: Callable[[], dict[Kind, Spread]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(caller: Caller, who: str, mpxn: Mpxn = HOME, **query: Any) -> list[Any]:
        await caller.reads(who, mpxn, **query)
        return [(kind.role, kind.size, kind.outcome, spread.number)
                for kind, spread in counted().items()]  # fmt: skip

    async def body(caller: Caller) -> None:
        assert await told(caller, "reader") == [("consent", 1_488, "answered", 1)]
        day = {"from_": "2025-02-01T00:00:00Z", "to": "2025-02-02T00:00:00Z"}
        assert await told(caller, "reader", **day) == [("consent", 48, "answered", 1)]
        # A refusal is of a role that nobody settled on, unless it was named.
        assert await told(caller, "stranger") == [("", 1_488, "refused", 1)]
        assert await told(caller, "stranger", role="OU") == [("consent", 1_488, "refused", 1)]
        assert await told(caller, "reader", what="coverage") == []
        for wrong in ({"srv": "4.99"}, {"srv": "7.9"}, {"srv": "4.17"}, {"partial": "x"},
                      {"as_of": "999"}, {"accept": "image/png"}):  # fmt: skip
            assert await told(caller, "reader", **wrong) == []  # type: ignore[arg-type]
        assert (await caller.http.get("/v1/meter-points/mp_x/reads")).status_code == 401
        assert counted() == {}
        # A fault of ours is a failure.
        gone = CatalogueError("the database is away")

        async def away(*_: Any, **__: Any) -> None:
            raise gone

        monkeypatch.setattr(type(caller.world.store.reads), "read", away)
        assert await told(caller, "reader") == [("consent", 1_488, "failed", 1)]

    calling(body)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "answered"), (403, "refused"), (410, "refused"), (429, "refused"), (500, "failed"),
     (503, "failed"), (401, None), (404, None), (406, None), (422, None), (0, None)],
)  # fmt: skip
def test_what_became_of_a_request_is_told_by_its_status(status: int, outcome: str | None) -> None:
    """Who was told to wait was refused: it is no fault of ours, and no answer."""
    tally = Tally(policy_set.load())
    Telemetry(tally).timed(("4.8.1", "OU", 48), status, 0.01)
    assert [kind.outcome for kind in tally.take()] == ([] if outcome is None else [outcome])


def test_an_answer_that_breaks_off_on_its_way_is_a_failure() -> None:
    tally = Tally(policy_set.load())

    async def breaking(scope: Any, _receive: Any, send: Any) -> None:
        scope[ASKED] = "4.8.1", "OU", 48
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ConnectionResetError

    async def nothing(*_: Any) -> Any:
        return None

    asyncio.run(Door(breaking, Telemetry(tally))({"type": "http", "headers": []}, nothing, nothing))
    assert [kind.outcome for kind in tally.take()] == ["failed"]


def test_what_is_kept_of_requests_names_no_party_and_no_meter_point(
    calling: Calling, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = timekeeping(world.store)
    monkeypatch.setattr(app, "timekeeping", lambda _: made)

    async def body(caller: Caller) -> None:
        await caller.reads("reader")
        await caller.reads("stranger")

    calling(body)
    made.close()
    with world.store.database.read() as connection:
        rows = connection.execute(select(tables.timings)).mappings().all()
    assert len(rows) == 2
    words = {str(row[name]) for row in rows for name in ("srv", "role", "outcome")}
    assert words <= {"4.8.1", "consent", "", "answered", "refused"}
    assert all(isinstance(row[name], int | float) for row in rows
               for name in row if name not in {"srv", "role", "outcome"})  # fmt: skip


# ---- how long this request would take --------------------------------------------------------

WINDOW = {"from": "2025-02-01T00:00:00Z", "to": "2025-02-02T00:00:00Z"}


async def ask(caller: Caller, which: str, who: str, **query: str) -> Any:
    headers = await caller.headers(who)
    return await caller.http.get(f"{WHERE}/{which}", params=query, headers=headers)


def keep(world: World, number: int = 100, seconds: float = 0.002) -> None:
    """Let the book hold answers of the world's hour."""
    made = timekeeping(world.store)
    for _ in range(number):
        made.tally.count("4.8.1", "OU", 48, "answered", seconds)
    made.close()


def test_anybody_who_is_known_hears_how_long_a_request_would_take(
    calling: Calling, world: World
) -> None:
    keep(world)

    async def body(caller: Caller) -> None:
        for who in ("reader", "stranger"):
            answer = await ask(caller, "estimate", who, srv="4.8.1", **WINDOW)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert told["half_hours"] == 48
            assert told["target"]["smets2"] == 5_600
            assert told["store"]["p99"] == 0.002
            assert told["meter"]["at_most"] == 30
            assert "meterkeep-log-entry" not in answer.headers

    calling(body)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"srv": "6.14.1"}, "not_a_data_srv"),
        ({"srv": "6.14.2"}, "not_a_data_srv"),
        ({"srv": "7.9"}, "not_a_data_srv"),
        ({"srv": "4.10"}, "srv_not_held"),
        ({"srv": "4.99"}, "unknown_srv"),
        ({"srv": "<4.8.1>"}, "bad_srv"),
        ({"role": "OU"}, "unknown_parameter"),
        ({"to": "2025-02-01T00:00:00Z"}, "empty_window"),
        ({"to": "2045-02-01T00:00:00Z"}, "window_too_long"),
        ({"from": "2025-02-01"}, "bad_time"),
        ({"from": ""}, "missing_parameter"),
    ],
)
def test_what_cannot_be_estimated_is_refused_and_a_command_is_no_read(
    calling: Calling, query: dict[str, str], code: str
) -> None:
    async def body(caller: Caller) -> None:
        answer = await ask(caller, "estimate", "reader", **{"srv": "4.8.1", **WINDOW, **query})
        assert (answer.status_code, answer.json()["code"]) == (422, code)

    calling(body)


def test_what_was_measured_is_not_looked_up_for_each_question(
    calling: Calling, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    read = TimingBook.read
    monkeypatch.setattr(
        TimingBook, "read", lambda book, *hours: (looked.append(1), read(book, *hours))[1]
    )

    async def body(caller: Caller) -> None:
        for _ in range(5):
            assert (await ask(caller, "estimate", "reader", srv="4.8.1", **WINDOW)).is_success
        assert len(looked) == 1
        world.clock.at += FRESH
        assert (await ask(caller, "estimate", "reader", srv="4.8.1", **WINDOW)).is_success
        assert len(looked) == 2

    calling(body)


# ---- the report ------------------------------------------------------------------------------

TIME = {"from": "2025-06-01T00:00:00Z", "to": "2025-07-01T00:00:00Z"}  # the clock stands within


@pytest.fixture
def auditor(world: World) -> str:
    key = OKPKey.generate_key("Ed25519")
    jwk = {**key.as_dict(private=False), "kid": key.thumbprint()}
    world.parties["auditor"] = Party(world.store.facts.add_party("auditor", ["auditor"], jwk), key)
    return "auditor"


def test_an_auditor_sees_how_requests_stood_against_their_targets(
    calling: Calling, world: World, auditor: str
) -> None:
    keep(world)

    async def body(caller: Caller) -> None:
        answer = await ask(caller, "report", auditor, **TIME)
        assert answer.status_code == 200, answer.text
        [part] = answer.json()["parts"]
        assert part["rows"][0]["answered"] == 100
        assert part["rows"][0]["within"] == {"own": [1, 1], "smets1": [1, 1], "smets2": [1, 1]}
        assert answer.json()["measure"]["formula"]
        for party in world.parties.values():
            assert party.code not in answer.text

    calling(body)


def test_a_proof_counts_once_wherever_it_is_shown(calling: Calling, auditor: str) -> None:
    async def body(caller: Caller) -> None:
        for which, query in (("estimate", {"srv": "4.8.1", **WINDOW}), ("report", TIME)):
            first = await ask(caller, which, auditor, **query)
            assert first.status_code == 200, first.text
            sent = {name: first.request.headers[name] for name in ("authorization", "dpop")}
            again = await caller.http.get(f"{WHERE}/{which}", params=query, headers=sent)
            assert (again.status_code, again.json()["code"]) == (401, "used_before")

    calling(body)


def test_nobody_else_does_and_the_attempt_is_in_the_log(calling: Calling, world: World) -> None:
    async def body(caller: Caller) -> None:
        for who in ("reader", "supplier"):
            answer = await ask(caller, "report", who, **TIME)
            assert (answer.status_code, answer.json()["code"]) == (403, "role_not_permitted")
            entry = bytes.fromhex(answer.headers["meterkeep-log-entry"])
            leaves = tables.leaves.c
            with world.store.database.read() as connection:
                leaf = connection.execute(select(leaves.leaf).where(leaves.entry == entry)).scalar()
            assert b'"action":"targets report"' in leaf
            assert b'"kind":"denied"' in leaf

    calling(body)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"from": "2025-06-01T00:30:00Z"}, "bad_time"),
        ({"to": "2025-06-01T00:00:00Z"}, "empty_window"),
        ({"to": "2095-06-01T00:00:00Z"}, "window_too_long"),
        ({"to": ""}, "bad_time"),
        ({"party": "x"}, "unknown_parameter"),
    ],
)
def test_a_report_of_no_time_is_refused(
    calling: Calling, auditor: str, query: dict[str, str], code: str
) -> None:
    async def body(caller: Caller) -> None:
        answer = await ask(caller, "report", auditor, **{**TIME, **query})
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        bare = await caller.http.get(f"{WHERE}/report", headers=await caller.headers(auditor))
        assert (bare.status_code, bare.json()["code"]) == (422, "missing_parameter")

    calling(body)
