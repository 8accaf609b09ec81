"""The caller's side, against the real application over ASGI, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import OKPKey

from service.app import create_app
from service.client import Client, ServiceError
from store.errors import InputError, RefusedError
from store.reads import Mpxn

URL = "http://127.0.0.1:8700"
HOME = Mpxn.parse("1200000000020")
QUESTION = {"srv": "4.8.1", "from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"}


class Bridge(httpx.BaseTransport):
    """Lets a synchronous client reach an ASGI application, and counts what it asks."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        body = b"".join([chunk async for chunk in answer.stream])  # type: ignore[union-attr]
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)


@pytest.fixture
def bridge(world: Any) -> Bridge:
    return Bridge(create_app(world.store))


@pytest.fixture
def client(world: Any, bridge: Bridge) -> Iterator[Client]:
    party = world.parties["reader"]
    key = party.key.as_dict(private=True)
    with Client(party.code, URL, URL, key, transport=bridge, now=world.clock.now) as found:
        yield found


def test_a_client_reads_with_one_token_and_no_mpan_in_any_address(
    client: Client, bridge: Bridge
) -> None:
    told = client.reads(HOME, QUESTION, "application/json")
    assert told.value()["series"][0]["coverage"]["present"] == 28 * 48 - 2
    assert told.commit == told.value()["commit"]
    assert told.entry
    client.reads(HOME, QUESTION, "text/csv")
    assert sum(url.endswith("/oauth2/token") for url in bridge.asked) == 1
    assert not any(HOME.text in url for url in bridge.asked)


def test_a_token_is_fetched_anew_before_it_ends(client: Client, bridge: Bridge, world: Any) -> None:
    client.lookup(HOME)
    world.clock.at += 290
    client.lookup(HOME)
    assert sum(url.endswith("/oauth2/token") for url in bridge.asked) == 2


def test_a_refusal_reaches_the_caller_as_its_code(client: Client) -> None:
    early = QUESTION | {"from": "2025-01-01T00:00:00Z"}
    with pytest.raises(RefusedError) as caught:
        client.reads(HOME, early, "application/json")
    assert caught.value.code == "before_move_in"
    assert client.decide(HOME, early).value()["code"] == "before_move_in"


def test_a_problem_that_is_no_refusal_is_told_apart(client: Client) -> None:
    with pytest.raises(ServiceError) as caught:
        client.coverage(HOME, QUESTION | {"granularity": "P1D"})
    assert caught.value.code == "unknown_parameter"


def test_coverage_comes_back(client: Client) -> None:
    assert client.coverage(HOME, QUESTION).value()["series"][0]["coverage"]["missing"]


def test_a_stranger_s_key_gets_no_token(world: Any, bridge: Bridge) -> None:
    key = world.parties["stranger"].key.as_dict(private=True)
    code = world.parties["reader"].code
    with (
        Client(code, URL, URL, key, transport=bridge, now=world.clock.now) as client,
        pytest.raises(ServiceError) as caught,
    ):
        client.lookup(HOME)
    assert caught.value.code == "no_token"


def test_a_service_that_is_not_there_is_told() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    key = OKPKey.generate_key("Ed25519").as_dict(private=True)
    with (
        Client("p_a", URL, URL, key, transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(ServiceError) as caught,
    ):
        client.lookup(HOME)
    assert caught.value.code == "no_service"


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{", "{}", '{"client_id": "a", "service": "b", "issuer": "c", "key": {}}'],
)
def test_what_is_no_client_file_is_told(tmp_path: Path, body: str) -> None:
    path = tmp_path / "client.json"
    path.write_text(body)
    with pytest.raises(InputError) as caught:
        Client.from_file(path)
    assert caught.value.code == "bad_client_file"
    with pytest.raises(InputError):
        Client.from_file(tmp_path / "none.json")


def test_a_client_file_opens(tmp_path: Path, world: Any) -> None:
    party = world.parties["reader"]
    path = tmp_path / "client.json"
    said = {"client_id": party.code, "service": URL, "issuer": URL}
    path.write_text(json.dumps(said | {"key": party.key.as_dict(private=True)}))
    with Client.from_file(path):
        pass
