"""Proofs of possession, attacked. Source: RFC 9449, RFC 8705."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.requests import Request

from service import dpop
from service.app import create_app
from service.arriving import Arriving
from service.dpop import BadProofError
from service.identity import Guard, Principal, Sent
from service.issuers import Issuer
from service.jose import BadTokenError, sign
from store.errors import InputError
from store.reads import Mpxn
from store.wiring import open_store

NOW = 1_750_000_000
URL = "http://127.0.0.1:8700"
ASKED = f"{URL}/v1/meter-points/mp_a/reads"
ISSUER = Issuer.from_seed(URL, bytes(32))
KEY = ECKey.generate_key("P-256")
OTHER = ECKey.generate_key("P-256")
DER = b"0\x82 the bytes of a certificate"
PRINT = base64.urlsafe_b64encode(hashlib.sha256(DER).digest()).rstrip(b"=").decode()
CERT = f":{base64.b64encode(DER).decode()}:"
HOME = Mpxn.parse("1200000000020")
QUESTION = "srv=4.8.1&from=2025-02-01T00:00:00Z&to=2025-03-01T00:00:00Z"
Calling = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]


class Ours:
    audience = f"{URL}/v1"
    algorithms = ("EdDSA",)

    async def key(self, kid: str, now: float) -> Any:
        return ISSUER.public_keys().get(kid, (None, 0))[0]

    def name(self, client_id: str) -> str | None:
        return None


GUARD = Guard({URL: Ours()})
TOKEN = ISSUER.issue("p_a", NOW, {"jkt": KEY.thumbprint()})
CERTIFIED = ISSUER.issue("p_a", NOW, {"x5t#S256": PRINT})


def proof(header: dict[str, Any] | None = None, key: Any = KEY, **changes: Any) -> str:
    claims = {"htm": "GET", "htu": ASKED, "iat": NOW, "jti": "1", "ath": dpop.digest(TOKEN)}
    kept = {k: v for k, v in {**claims, **changes}.items() if v is not None}
    said = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False), **(header or {})}
    return sign({k: v for k, v in said.items() if v is not None}, kept, key)


def ask(*proofs: str, said: str = f"DPoP {TOKEN}", **more: Any) -> Principal:
    return asyncio.run(GUARD.principal(Sent("GET", ASKED, (said,), proofs, **more), NOW))


def refused(*proofs: str, said: str = f"DPoP {TOKEN}", **more: Any) -> str:
    with pytest.raises(BadTokenError) as caught:
        ask(*proofs, said=said, **more)
    return caught.value.code


def raw(header: str, claims: str) -> str:
    signed = ".".join(
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (header, claims)
    )
    return f"{signed}.{'A' * 86}"


# ---- the proof itself --------------------------------------------------------------------------


def test_a_token_and_a_proof_by_its_key_are_somebody() -> None:
    assert ask(proof()).client_id == "p_a"


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("ES256", KEY),
        ("EdDSA", OKPKey.generate_key("Ed25519")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
        ("PS256", RSAKey.generate_key(2048)),
    ],
    ids=["ES256", "EdDSA", "Ed25519", "PS256"],
)
def test_every_algorithm_that_is_advertised_is_read(algorithm: str, key: Any) -> None:
    text = dpop.make(key, algorithm, "POST", ASKED, NOW)
    assert dpop.check(text, "POST", ASKED, NOW).thumbprint == key.thumbprint()


def test_a_token_without_its_proof_is_nobody() -> None:
    assert refused() == "invalid_dpop_proof"
    assert refused("") == "invalid_dpop_proof"
    assert refused(proof(), proof(jti="2")) == "invalid_dpop_proof"


def test_a_bound_token_as_a_bearer_is_nobody() -> None:
    for proofs in ((), (proof(),)):
        assert refused(*proofs, said=f"Bearer {TOKEN}") == "invalid_token"
        assert refused(*proofs, said=f"Bearer {TOKEN}", certificate=PRINT) == "invalid_token"


def test_a_token_that_is_bound_to_nothing_is_nobody() -> None:
    claims = {
        "iss": URL, "aud": f"{URL}/v1", "sub": "p_a", "client_id": "p_a", "iat": NOW,
        "exp": NOW + 300, "jti": "j",
    }  # fmt: skip
    bare = sign({"alg": "EdDSA", "typ": "at+jwt", "kid": ISSUER.kid}, claims, ISSUER.key)
    for said in (f"Bearer {bare}", f"DPoP {bare}"):
        assert refused(proof(ath=dpop.digest(bare)), said=said) == "invalid_token"


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "POST"},
        {"htm": "get"},
        {"htm": None},
        {"htu": f"{URL}/v1/meter-points/mp_b/reads"},
        {"htu": f"{ASKED}?srv=4.8.1"},
        {"htu": f"{ASKED}#x"},
        {"htu": f"{ASKED}/"},
        {"htu": ASKED.replace("127.0.0.1", "evil.example")},
        {"htu": ASKED.replace("http:", "https:")},
        {"htu": [ASKED]},
        {"htu": None},
        {"iat": NOW - 61},
        {"iat": NOW + 6},
        {"iat": NOW + 3_600},
        {"iat": f"{NOW}"},
        {"iat": NOW + 0.5},
        {"iat": True},
        {"iat": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "j" * 129},
        {"ath": None},
        {"ath": dpop.digest(TOKEN + "x")},
        {"ath": hashlib.sha256(TOKEN.encode()).hexdigest()},
    ],
    ids=",".join,
)
def test_a_proof_for_something_else_proves_nothing(changes: dict[str, Any]) -> None:
    assert refused(proof(**changes)) == "invalid_dpop_proof"


STRONG = RSAKey.generate_key(2048)
WEAK = {**STRONG.as_dict(private=False), "n": STRONG.as_dict(private=False)["n"][:171]}


@pytest.mark.parametrize(
    "header",
    [
        {"typ": None},
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"jwk": None},
        {"jwk": KEY.as_dict(private=True)},
        {"jwk": OTHER.as_dict(private=False)},
        {"jwk": {}},
        {"jwk": []},
        {"jwk": "x"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": {"kty": ["EC"]}},
        {"jwk": {**KEY.as_dict(private=False), "x": "AAAA"}},
        {"jwk": {**KEY.as_dict(private=False), "x": 7}},
        {"jwk": {**KEY.as_dict(private=False), "crv": "P-521"}},
        {"jwk": {**KEY.as_dict(private=False), "x5c": ["AAAA"]}},
        {"jwk": WEAK},
        {"kid": "a"},
        {"jku": "https://evil.example"},
        {"crit": ["exp"]},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
    ],
    ids=",".join,
)
def test_a_proof_whose_header_is_not_that_of_a_proof_proves_nothing(header: dict[str, Any]) -> None:
    assert refused(proof(header)) == "invalid_dpop_proof"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256", "ES384", "ES256K", "PS512", ""])
def test_a_proof_by_an_algorithm_that_is_not_listed_proves_nothing(algorithm: str) -> None:
    header = {"typ": "dpop+jwt", "alg": algorithm, "jwk": KEY.as_dict(private=False)}
    assert refused(raw(json.dumps(header), "{}")) == "invalid_dpop_proof"


def test_the_key_of_a_proof_is_no_hmac_secret() -> None:
    header = {"typ": "dpop+jwt", "alg": "HS256", "jwk": KEY.as_dict(private=False)}
    signed = raw(json.dumps(header), "{}").rpartition(".")[0]
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    text = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert refused(text) == "invalid_dpop_proof"


def test_rsa_keys_that_are_weak_or_slow_prove_nothing() -> None:
    jwk = {**STRONG.as_dict(private=False), "e": "AQAAAAAAAAE"}
    huge = {**STRONG.as_dict(private=False), "n": "A" * 690}
    for odd in (jwk, huge, WEAK):
        with pytest.raises(BadProofError):
            dpop.check(proof({"alg": "PS256", "jwk": odd}, STRONG), "GET", ASKED, NOW)


def test_another_key_s_proof_is_for_another_sender() -> None:
    assert refused(proof(key=OTHER)) == "invalid_token"


def test_a_malleated_signature_is_the_same_use() -> None:
    """Both s and n - s verify: what counts once is the number, never the bytes."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    text = proof()
    head, _, signature = text.rpartition(".")
    both = base64.urlsafe_b64decode(signature + "==")
    other = both[:32] + (order - int.from_bytes(both[32:], "big")).to_bytes(32, "big")
    twin = f"{head}.{base64.urlsafe_b64encode(other).rstrip(b'=').decode()}"
    assert twin != text
    assert ask(twin).use == ask(text).use is not None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "htm", "jti", "a"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.text(max_size=200))
def test_no_header_makes_the_guard_stumble(text: str) -> None:
    assert refused(text) == "invalid_dpop_proof"


@given(
    st.dictionaries(st.sampled_from(["typ", "alg", "jwk", "kid", "crit", "b64"]), JUNK),
    st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e"]), JUNK),
    st.dictionaries(st.sampled_from(["htm", "htu", "iat", "jti", "ath"]), JUNK),
)
def test_no_proof_makes_the_guard_stumble(
    header: dict[str, Any], jwk: dict[str, Any], claims: dict[str, Any]
) -> None:
    good = {"typ": "dpop+jwt", "alg": "ES256", "jwk": {**KEY.as_dict(private=False), **jwk}}
    for head in (header, good, {**good, **header}):
        assert refused(raw(json.dumps(head), json.dumps(claims))) == "invalid_dpop_proof"


@given(st.dictionaries(st.sampled_from(["htm", "htu", "iat", "jti", "ath"]), JUNK, min_size=1))
def test_even_a_good_signature_on_odd_claims_gives_an_answer(changes: dict[str, Any]) -> None:
    try:
        found = ask(proof(**changes))
    except BadProofError:
        return
    assert found.use is not None


@given(st.lists(st.text(max_size=60), max_size=3), st.lists(st.text(max_size=60), max_size=3))
def test_no_headers_make_the_guard_stumble(said: list[str], proofs: list[str]) -> None:
    with pytest.raises(BadTokenError):
        asyncio.run(GUARD.principal(Sent("GET", ASKED, tuple(said), tuple(proofs)), NOW))


# ---- certificates ------------------------------------------------------------------------------


def arrived(peer: str | None, *told: str, proxies: tuple[str, ...] = ("10.0.0.0/8",)) -> Sent:
    scope = {
        "type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "query_string": b"a=1",
        "headers": [(b"host", b"evil.example")] + [(b"client-cert", one.encode()) for one in told],
        "client": None if peer is None else (peer, 1),
    }  # fmt: skip
    return Arriving(URL, proxies).sent(Request(scope))


def test_a_certificate_that_the_proxy_saw_is_the_proof() -> None:
    sent = arrived("10.1.2.3", CERT)
    assert sent.certificate == PRINT
    assert ask(said=f"Bearer {CERTIFIED}", certificate=PRINT).use is None
    assert arrived("::ffff:10.1.2.3", CERT).certificate == PRINT


@pytest.mark.parametrize("peer", ["11.0.0.1", "127.0.0.1", "::1", "", "unix", None])
def test_a_certificate_header_from_anybody_else_is_not_heard(peer: str | None) -> None:
    assert arrived(peer, CERT).certificate is None
    assert arrived(peer, CERT, proxies=()).certificate is None


@pytest.mark.parametrize(
    "told", ["", "::", "x", CERT[1:], CERT[:-1], f"{CERT}, {CERT}", ":A:", ":====:", ":AA A=:"]
)
def test_a_malformed_certificate_header_is_no_certificate(told: str) -> None:
    assert arrived("10.1.2.3", told).certificate is None


def test_two_certificates_are_none() -> None:
    assert arrived("10.1.2.3", CERT, CERT).certificate is None


def test_a_token_bound_to_a_certificate_needs_that_one() -> None:
    assert refused(said=f"Bearer {CERTIFIED}") == "invalid_token"
    assert refused(said=f"Bearer {CERTIFIED}", certificate="other") == "invalid_token"
    assert refused(proof(ath=dpop.digest(CERTIFIED)), said=f"DPoP {CERTIFIED}") == "invalid_token"


def test_the_address_is_ours_whatever_host_says() -> None:
    assert arrived("11.0.0.1").url == f"{URL}/x"


def test_proxies_that_are_no_networks_are_told_at_the_start() -> None:
    with pytest.raises(InputError):
        Arriving(URL, ("the proxy",))


@given(st.binary(max_size=80))
def test_no_certificate_header_makes_the_guard_stumble(told: bytes) -> None:
    arrived("10.1.2.3", told.decode("latin-1"))


# ---- the whole service -------------------------------------------------------------------------


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["code"])


def shown(world: Any, token: str, method: str, path: str, **more: Any) -> dict[str, str]:
    key = more.pop("key", world.bound)
    at = more.pop("at", world.clock.at)
    made = dpop.make(key, "ES256", method, URL + path, at, token)
    return {"authorization": f"DPoP {token}", "dpop": made, **more}


def test_a_proof_counts_once_at_every_address(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        token, handle = await caller.token("reader"), await caller.handle("reader")
        month = {"srv": "4.8.1", "from": "2025-02-01T00:00:00Z", "to": "2025-03-01T00:00:00Z"}
        early = {**month, "from": "2025-01-01T00:00:00Z"}
        point = f"/v1/meter-points/{handle}"
        for method, path, more, status in (
            ("GET", f"{point}/reads", {"params": month}, 200),
            ("GET", f"{point}/coverage", {"params": month}, 200),
            ("GET", f"{point}/reads", {"params": early}, 403),
            ("POST", "/v1/decisions", {"json": {"meter_point": handle, **month}}, 200),
            ("POST", "/v1/decisions", {"json": {"meter_point": handle, **early}}, 200),
            ("POST", "/v1/meter-points/lookup", {"json": {"mpxn": HOME.text}}, 200),
        ):
            headers = shown(world, token, method, path)
            first = await caller.http.request(method, path, headers=headers, **more)
            assert first.status_code == status, first.text
            again = await caller.http.request(method, path, headers=headers, **more)
            assert code(again) == (401, "used_before"), path
            assert 'error="invalid_dpop_proof"' in again.headers["www-authenticate"]

    calling(body)


def test_a_proof_counts_once_on_all_workers_together(world: Any) -> None:
    """Two applications on two stores of one database: what one took, the other does not."""

    async def body() -> None:
        with open_store(world.store.settings, clock=world.clock) as second:
            lines = [
                httpx.AsyncClient(transport=httpx.ASGITransport(create_app(store)), base_url=URL)
                for store in (world.store, second)
            ]
            made = dpop.make(world.bound, "ES256", "POST", f"{URL}/oauth2/token", world.clock.at)
            form = world.form("reader")
            got = [
                await line.post("/oauth2/token", data=form, headers={"dpop": made})
                for line in lines
            ]
            assert [one.status_code for one in got] == [200, 401]
            token, path = got[0].json()["access_token"], "/v1/meter-points/lookup"
            headers = shown(world, token, "POST", path)
            answers = await asyncio.gather(
                *(line.post(path, json={"mpxn": HOME.text}, headers=headers) for line in lines * 3)
            )
            assert sorted(one.status_code for one in answers) == [200] + [401] * 5
            handle = next(one.json()["meter_point"] for one in answers if one.is_success)
            path = f"/v1/meter-points/{handle}/reads"
            headers = shown(world, token, "GET", path)
            answers = await asyncio.gather(
                *(line.get(f"{path}?{QUESTION}", headers=headers) for line in lines * 3)
            )
            assert sorted(one.status_code for one in answers) == [200] + [401] * 5
            for line in lines:
                await line.aclose()

    asyncio.run(body())


def test_a_stolen_token_is_a_string(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        token, handle = await caller.token("reader"), await caller.handle("reader")
        path = f"/v1/meter-points/{handle}/reads"
        asked = f"{path}?{QUESTION}"
        thief = ECKey.generate_key("P-256")
        for headers, expected in (
            ({"authorization": f"Bearer {token}"}, "invalid_token"),
            ({"authorization": f"DPoP {token}", "dpop": "x"}, "invalid_dpop_proof"),
            (shown(world, token, "GET", path, key=thief), "invalid_token"),
            (shown(world, token, "POST", path), "invalid_dpop_proof"),
            (shown(world, token, "GET", "/v1/decisions"), "invalid_dpop_proof"),
            (shown(world, token, "GET", path, at=world.clock.at - 61), "invalid_dpop_proof"),
            (shown(world, token, "GET", path, at=world.clock.at + 60), "invalid_dpop_proof"),
            (shown(world, await caller.token("reader"), "GET", path)
             | {"authorization": f"DPoP {token}"}, "invalid_dpop_proof"),
        ):  # fmt: skip
            answer = await caller.http.get(asked, headers=headers)
            assert code(answer) == (401, expected)
            assert answer.headers["www-authenticate"].startswith('DPoP algs="')

    calling(body)


def test_host_does_not_move_the_address(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        token, path = await caller.token("reader"), "/v1/meter-points/lookup"
        headers = shown(world, token, "POST", path, host="evil.example")
        good = await caller.http.post(path, json={"mpxn": HOME.text}, headers=headers)
        assert good.status_code == 200
        made = dpop.make(
            world.bound, "ES256", "POST", f"http://evil.example{path}", world.clock.at, token
        )
        headers |= {"dpop": made}
        bad = await caller.http.post(path, json={"mpxn": HOME.text}, headers=headers)
        assert code(bad) == (401, "invalid_dpop_proof")

    calling(body)


def test_a_token_endpoint_gives_no_unbound_token(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        url, at = f"{URL}/oauth2/token", world.clock.at
        bad = (
            {"dpop": "x"},
            {"dpop": dpop.make(world.bound, "ES256", "GET", url, at)},
            {"dpop": dpop.make(world.bound, "ES256", "POST", f"{URL}/oauth2/revoke", at)},
            {"dpop": dpop.make(world.bound, "ES256", "POST", url, at - 61)},
            {"dpop": "", "client-cert": CERT},
            {"client-cert": CERT},  # no proxy is trusted here
        )
        for headers in bad:
            answer = await caller.http.post(
                "/oauth2/token", data=world.form("reader"), headers=headers
            )
            said = answer.json()
            assert (answer.status_code, said["error"]) == (400, "invalid_dpop_proof"), headers

    calling(body)


def test_a_proof_gets_one_token(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        made = dpop.make(world.bound, "ES256", "POST", f"{URL}/oauth2/token", world.clock.at)
        for expected in (200, 401):
            answer = await caller.http.post(
                "/oauth2/token", data=world.form("reader"), headers={"dpop": made}
            )
            assert answer.status_code == expected

    calling(body)


def test_behind_a_trusted_proxy_a_certificate_reads(world: Any) -> None:
    settings = replace(world.store.settings, proxies=("10.0.0.0/8",))
    store = replace(world.store, settings=settings)
    path = "/v1/meter-points/lookup"

    async def body() -> None:
        app = create_app(store)

        def line(peer: str) -> httpx.AsyncClient:
            return httpx.AsyncClient(
                transport=httpx.ASGITransport(app, client=(peer, 1)), base_url=URL
            )

        async with line("10.9.9.9") as proxy, line("203.0.113.7") as anybody:
            headers = {"client-cert": CERT}
            got = await proxy.post("/oauth2/token", data=world.form("reader"), headers=headers)
            assert got.json()["token_type"] == "Bearer"
            headers["authorization"] = f"Bearer {got.json()['access_token']}"
            asked = {"mpxn": HOME.text}
            assert (await proxy.post(path, json=asked, headers=headers)).status_code == 200
            assert code(await anybody.post(path, json=asked, headers=headers))[0] == 401
            other = headers | {"client-cert": ":AAAA:"}
            assert code(await proxy.post(path, json=asked, headers=other))[0] == 401
            metadata = (await proxy.get("/.well-known/oauth-authorization-server")).json()
            assert metadata["tls_client_certificate_bound_access_tokens"] is True

    asyncio.run(body())


# ---- revocation and rotation -------------------------------------------------------------------


def test_a_revoked_token_counts_no_more_on_any_worker(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        token, other = await caller.token("reader"), await caller.token("reader")
        proof_of = {"token": token, **world.form("reader")}
        del proof_of["grant_type"]
        done = await caller.http.post("/oauth2/revoke", data=proof_of)
        assert (done.status_code, done.content) == (200, b"")
        ask = {"json": {"mpxn": HOME.text}}
        path = "/v1/meter-points/lookup"
        dead = {"authorization": f"DPoP {token}"}
        assert code(await caller.http.post(path, headers=dead, **ask)) == (401, "invalid_token")
        alive = {"authorization": f"DPoP {other}"}
        assert (await caller.http.post(path, headers=alive, **ask)).status_code == 200
        with open_store(world.store.settings, clock=world.clock) as second:
            app = create_app(second)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url=URL
            ) as elsewhere:
                headers = shown(world, token, "POST", path)
                assert code(await elsewhere.post(path, headers=headers, **ask))[0] == 401

    calling(body)


def test_revoking_is_for_the_token_s_own_client(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        token = await caller.token("reader")

        async def revoke(who: str, said: str, **changes: Any) -> httpx.Response:
            form = {"token": said, **world.form(who, **changes)}
            return await caller.http.post("/oauth2/revoke", data=form)

        foreign = await revoke("stranger", token)
        assert (foreign.status_code, foreign.json()["error"]) == (400, "invalid_request")
        late = await revoke("reader", token, exp=int(world.clock.at) - 1)
        assert (late.status_code, late.json()["error"]) == (401, "invalid_client")
        for nothing in ("x", "a.b.c", token + "x", "\U0001f600"):
            assert (await revoke("reader", nothing)).status_code == 200
        assert (await revoke("reader", "")).json()["error"] == "invalid_request"
        path, headers = "/v1/meter-points/lookup", {"authorization": f"DPoP {token}"}
        alive = await caller.http.post(path, json={"mpxn": HOME.text}, headers=headers)
        assert alive.status_code == 200
        for _ in range(2):  # twice is harmless
            assert (await revoke("reader", token)).status_code == 200
        form = {"token": token, **world.form("reader")}
        for expected in (200, 401):  # an assertion counts once here too
            answer = await caller.http.post("/oauth2/revoke", data=form)
            assert answer.status_code == expected

    calling(body)


def test_tokens_of_the_old_key_live_on_and_the_key_dies_after_them(
    calling: Calling, world: Any
) -> None:
    async def body(caller: Any) -> None:
        async def kids() -> list[str]:
            document = (await caller.http.get("/oauth2/jwks")).json()
            return [key["kid"] for key in document["keys"]]

        async def lookup(token: str) -> int:
            headers = {"authorization": f"DPoP {token}"}
            answer = await caller.http.post(
                "/v1/meter-points/lookup", json={"mpxn": HOME.text}, headers=headers
            )
            return int(answer.status_code)

        old, before = await caller.token("reader"), await kids()
        assert world.store.keys.secrets.rotate("token-signing") == 2
        new, during = await caller.token("reader"), await kids()
        assert len(before) == 1
        assert during[1:] == before
        assert json.loads(base64.urlsafe_b64decode(new.split(".")[0] + "=="))["kid"] == during[0]
        assert [await lookup(old), await lookup(new)] == [200, 200]
        world.clock.at += 361
        assert await kids() == during[:1]
        assert await lookup(old) == 401
        assert await lookup(await caller.token("reader")) == 200

    calling(body)


def test_a_worker_that_did_not_see_the_rotation_finds_the_new_key(world: Any) -> None:
    async def body() -> None:
        with open_store(world.store.settings, clock=world.clock) as second:
            early = create_app(second)
            world.clock.at += 2
            world.store.keys.secrets.rotate("token-signing")
            made = dpop.make(world.bound, "ES256", "POST", f"{URL}/oauth2/token", world.clock.at)
            async with (
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(create_app(world.store)), base_url=URL
                ) as one,
                httpx.AsyncClient(transport=httpx.ASGITransport(early), base_url=URL) as other,
            ):
                got = await one.post(
                    "/oauth2/token", data=world.form("reader"), headers={"dpop": made}
                )
                path = "/v1/meter-points/lookup"
                headers = shown(world, got.json()["access_token"], "POST", path)
                answer = await other.post(path, json={"mpxn": HOME.text}, headers=headers)
                assert answer.status_code == 200

    asyncio.run(body())


def test_an_old_key_that_was_stolen_signs_nothing_that_counts(tmp_path: Path) -> None:
    issuer = Issuer.from_seed(URL, bytes(32), [(bytes(range(32)), NOW + 1.0)])
    assert len(issuer.jwks(NOW)["keys"]) == 2
    assert len(issuer.jwks(NOW + 1)["keys"]) == 1
    assert all("d" not in key for key in issuer.jwks(NOW)["keys"])
