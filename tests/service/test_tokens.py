"""Access tokens and client assertions, attacked. Source: RFC 9068, RFC 7523, RFC 8725."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey

from service import dpop
from service.identity import Guard, Principal, Sent
from service.issuers import (
    ASSERTION_TYPE,
    Assertion,
    Issuer,
    TokenRequestError,
    parse_request,
)
from service.jose import BadTokenError, sign

NOW = 1_750_000_000
STRANGER = OKPKey.generate_key("Ed25519")
URL = "https://reads.example"
SEED = bytes(range(32))
ISSUER = Issuer.from_seed(URL, SEED)
ASKED = f"{URL}/v1/meter-points/mp_a/reads"
HOLDER = ECKey.generate_key("P-256")
BOUND = {"jkt": HOLDER.thumbprint()}


class Ours:
    """The issuer as the guard knows it, without a store."""

    audience = f"{URL}/v1"
    algorithms = ("EdDSA", "Ed25519")

    async def key(self, kid: str, now: float) -> Any:
        return ISSUER.public_keys().get(kid, (None, 0))[0]

    def name(self, client_id: str) -> str | None:
        return None


GUARD = Guard({URL: Ours()})
HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": ISSUER.kid}
CLAIMS = {
    "iss": URL,
    "aud": f"{URL}/v1",
    "sub": "p_a",
    "client_id": "p_a",
    "iat": NOW,
    "exp": NOW + 300,
    "jti": "j1",
    "cnf": BOUND,
}
CLIENT = OKPKey.generate_key("Ed25519")
JWK = {**CLIENT.as_dict(private=False), "kid": CLIENT.thumbprint()}
PROOF = {"iss": "p_a", "sub": "p_a", "aud": URL, "exp": NOW + 60, "iat": NOW, "jti": "a1"}
PROOF_HEADER = {"alg": "EdDSA", "kid": CLIENT.thumbprint()}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: str, claims: str, key: OKPKey = ISSUER.key) -> str:
    """Sign exactly these bytes, which no library would let one write."""
    signed = f"{b64(header.encode())}.{b64(claims.encode())}"
    return f"{signed}.{b64(key.private_key.sign(signed.encode()))}"


def token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {k: v for k, v in {**CLAIMS, **changes}.items() if v is not None}
    return sign({**HEADER, **(header or {})}, claims, ISSUER.key)


def sent(text: str, now: float = NOW) -> Sent:
    """Return a request with ``text`` as its token, and a proof that fits it."""
    proof = dpop.make(HOLDER, "ES256", "GET", ASKED, now, text) if text.isascii() else "x"
    return Sent("GET", ASKED, (f"DPoP {text}",), (proof,))


def accepted(request: Sent, now: float = NOW) -> Principal:
    return asyncio.run(GUARD.principal(request, now))


def refused(text: str, now: float = NOW) -> str:
    with pytest.raises(BadTokenError) as caught:
        accepted(sent(text, now), now)
    return caught.value.code


def test_an_issued_token_names_its_client() -> None:
    principal = accepted(sent(ISSUER.issue("p_a", NOW + 0.9, BOUND)), NOW + 1)
    assert (principal.client_id, principal.expires) == ("p_a", NOW + 300)
    assert (principal.issuer, principal.name) == (URL, None)


def test_two_tokens_are_never_the_same() -> None:
    assert ISSUER.issue("p_a", NOW, BOUND) != ISSUER.issue("p_a", NOW, BOUND)


def test_the_scheme_is_read_in_any_case() -> None:
    text = token()
    request = sent(text)
    other = replace(request, authorization=(f"dpOP {text}",))
    assert accepted(other) == accepted(request)


@pytest.mark.parametrize("headers", [(), ("",), ("Basic abc",), ("Token",), ("DPoP a", "DPoP b")])
def test_a_request_without_one_token_is_told_so(headers: tuple[str, ...]) -> None:
    with pytest.raises(BadTokenError) as caught:
        accepted(Sent("GET", ASKED, headers))
    assert caught.value.code == "token_missing"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": f"{URL}/"},
        {"iss": [URL]},
        {"aud": URL},
        {"aud": [f"{URL}/v1"]},
        {"aud": [f"{URL}/v1", "https://other.example"]},
        {"aud": f"{URL}/V1"},
        {"exp": NOW + 301},
        {"exp": NOW + 100 * 365 * 86_400},
        {"exp": NOW},
        {"exp": NOW - 1, "iat": NOW - 200},
        {"exp": str(NOW + 300)},
        {"exp": NOW + 299.5},
        {"exp": True},
        {"exp": 10**4000},
        {"exp": -1},
        {"iat": NOW + 60, "exp": NOW + 120},
        {"iat": None},
        {"nbf": NOW + 60},
        {"nbf": "soon"},
        {"exp": None},
        {"iss": None},
        {"aud": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "j" * 129},
        {"jti": "\ud800"},
        {"client_id": None},
        {"client_id": ["p_a"]},
        {"client_id": "p_b"},
        {"client_id": "p_a\n", "sub": "p_a\n"},
        {"sub": None},
        {"sub": "p_b"},
        {"cnf": None},
        {"cnf": {}},
        {"cnf": []},
        {"cnf": HOLDER.thumbprint()},
        {"cnf": {"jkt": None}},
        {"cnf": {"jkt": ""}},
        {"cnf": {"jkt": "\ud800"}},
        {"cnf": {"jkt": [HOLDER.thumbprint()]}},
        {"cnf": {"jkt": STRANGER.thumbprint()}},
        {"cnf": {"x5t#S256": HOLDER.thumbprint()}},
        {"cnf": {**BOUND, "x5t#S256": "x"}},
        {"cnf": {"jwk": HOLDER.as_dict(private=False)}},
    ],
    ids=",".join,
)
def test_a_token_whose_claims_are_not_ours_proves_nothing(changes: dict[str, Any]) -> None:
    assert refused(token(**changes)) == "invalid_token"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "AT+JWT"},
        {"typ": None},
        {"typ": ["at+jwt"]},
        {"kid": "unknown"},
        {"kid": None},
        {"kid": {"a": 1}},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}},
        {"jku": "https://evil.example/jwks"},
        {"x5c": ["AAAA"]},
        {"x5u": "https://evil.example"},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
    ids=str,
)
def test_a_header_that_asks_for_more_than_ours_is_refused(header: dict[str, Any]) -> None:
    assert refused(token(header)) == "invalid_token"


@pytest.mark.parametrize(
    "alg", ["none", "None", "HS256", "RS256", "ES256", "Ed448", "", None, 5, []]
)
def test_only_the_listed_algorithms_are_read(alg: Any) -> None:
    text = raw(json.dumps({**HEADER, "alg": alg}), json.dumps(CLAIMS))
    assert refused(text) == "invalid_token"
    head, body, _ = text.split(".")
    assert refused(f"{head}.{body}.") == "invalid_token"


def test_the_public_key_is_no_hmac_secret() -> None:
    public = ISSUER.key.as_dict(private=False)
    for secret in (public["x"].encode(), base64.urlsafe_b64decode(public["x"] + "=")):
        header = json.dumps({**HEADER, "alg": "HS256"})
        signed = f"{b64(header.encode())}.{b64(json.dumps(CLAIMS).encode())}"
        mac = hmac.digest(secret, signed.encode(), hashlib.sha256)
        assert refused(f"{signed}.{b64(mac)}") == "invalid_token"


def test_a_strangers_signature_and_embedded_key_prove_nothing() -> None:
    assert refused(sign(HEADER, CLAIMS, STRANGER)) == "invalid_token"
    embedded = {**HEADER, "jwk": STRANGER.as_dict(private=False)}
    assert refused(sign(embedded, CLAIMS, STRANGER)) == "invalid_token"


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        (json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + ', "client_id": "p_b"}'),
        (json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + ', "x": {"a": 1, "a": 2}}'),
        (json.dumps(HEADER)[:-1] + ', "alg": "none"}', json.dumps(CLAIMS)),
        (json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + ', "x": NaN}'),
        (json.dumps(HEADER), json.dumps([CLAIMS])),
        (json.dumps(HEADER), "null"),
        (json.dumps(HEADER), "[" * 2_400),
        (json.dumps(HEADER), json.dumps(CLAIMS) + " x"),
        ("[" * 300, json.dumps(CLAIMS)),
        (json.dumps(HEADER), '{"a": ' + "9" * 2_000 + "}"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(header: str, claims: str) -> None:
    assert refused(raw(header, claims)) == "invalid_token"


def test_any_changed_character_breaks_a_token() -> None:
    good = token()
    for at in range(0, len(good), 7):
        changed = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :]
        assert refused(changed) == "invalid_token"


def test_a_token_past_its_size_is_not_even_parsed() -> None:
    began = time.perf_counter()
    assert refused("A" * 10_000_000) == "invalid_token"
    assert refused(token(padding="x" * 4_000)) == "invalid_token"
    assert time.perf_counter() - began < 0.5


def test_a_client_assertion_is_no_access_token() -> None:
    assert refused(sign(PROOF_HEADER, PROOF, CLIENT)) == "invalid_token"


@given(st.text(max_size=200))
def test_no_text_makes_the_guard_stumble(text: str) -> None:
    assert refused(text) == "invalid_token"


PIECE = st.one_of(
    st.binary(max_size=60).map(b64),
    st.text(max_size=40).map(lambda t: b64(t.encode(errors="surrogatepass"))),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*HEADER, *CLAIMS, "crit", "b64"]), inner, max_size=6)
        ),
        max_leaves=12,
    ).map(lambda value: b64(json.dumps(value).encode())),
    st.sampled_from([b64(json.dumps(HEADER).encode()), b64(json.dumps(CLAIMS).encode())]),
)


@given(PIECE, PIECE, PIECE)
def test_no_bytes_make_the_guard_stumble(header: str, claims: str, signature: str) -> None:
    assert refused(f"{header}.{claims}.{signature}") == "invalid_token"


@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "nbf", "cnf"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers()),
        min_size=1,
    )
)
def test_even_our_own_signature_on_odd_claims_gives_a_principal_or_a_refusal(
    changes: dict[str, Any],
) -> None:
    try:
        principal = accepted(sent(sign(HEADER, {**CLAIMS, **changes}, ISSUER.key)))
    except BadTokenError:
        return
    assert principal.expires - NOW <= 305


# ---- the token endpoint ----------------------------------------------------------------------


def jwks(client_id: str) -> list[dict[str, Any]]:
    return [JWK] if client_id == "p_a" else []


def form(assertion: str, **changes: str | None) -> bytes:
    fields = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
        **changes,
    }
    return urlencode({k: v for k, v in fields.items() if v is not None}).encode()


def proof(header: dict[str, Any] | None = None, key: OKPKey = CLIENT, **changes: Any) -> str:
    claims = {k: v for k, v in {**PROOF, **changes}.items() if v is not None}
    return sign({**PROOF_HEADER, **(header or {})}, claims, key)


def read(body: bytes, find: Callable[[str], list[dict[str, Any]]] = jwks) -> Assertion:
    request = parse_request(body)
    return ISSUER.assertion(request, find(request.client_id), NOW)


def error_of(body: bytes, find: Callable[[str], list[dict[str, Any]]] = jwks) -> str:
    with pytest.raises(TokenRequestError) as caught:
        read(body, find)
    return caught.value.error


def test_a_client_proves_itself_by_its_own_key() -> None:
    found = read(form(proof(), client_id="p_a"))
    assert (found.client_id, found.jti, found.expires) == ("p_a", "a1", NOW + 60)


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("typ", ["JWT", "client-authentication+jwt"])
def test_both_names_of_the_algorithm_and_types_are_read(alg: str, typ: str) -> None:
    assert read(form(proof({"alg": alg, "typ": typ}))).client_id == "p_a"


def test_a_client_of_one_key_needs_no_kid() -> None:
    text = sign({"alg": "EdDSA"}, PROOF, CLIENT)
    assert read(form(text)).client_id == "p_a"
    two = [JWK, {**STRANGER.as_dict(private=False), "kid": "other"}]
    assert error_of(form(text), lambda _: two) == "invalid_client"


def test_an_assertion_made_by_authlib_is_read() -> None:
    text = private_key_jwt_sign(
        CLIENT, "p_a", URL, alg="Ed25519", issued_at=NOW, expires_in=60, header={}
    )
    assert read(form(text)).client_id == "p_a"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{URL}/oauth2/token"},
        {"aud": [URL]},
        {"aud": None},
        {"aud": f"{URL}/v1"},
        {"iss": "p_b"},
        {"sub": "p_b"},
        {"iss": "p_b", "sub": "p_b"},
        {"iss": None},
        {"iss": ["p_a"]},
        {"iss": "p_a' OR 1=1 --", "sub": "p_a' OR 1=1 --"},
        {"exp": NOW},
        {"exp": NOW - 3_600},
        {"exp": NOW + 3_600},
        {"exp": None},
        {"iat": NOW + 60},
        {"nbf": NOW + 60},
        {"jti": None},
        {"jti": ""},
    ],
    ids=str,
)
def test_an_assertion_that_is_not_for_us_now_proves_nothing(changes: dict[str, Any]) -> None:
    assert error_of(form(proof(**changes))) == "invalid_client"


def test_an_assertion_by_another_key_proves_nothing() -> None:
    assert error_of(form(proof(key=STRANGER))) == "invalid_client"
    embedded = proof({"jwk": STRANGER.as_dict(private=False)}, key=STRANGER)
    assert error_of(form(embedded)) == "invalid_client"


def test_an_access_token_is_no_assertion() -> None:
    assert error_of(form(ISSUER.issue("p_a", NOW, BOUND))) == "invalid_client"
    assert error_of(form(proof({"typ": "at+jwt"}))) == "invalid_client"


def test_a_clients_key_of_another_kind_is_not_used() -> None:
    other = ECKey.generate_key("P-256").as_dict(private=False)
    assert error_of(form(proof()), lambda _: [{**other, "kid": JWK["kid"]}]) == "invalid_client"
    assert error_of(form(proof()), lambda _: [{"kid": JWK["kid"]}]) == "invalid_client"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "unsupported_grant_type"),
        (b"\xff\xfe", "invalid_request"),
        (b"grant_type", "invalid_request"),
        (b"&".join([b"a%d=1" % n for n in range(99)]), "invalid_request"),
        (form(proof(), grant_type="password"), "unsupported_grant_type"),
        (form(proof(), grant_type=None), "unsupported_grant_type"),
        (form(proof()) + b"&grant_type=client_credentials", "invalid_request"),
        (form(proof(), scope="reads"), "invalid_scope"),
        (form(proof(), client_secret="s"), "invalid_client"),
        (form(proof(), client_id="p_b"), "invalid_client"),
        (form(proof(), client_assertion_type="x"), "invalid_client"),
        (form(proof(), client_assertion=None), "invalid_client"),
        (form("not.a.jwt"), "invalid_client"),
        (form(""), "invalid_client"),
    ],
)
def test_a_malformed_token_request_gets_its_oauth_error(body: bytes, error: str) -> None:
    assert error_of(body) == error


@given(st.binary(max_size=300))
def test_no_form_makes_the_token_endpoint_stumble(body: bytes) -> None:
    error_of(body)


@given(st.text(max_size=200))
def test_no_assertion_makes_the_token_endpoint_stumble(text: str) -> None:
    assert error_of(form(text)) == "invalid_client"


def test_published_keys_and_metadata_hold_nothing_private_and_nothing_undone() -> None:
    (key,) = ISSUER.jwks(NOW)["keys"]
    assert "d" not in key
    assert key["kid"] == ISSUER.kid
    metadata = ISSUER.metadata()
    assert metadata["issuer"] == URL
    assert metadata["grant_types_supported"] == ["client_credentials"]
    assert metadata["response_types_supported"] == []
    assert not {"authorization_endpoint", "registration_endpoint"} & metadata.keys()
    assert metadata["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA", "Ed25519", "PS256"]
    assert "tls_client_certificate_bound_access_tokens" not in metadata
    assert ISSUER.metadata(certificates=True)["tls_client_certificate_bound_access_tokens"] is True


def test_the_signing_key_never_prints_and_grows_from_its_seed_alone() -> None:
    assert ISSUER.key.as_dict(private=True)["d"] not in repr(ISSUER)
    assert Issuer.from_seed(URL, SEED).kid == ISSUER.kid
    assert Issuer.from_seed(URL, os.urandom(32)).kid != ISSUER.kid


def test_verifying_a_token_and_its_proof_costs_a_fraction_of_a_millisecond() -> None:
    request = sent(token())

    async def best() -> float:
        taken = []
        for _ in range(50):
            began = time.process_time()
            await GUARD.principal(request, NOW)
            taken.append(time.process_time() - began)
        return min(taken)

    assert asyncio.run(best()) < 0.0008
