"""Signed tokens opened: the one place where bytes of a stranger become claims.

    token      at most 5,286 characters: base64url "." base64url "." base64url
    header     {"alg", "typ", "kid"} and nothing else: no crit, b64, jku, x5c, zip; in a proof of
               possession "jwk" in place of "kid"
    claims     one JSON object, no name twice in any object, no NaN
    alg        ES256, EdDSA or Ed25519, PS256, and the key must be of that kind

Every byte before the signature check is the attacker's, so the form is checked here first and
strictly, and joserfc is handed the key that *we* chose for the ``kid``. Whatever is wrong, the
caller hears one word of it: `BadTokenError`.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from store.errors import MeterkeepError

Claims = dict[str, Any]
Key = OKPKey | ECKey | RSAKey
ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256")  # RFC 8037's and 9864's names of one signature
ES256, EDDSA = ALGORITHMS[:2]
REFUSED = "the token is refused: "
_FORM = re.compile(r"([A-Za-z0-9_-]{1,1200})\.([A-Za-z0-9_-]{1,3400})\.([A-Za-z0-9_-]{1,684})\Z")
_HEADER = frozenset({"alg", "typ", "kid"})
PROOF_HEADER = frozenset({"alg", "typ", "jwk"})
_MOST_HEADERS = 1_024  # remembered; each has at most 1,200 characters
_RSA_BITS = range(2048, 4097)
_RSA_MODULUS = range(342, 684)  # characters of base64url: 2,048 to 4,096 bits
_KINDS: dict[str, tuple[type[Key], tuple[str, ...], tuple[str, str]]] = {
    "OKP": (OKPKey, ("crv", "kty", "x"), ("crv", "Ed25519")),
    "EC": (ECKey, ("crv", "kty", "x", "y"), ("crv", "P-256")),
    "RSA": (RSAKey, ("e", "kty", "n"), ("e", "AQAB")),
}
_WORD = re.compile(r"[\x21-\x7e]{1,128}\Z")


class BadTokenError(MeterkeepError):
    """A token or assertion proves nothing. Ask for another one.

    The message names the check that failed, never a value of the token.
    """

    code = "invalid_token"


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token in good form, whose signature nobody has checked yet.

    Attributes:
        kid: Which key is said to have signed; empty where it does not say.
        algorithm: One of ALGORITHMS.
        jwk: The public key that a proof of possession brings along; None elsewhere.
        unbelieved: Its claims. Use them to find the key to try, and for nothing else.
    """

    kid: str
    algorithm: str
    jwk: Any = field(repr=False)
    unbelieved: Claims = field(repr=False)
    _form: re.Match[str] = field(repr=False)

    def believed(self, key: Key | None) -> Claims:
        """Return the claims, signed with ``key``; what they mean is for the caller to check.

        Raises:
            BadTokenError: They are not, or there is no key.
        """
        if key is None or not _verified(self.algorithm, key, self._form):
            _bad("its signature is not by a key that we know")
        return self.unbelieved


def parse(
    token: str, types: Collection[str | None], members: frozenset[str] = _HEADER
) -> SignedToken:
    """Return ``token``, a JWS in compact form as it came, if its form is good.

    Args:
        token: What was sent.
        types: What ``typ`` may be; None where it may be absent.
        members: What its header may have.

    Raises:
        BadTokenError: Anything that two readers could read differently, or that asks for more than
            a signature by one of our algorithms.
    """
    form = _FORM.match(token)
    if form is None:
        _bad("it is not a signed token")
    header = _header(form[1])
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if not header.keys() <= members or header.get("typ") not in types:
        _bad("its header is not one of ours")
    if algorithm not in ALGORITHMS or not isinstance(kid, str):
        _bad("its algorithm is not one of ours")
    return SignedToken(kid, algorithm, header.get("jwk"), _object(form[2]), form)


def sign(header: Claims, claims: Claims, key: Key) -> str:
    """Return a compact JWS of ``claims`` signed with ``key``, whose ``alg`` the header names."""
    pieces = [json.dumps(part, separators=(",", ":")).encode() for part in (header, claims)]
    signed = b".".join(_encoded(piece) for piece in pieces)
    signature = JWSRegistry.algorithms[header["alg"]].sign(signed, key)
    return (signed + b"." + _encoded(signature)).decode()


def word(claims: Claims, name: str) -> str:
    """Return the claim ``name``: 1 to 128 visible ASCII characters. Raises BadTokenError."""
    value = claims.get(name)
    if not isinstance(value, str) or not _WORD.match(value):
        _bad(f"its `{name}` is missing or malformed")
    return value


def second(claims: Claims, name: str) -> int:
    """Return the claim ``name``, a time in whole seconds since 1970. Raises BadTokenError."""
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**40:
        _bad(f"its `{name}` is missing or no time in seconds")
    return value


def public_key(jwk: Mapping[str, Any]) -> Key | None:
    """Return the public key of a JWK; None where it is none that we verify with.

    Ed25519, P-256, or RSA of 2,048 to 4,096 bits with the exponent 65537: a larger one of either
    would let a stranger choose what a request costs us. Whatever is private in it is left out.
    """
    kind = _KINDS.get(str(jwk.get("kty")))
    if kind is None:
        return None
    make, names, (name, value) = kind
    public: dict[str, str | list[str]] = {n: jwk[n] for n in names if isinstance(jwk.get(n), str)}
    if len(public) != len(names) or public[name] != value or not str(public).isascii():
        return None
    if make is RSAKey and len(public["n"]) not in _RSA_MODULUS:
        return None
    try:
        return make.import_key(public)
    except (JoseError, ValueError, KeyError, TypeError):
        return None


def fits(algorithm: str, key: Key) -> bool:
    """Return whether ``key`` is of the kind that ``algorithm`` signs with; one kind, one word."""
    if isinstance(key, OKPKey):
        return algorithm in {"EdDSA", "Ed25519"} and key.curve_name == "Ed25519"
    if isinstance(key, ECKey):
        return algorithm == "ES256" and key.curve_name == "P-256"
    return algorithm == "PS256" and key.public_key.key_size in _RSA_BITS


def _verified(algorithm: str, key: Key, form: re.Match[str]) -> bool:
    try:
        if not fits(algorithm, key):
            return False
        signed = form.string[: form.end(2)].encode()
        return JWSRegistry.algorithms[algorithm].verify(signed, _decoded(form[3]), key)
    except (JoseError, ValueError, TypeError):
        return False


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        _bad("it is not base64url")


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _object(text: str) -> dict[str, Any]:
    try:
        value = _DECODER.decode(_decoded(text).decode())
    except (ValueError, RecursionError):
        _bad("it does not hold JSON, or a name stands twice")
    if not isinstance(value, dict):
        _bad("it does not hold a JSON object")
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's members. Raises ValueError where a name stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _constant(_name: str) -> NoReturn:
    raise ValueError


# Made once: the module's own functions make one for each call (measured: 4 us of an answer).
_DECODER = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_constant)
# A client sends the same header with every proof. Nobody changes what is returned.
_header = lru_cache(_MOST_HEADERS)(_object)


def _bad(what: str) -> NoReturn:
    raise BadTokenError(REFUSED + what)
