"""Whatever an application does, the door answers once and tells nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from service.door import Door
from service.telemetry import Telemetry

SCOPE = {"type": "http", "headers": [(b"host", b"x")], "method": "GET", "path": "/x"}


def served(app: Any, scope: dict[str, Any] = SCOPE) -> tuple[list[dict[str, Any]], str]:
    sent: list[dict[str, Any]] = []
    telemetry = Telemetry()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    asyncio.run(Door(app, telemetry)(scope, receive, send))
    return sent, telemetry.exposition().decode()


@pytest.mark.parametrize("fault", [ValueError("203 Wh"), RecursionError(), MemoryError()])
def test_an_error_that_nobody_told_becomes_a_bare_problem(fault: Exception) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise fault

    (start, body), metrics = served(app)
    assert start["status"] == 500
    assert json.loads(body["body"])["code"] == "internal"
    assert b"203" not in body["body"]
    assert 'code="internal"' in metrics


def test_an_answer_that_breaks_half_way_is_not_begun_twice() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    sent, _ = served(app)
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_what_is_not_http_passes() -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    served(app, {"type": "lifespan"})
    assert passed == ["lifespan"]
