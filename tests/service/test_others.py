"""Other issuers, pinned: their tokens count as ours do; nothing that a token says moves a pin."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import select

from service import dpop, others
from service.app import create_app
from service.jose import sign
from service.others import Other, Pinned, keys_of, load
from store import tables
from store.errors import InputError
from store.reads import Mpxn

URL = "http://127.0.0.1:8700"
THEIRS = "https://login.example"
HOME = "1200000000020"
KEY = RSAKey.generate_key(2048)
JWKS = {"keys": [{**KEY.as_dict(private=False), "kid": "k1", "use": "sig", "alg": "PS256"}]}
GOOD = f"""
[[issuer]]
issuer = "{THEIRS}"
jwks = "keys.json"
audience = "{URL}/v1"
algs = ["PS256"]
[issuer.clients]
"client-7" = "reader"
"client-9" = "nobody's name"
"""


def pinned(world: Any, folder: Path, text: str = GOOD) -> Any:
    (folder / "issuers.toml").write_text(text)
    (folder / "keys.json").write_text(json.dumps(JWKS))
    settings = replace(world.store.settings, issuers=folder / "issuers.toml")
    return create_app(replace(world.store, settings=settings))


def answer(world: Any, app: Any, header: dict[str, Any] | None = None, **changes: Any) -> int:
    at, key = int(world.clock.at), changes.pop("key", KEY)
    query = changes.pop("query", None)
    claims = {
        "iss": THEIRS, "aud": f"{URL}/v1", "sub": "client-7", "client_id": "client-7",
        "iat": at, "exp": at + 300, "jti": "t1",
        "cnf": {"jkt": world.bound.thumbprint()}, **changes,
    }  # fmt: skip
    token = sign({"alg": "PS256", "typ": "at+jwt", "kid": "k1", **(header or {})}, claims, key)
    path = "/v1/meter-points/lookup"
    if query is not None:
        code = world.parties["reader"].code
        path = f"/v1/meter-points/{world.store.keys.handles.of(Mpxn.parse(HOME), code)}/reads"
    method = "POST" if query is None else "GET"
    proof = dpop.make(world.bound, "ES256", method, URL + path, at, token)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
            headers = {"authorization": f"DPoP {token}", "dpop": proof}
            if query is not None:
                said = await http.get(path, params=query, headers=headers)
            else:
                said = await http.post(path, json={"mpxn": HOME}, headers=headers)
            return said.status_code

    return asyncio.run(ask())


def test_a_client_of_another_issuer_is_the_party_that_it_is_said_to_be(
    world: Any, tmp_path: Path
) -> None:
    assert answer(world, pinned(world, tmp_path)) == 200


def test_the_log_names_the_client_that_acted_for_its_party(world: Any, tmp_path: Path) -> None:
    window = {"from": "2025-02-01T00:00:00Z", "to": "2025-02-02T00:00:00Z"}
    app = pinned(world, tmp_path)
    assert answer(world, app, query={"srv": "4.8.1", **window}) == 200
    earlier = window | {"from": "2025-01-01T00:00:00Z"}
    assert answer(world, app, query={"srv": "4.8.1", **earlier}, jti="t2") == 403
    with world.store.database.read() as connection:
        query = select(tables.details.c.detail).join(
            tables.leaves, tables.leaves.c.entry == tables.details.c.entry
        )
        texts = connection.execute(query.order_by(tables.leaves.c.id.desc()).limit(4)).scalars()
        newest = [json.loads(text) for text in texts]
    # An outcome, which may stand among them by now, says what left, not who asked.
    who = [detail["by"] for detail in newest if "by" in detail]
    assert who[:2] == [f"{THEIRS} client-7"] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": f"{THEIRS}/"},
        {"iss": URL},
        {"iss": [THEIRS]},
        {"aud": THEIRS},
        {"aud": [f"{URL}/v1"]},
        {"sub": "client-9", "client_id": "client-9"},
        {"sub": "client-8", "client_id": "client-8"},
        {"sub": "p_a", "client_id": "p_a"},
        {"exp": 1_750_003_600},
        {"cnf": None},
        {"key": RSAKey.generate_key(2048)},
        {"header": {"kid": "k2"}},
        {"header": {"alg": "RS256"}},
        {"header": {"typ": "JWT"}},
        {"header": {"jku": "https://evil.example"}},
    ],
    ids=",".join,
)
def test_what_is_not_pinned_is_nobody(world: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert answer(world, pinned(world, tmp_path), **changes) == 401


def test_their_key_signs_nothing_in_our_name(world: Any, tmp_path: Path) -> None:
    app = pinned(world, tmp_path)
    kid = json.loads(published(app))["keys"][0]["kid"]
    code = world.parties["reader"].code
    for header in ({}, {"kid": kid}):
        assert answer(world, app, header, iss=URL, sub=code, client_id=code) == 401


def published(app: Any) -> str:
    async def get() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
            return (await http.get("/oauth2/jwks")).text

    return asyncio.run(get())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[issuer]]",
        "issuer = 5",
        GOOD + "surprise = 1",
        GOOD.replace('"PS256"', '"RS256"'),
        GOOD.replace('"PS256"', '"none"'),
        GOOD.replace('algs = ["PS256"]', "algs = []"),
        GOOD.replace('jwks = "keys.json"', 'jwks_uri = "http://login.example/jwks"'),
        GOOD.replace('jwks = "keys.json"', 'jwks_uri = "file:///etc/passwd"'),
        GOOD.replace('jwks = "keys.json"', ""),
        GOOD.replace(THEIRS, URL),
        GOOD.replace(f'"{THEIRS}"', "7"),
        GOOD + GOOD,
    ],
)
def test_a_file_that_is_not_understood_is_told_at_the_start(
    world: Any, tmp_path: Path, text: str
) -> None:
    with pytest.raises(InputError) as caught:
        pinned(world, tmp_path, text)
    assert caught.value.code == "bad_issuers"
    with pytest.raises(InputError):
        load(tmp_path / "none.toml", world.clock)


# ---- keys --------------------------------------------------------------------------------------


def other(clock: Any, fetch: Any) -> Other:
    return Other(Pinned(THEIRS, "aud", ("PS256", "ES256"), {}, fetch), clock)


def test_unknown_names_cost_the_issuer_one_question_in_half_a_minute(world: Any) -> None:
    asked: list[int] = []

    def fetch() -> bytes:
        asked.append(1)
        return json.dumps(JWKS).encode()

    async def body() -> None:
        one = other(world.clock, fetch)
        assert all(await asyncio.gather(*(one.key("k1", 0) for _ in range(20))))
        for name in range(200):
            assert await one.key(f"made up {name}", 0) is None
        assert len(asked) == 1
        world.clock.at += 31
        await one.key("k2", 0)
        assert len(asked) == 2

    asyncio.run(body())


def test_a_new_key_is_found_and_a_withdrawn_one_forgotten(world: Any) -> None:
    fresh = ECKey.generate_key("P-256").as_dict(private=False)
    documents = [JWKS, {"keys": [{**fresh, "kid": "k2"}]}]

    async def body() -> None:
        one = other(world.clock, lambda: json.dumps(documents[0]).encode())
        assert await one.key("k1", 0)
        documents.pop(0)
        world.clock.at += 601
        assert await one.key("k1", 0) is None
        assert await one.key("k2", 0)

    asyncio.run(body())


def test_an_issuer_that_is_silent_is_believed_for_an_hour(world: Any) -> None:
    up = [True]

    def fetch() -> bytes:
        if not up[0]:
            raise httpx.ConnectError("gone")
        return json.dumps(JWKS).encode()

    async def body() -> None:
        one = other(world.clock, fetch)
        assert await one.key("k1", 0)
        up[0] = False
        world.clock.at += 3_000
        assert await one.key("k1", 0)
        world.clock.at += 700
        assert await one.key("k1", 0) is None

    asyncio.run(body())


@given(st.binary(max_size=200))
def test_no_document_makes_the_reading_of_keys_stumble(document: bytes) -> None:
    with suppress(ValueError):
        assert not keys_of(document)


def test_a_key_set_is_bounded_and_names_nothing_twice() -> None:
    for said in (
        {"keys": JWKS["keys"] * 2},
        {"keys": [{}] * 33},
        {"keys": {}},
        [],
        {"keys": [], "x": "a" * 70_000},
    ):
        with pytest.raises(ValueError):
            keys_of(json.dumps(said).encode())
    assert not keys_of(
        json.dumps({"keys": [5, {}, {"kty": "oct", "k": "AA", "kid": "a"}]}).encode()
    )


@contextmanager
def served(status: int, body: bytes, **headers: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/jwks"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "headers", "good"),
    [
        (200, json.dumps(JWKS).encode(), {}, True),
        (404, b"{}", {}, False),
        (302, b"", {"location": "http://127.0.0.1:1/"}, False),
        (200, b"{" + b" " * 100_000 + b"}", {}, False),
        (200, b"<html>", {}, False),
    ],
)
def test_keys_are_fetched_within_bounds(
    world: Any, status: int, body: bytes, headers: dict[str, str], good: bool
) -> None:
    with served(status, body, **headers) as address:
        one = other(world.clock, others._fetcher(address))
        assert (asyncio.run(one.key("k1", 0)) is not None) is good
