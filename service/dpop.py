"""Proof of possession (RFC 9449): who sends a token shows that they hold the key it is bound to.

    header   {"typ": "dpop+jwt", "alg", "jwk"}    the public key, and nothing private in it
    claims   htm  htu  iat  jti  and, beside a token, ath

``htu`` is compared to the letter with our public address and the path, never with ``Host``. ``iat``
counts for 60 seconds. A ``jti`` counts once for its key: the caller of `check` keeps the `Use`, in
the transaction of what it is used for. Pure: proof, address and time in, who signed out.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final

from service.jose import (
    ALGORITHMS,
    PROOF_HEADER,
    REFUSED,
    BadTokenError,
    Claims,
    Key,
    SignedToken,
    parse,
    public_key,
    second,
    sign,
    word,
)
from store.once import Use

TYPE: Final = "dpop+jwt"
LIFE: Final = 60  # seconds that a proof counts
SKEW: Final = 5  # seconds that the sender's clock may be ahead
_MARGIN = 60.0  # seconds a used proof is remembered after it is too old to count
_NEEDED = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}
_ALLOWED = {"alg", "use", "kid", "key_ops", "ext"}  # beside them; they tell us nothing
_MOST_MEMBER = 700  # characters: the modulus of 4,096 bits
_MOST_KEYS = 1_024  # public keys kept ready


class BadProofError(BadTokenError):
    """A proof of possession is missing or proves nothing. Make a new one for each request."""

    code = "invalid_dpop_proof"


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof in order, but for its being new.

    Attributes:
        thumbprint: RFC 7638, of the key that signed it.
        use: What makes it count once.
    """

    thumbprint: str
    use: Use = field(repr=False)


def check(proof: str, method: str, url: str, now: float, token: str | None = None) -> Proof:
    """Return what ``proof`` shows of a request.

    Args:
        proof: The ``DPoP`` header, as it came.
        method: The request's method.
        url: Its address as callers know it, without query.
        now: Seconds since 1970.
        token: The access token sent with it; None where there is none yet.

    Raises:
        BadProofError: It shows nothing.
    """
    try:
        thumbprint, claims = _signed(parse(proof, (TYPE,), PROOF_HEADER))
        issued, number = second(claims, "iat"), word(claims, "jti")
    except BadTokenError as error:
        why = str(error).removeprefix(REFUSED)
        raise BadProofError(f"the proof (DPoP) is refused: {why}") from None
    if claims.get("htm") != method or claims.get("htu") != url:
        raise BadProofError("the proof (DPoP) is for another method or address")
    if not now - LIFE <= issued <= now + SKEW:
        raise BadProofError("the proof (DPoP) is not of this minute: make one for each request")
    if token is not None and claims.get("ath") != digest(token):
        raise BadProofError("the proof (DPoP) is for another token")
    return Proof(thumbprint, Use.of("dpop", thumbprint, number, issued + LIFE + _MARGIN))


def make(key: Key, algorithm: str, method: str, url: str, now: float, token: str = "") -> str:
    """Return a fresh proof for one request; with ``token``, for a request that carries it."""
    header = {"typ": TYPE, "alg": algorithm, "jwk": key.as_dict(private=False)}
    claims = {"htm": method, "htu": url, "iat": int(now), "jti": os.urandom(16).hex()}
    return sign(header, claims | ({"ath": digest(token)} if token else {}), key)


def challenge(error: str | None) -> str:
    """Return the ``WWW-Authenticate`` of a 401 (RFC 9449, section 7.1)."""
    listed = f'DPoP algs="{" ".join(ALGORITHMS)}"'
    return listed if error is None else f'{listed}, error="{error}"'


def digest(token: str) -> str:
    """Return the ``ath`` of a token: its SHA-256 in base64url."""
    return _b64(sha256(token.encode()).digest())


def _signed(token: SignedToken) -> tuple[str, Claims]:
    """Return thumbprint and claims of a proof that the key within it signed."""
    jwk = token.jwk
    needed = _NEEDED.get(str(jwk.get("kty"))) if isinstance(jwk, dict) else None
    if needed is None or not set(needed) <= jwk.keys() <= {*needed, *_ALLOWED}:
        raise BadTokenError("its `jwk` is no public key of ours alone")
    members = tuple(jwk[name] for name in needed)
    if any(type(m) is not str or len(m) > _MOST_MEMBER or not m.isascii() for m in members):
        raise BadTokenError("its `jwk` is malformed")
    thumbprint, key = _public(needed, members)
    return thumbprint, token.believed(key)


@lru_cache(_MOST_KEYS)
def _public(names: tuple[str, ...], members: tuple[str, ...]) -> tuple[str, Key | None]:
    """Return the thumbprint and the key; the key alone tells nobody anything, so it may be kept."""
    jwk = dict(zip(names, members, strict=True))
    # Names stand in order and values are of the base64url alphabet: this is the canonical form.
    if not all(m.replace("-", "").replace("_", "").isalnum() for m in members):
        return "", None
    text = ",".join(f'"{name}":"{member}"' for name, member in jwk.items())
    return _b64(sha256(f"{{{text}}}".encode()).digest()), public_key(jwk)


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
