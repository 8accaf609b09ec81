"""The short way to the address asked most is the long way, to the byte."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.app import create_app
from service.front import Front

PREFIX = "/v1/meter-points/"


async def told(app: Any, scope: dict[str, Any], *, long: bool) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    call = FastAPI.__call__ if long else Front.__call__
    await call(app, dict(scope), receive, send)
    return sent


def scope(method: str, path: str, query: bytes = b"", *headers: tuple[bytes, bytes]) -> Any:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8700),
    }


paths = st.builds(
    lambda handle, rest: PREFIX + handle + rest,
    st.sampled_from(["mp_x", "", "a/b", "%2F", "reads", "é", "\n", "mp_x\n"]) | st.text(max_size=9),
    st.sampled_from(["/reads", "/reads/", "/Reads", "//reads", "/reads\n", "/coverage", ""]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["GET", "get", "HEAD", "POST", "OPTIONS", "BREW"]),
    paths,
    st.sampled_from([b"", b"srv=4.8.1", b"%", b"x" * 5_000]),
    st.lists(
        st.sampled_from(
            [(b"accept", b"text/none"), (b"authorization", b"DPoP x.y.z"), (b"x", b"y" * 20_000)]
        ),
        max_size=3,
    ),
)
def test_whatever_is_refused_is_refused_alike(
    front: Front, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    asked = scope(method, path, query, *headers)
    short = asyncio.run(told(front, asked, long=False))
    assert short == asyncio.run(told(front, asked, long=True))
    assert short[0]["status"] != 200


def test_an_answer_is_the_same_but_for_its_log_entry_and_what_is_left_to_ask(
    calling: Any, front: Front
) -> None:
    async def body(caller: Any) -> None:
        path, both = f"{PREFIX}{await caller.handle('reader')}/reads", []
        query = b"srv=4.8.1&from=2025-02-01T00:00:00Z&to=2025-03-01T00:00:00Z"
        for long in (False, True):
            request = caller.http.build_request("GET", path, headers=await caller.headers("reader"))
            for prove in caller.http.event_hooks["request"]:
                await prove(request)
            both.append(await told(front, scope("GET", path, query, *lowered(request)), long=long))
        for start, _ in both:
            noted = [h for h in start["headers"] if h[0].startswith(b"meterkeep-log-")]
            left = [h for h in start["headers"] if h[0] == b"ratelimit"]
            assert (len(noted), len(left)) == (2, 1)
            start["headers"] = [h for h in start["headers"] if h not in noted + left]
        assert both[0] == both[1]
        assert both[0][0]["status"] == 200
        assert b"54321" in both[0][1]["body"]

    calling(body)


def test_both_ways_are_counted_under_one_route(front: Front) -> None:
    """Nobody who asks for something that is not there may make up a label."""

    async def body() -> bytes:
        for long in (False, True):
            await told(front, scope("GET", f"{PREFIX}mp_secret/reads"), long=long)
        return bytes((await told(front, scope("GET", "/metrics"), long=False))[1]["body"])

    counted = asyncio.run(body()).decode()
    line = (
        'meterkeep_request_seconds_count{route="/v1/meter-points/{meter_point}/reads",status="401"}'
    )
    assert f"{line} 2.0" in counted
    assert "secret" not in counted


def lowered(request: Any) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in request.headers.raw]


@pytest.fixture
def front(world: Any) -> Front:
    app = create_app(world.store)
    assert isinstance(app, Front)
    return app
