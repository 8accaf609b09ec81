"""Whoever is known may ask what is promised, and how long a request would take."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.service.conftest import Caller

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
