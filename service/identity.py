"""Who asks: a bearer's access token (RFC 9068) becomes a principal, or nothing does.

    typ at+jwt · alg EdDSA · iss, aud equal as strings · exp within 300 s of iat · client_id, jti

The core is pure: token and time in, principal out. What a principal may see is decided elsewhere,
from facts of the moment; a token carries no role, so that taking one away holds at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from joserfc.jwk import OKPKey

from service.jose import BadTokenError, parse, second, word

LIFE = 300  # seconds, the longest that an access token may live
SKEW = 5  # seconds that another machine's clock may be ahead
TYPES = ("at+jwt",)
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who proved to be a registered client.

    Attributes:
        client_id: The party's code.
        jti: This token's own name.
        expires: When the token ends, seconds since 1970.
    """

    client_id: str
    jti: str
    expires: int


@dataclass(frozen=True, slots=True)
class Guard:
    """Accepts the access tokens of one issuer for one audience.

    Attributes:
        issuer: What ``iss`` must be, to the letter.
        audience: What ``aud`` must be, to the letter: a string, never a list.
        keys: The issuer's public keys by ``kid``.
    """

    issuer: str
    audience: str
    keys: Mapping[str, OKPKey]

    def principal(self, authorization: str | None, now: float) -> Principal:
        """Return who sent the request with this ``Authorization`` header.

        Raises:
            BadTokenError: No bearer token, or one that proves nothing at ``now``; code
                ``token_missing`` or ``invalid_token``.
        """
        if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise BadTokenError(
                "send an access token: `Authorization: Bearer ..` (POST /oauth2/token gives one)",
                code="token_missing",
            )
        return self.check(authorization[len(_SCHEME) :], now)

    def check(self, token: str, now: float) -> Principal:
        """Return whom ``token`` stands for. Raises BadTokenError (see `principal`)."""
        signed = parse(token, TYPES)
        claims = signed.believed(self.keys.get(signed.kid))
        if claims.get("iss") != self.issuer or claims.get("aud") != self.audience:
            _refuse("it was issued by or for somebody else")
        issued, expires = second(claims, "iat"), second(claims, "exp")
        if "nbf" in claims and second(claims, "nbf") > now + SKEW:
            _refuse("it is not valid yet")
        if issued > now + SKEW:
            _refuse("it was issued in the future")
        if not 0 < expires - issued <= LIFE:
            _refuse("it lives longer than five minutes")
        if now >= expires:
            _refuse("it has expired")
        client = word(claims, "client_id")
        if claims.get("sub") != client:
            _refuse("its subject is not its client")
        return Principal(client, word(claims, "jti"), expires)


def _refuse(what: str) -> NoReturn:
    raise BadTokenError(f"the token is refused: {what}")
