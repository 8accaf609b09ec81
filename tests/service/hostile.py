"""Bytes from an attacker, given to everything that reads before a signature is checked.

A refusal is an error on purpose, with its code. Anything else that gets out is a fault.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import orjson
from joserfc.jwk import OKPKey

from service import dpop
from service.identity import Guard, Sent
from service.issuers import (
    ASSERTION_TYPE,
    Issuer,
    TokenRequestError,
    parse_request,
    parse_revocation,
)
from service.jose import BadTokenError, parse
from service.jose import Key as PublicKey

NOW = 1_800_000_000.0
URL = "http://127.0.0.1:8700"
KEY = OKPKey.generate_key("Ed25519")
ISSUER = Issuer.from_seed(URL, bytes(32))
TOKEN = ISSUER.issue("p_a", NOW, {"jkt": KEY.thumbprint()})
PROOF = dpop.make(KEY, "EdDSA", "GET", URL + "/v1", NOW, TOKEN)


class Ours:
    """Our own issuer, as the guard knows it."""

    audience, algorithms = f"{URL}/v1", ("EdDSA", "Ed25519")

    async def key(self, kid: str, now: float) -> PublicKey | None:
        """Return the issuer's key, by its name."""
        return ISSUER.public_keys().get(kid, (None, now))[0]

    def name(self, _client_id: str) -> str | None:
        """Return None: our clients are called by their code."""
        return None


GUARD = Guard({URL: Ours()})
REFUSALS = (BadTokenError, TokenRequestError)


def signed(header: bytes, claims: bytes, signature: bytes) -> str:
    """Return the three parts of a token, whatever they hold."""
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, claims, signature)
    )


def json_of(value: object) -> bytes:
    """Return JSON, NaN and all, as only a stranger would send it."""
    return json.dumps(value).encode(errors="replace")


def tell(*texts: str) -> None:
    """Give ``texts`` to every reader, in every place where one could stand."""
    token, proof = texts[0], texts[-1]
    form = f"grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}"
    tries: Sequence[Callable[[], object]] = (
        lambda: parse(token, ("at+jwt",)),
        lambda: dpop.check(proof, "GET", URL + "/v1", NOW, token),
        lambda: dpop.check(proof, "GET", URL + "/v1", NOW),
        lambda: parse_request(token.encode(errors="replace")),
        lambda: parse_revocation(proof.encode(errors="replace")),
        lambda: parse_request(f"{form}&client_assertion={token}".encode(errors="replace")),
        lambda: _asserted(token),
        *(
            partial(_let_in, sent)
            for sent in (
                Sent("GET", URL + "/v1", (token,), (proof,)),
                Sent("GET", URL + "/v1", (f"DPoP {token}",), (proof,)),
                Sent("GET", URL + "/v1", (f"DPoP {TOKEN}",), (proof,)),
                Sent("GET", URL + "/v1", (f"Bearer {token}",), (), proof),
            )
        ),
    )
    for attempt in tries:
        try:
            attempt()
        except REFUSALS:
            continue


def _let_in(sent: Sent) -> object:
    """Ask the guard; nothing that it asks in turn has to be waited for here."""
    asking = GUARD.principal(sent, NOW)
    try:
        asking.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError


def _asserted(assertion: str) -> object:
    form = f"grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}"
    asked = parse_request(f"{form}&client_assertion={assertion}".encode(errors="replace"))
    return ISSUER.assertion(asked, (KEY.as_dict(private=False),), NOW)


def from_bytes(data: bytes) -> None:
    """Tell what ``data`` can be read as: texts, or the parts of a token."""
    text = data.decode("latin-1")
    tell(text)
    first, _, rest = data.partition(b"\0")
    second, _, third = rest.partition(b"\0")
    made = signed(first, second, third)
    tell(made, made)
    header = orjson.dumps({"typ": "at+jwt", "alg": "EdDSA", "kid": "k"})
    tell(signed(header, first, second), signed(first, second, third))


def main(runs: int, corpus: Path) -> None:
    """Run atheris over the readers, so often; ``corpus`` is an empty folder for what it learns."""
    import atheris  # noqa: PLC0415 - where it is installed

    seeds = [TOKEN.encode(), PROOF.encode(), b'{"alg":"EdDSA","typ":"at+jwt"}\0{"iss":"x"}\0s']
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
        from_bytes(seed)
    asked = [
        f"-runs={runs}",
        "-seed=1",
        "-max_len=1024",
        "-verbosity=0",
        f"-artifact_prefix={corpus}/",
        str(corpus),
    ]
    atheris.Setup(["hostile", *asked], from_bytes)
    atheris.Fuzz()
