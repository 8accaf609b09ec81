"""Who asks: an access token (RFC 9068) and what it is bound to become a principal, or nothing does.

    token   typ at+jwt · iss one of ours · aud equal as a string · exp within 300 s of iat · jti
    cnf     {"jkt"}       sent as `Authorization: DPoP`, with a proof by that key       (RFC 9449)
            {"x5t#S256"}  sent as `Authorization: Bearer`, over that certificate        (RFC 8705)

A token that is bound to nothing, or sent another way than it is bound, is worth nothing: whoever
finds one in a log has found a string. One guard for our own issuer and for others: an issuer gives
keys, an audience, algorithms, and says whom a client of it stands for.

What a principal may see is decided elsewhere, from facts of the moment; a token carries no role, so
that taking one away holds at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import NoReturn, Protocol

from service import dpop
from service.dpop import SKEW
from service.jose import BadTokenError, Claims, Key, SignedToken, parse, second, word
from store.once import Use

LIFE = 300  # seconds, the longest that an access token may live
TYPES = ("at+jwt",)
_MOST_VERIFIED = 1_024  # tokens whose signature is remembered
THUMBPRINT = "jkt"
CERTIFICATE = "x5t#S256"
_SCHEMES = {"dpop": THUMBPRINT, "bearer": CERTIFICATE}


@dataclass(frozen=True, slots=True)
class Sent:
    """What of a request tells who sent it.

    Attributes:
        method: The request's method.
        url: Its address as callers know it, without query; never by ``Host``.
        authorization: Every ``Authorization`` header.
        proofs: Every ``DPoP`` header.
        certificate: SHA-256 in base64url of the certificate that a trusted proxy saw, or None.
    """

    method: str
    url: str
    authorization: tuple[str, ...] = field(default=(), repr=False)
    proofs: tuple[str, ...] = field(default=(), repr=False)
    certificate: str | None = None

    def proof(self, now: float, token: str | None = None) -> dpop.Proof:
        """Return what its one proof of possession shows. Raises BadProofError."""
        if len(self.proofs) != 1:
            raise dpop.BadProofError("send one proof of possession: the header `DPoP` (RFC 9449)")
        return dpop.check(self.proofs[0], self.method, self.url, now, token)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who proved to be a client of an issuer.

    Attributes:
        client_id: The client; for our own issuer the party's code.
        jti: This token's own name.
        expires: When the token ends, seconds since 1970.
        issuer: Who issued the token.
        name: The party's name, for a client of another issuer; None for our own.
        use: What this request must be the first to use; None where the connection is the proof.
    """

    client_id: str
    jti: str
    expires: int
    issuer: str = ""
    name: str | None = None
    use: Use | None = field(default=None, repr=False)

    @property
    def acted(self) -> dict[str, str]:
        """What a detail says of who acted: ``by``, the issuer and the client, where not our own."""
        return {} if self.name is None else {"by": f"{self.issuer} {self.client_id}"}

    @property
    def revoked(self) -> Use:
        """What is noted where the token was revoked: by issuer and number, never by its bytes."""
        return revocation(self.issuer, self.jti, self.expires)


class Trusted(Protocol):
    """An issuer whose tokens count."""

    @property
    def audience(self) -> str:
        """What ``aud`` must be, to the letter: a string, never a list."""

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Which algorithms it signs with."""

    async def key(self, kid: str, now: float) -> Key | None:
        """Return its public key of that name, if it stands at ``now``."""

    def name(self, client_id: str) -> str | None:
        """Return the name of the party that a client stands for; None where it is its code.

        Raises:
            BadTokenError: It stands for nobody.
        """


class Guard:
    """Accepts the access tokens of issuers that are known by name."""

    def __init__(self, issuers: Mapping[str, Trusted]) -> None:
        self._issuers = dict(issuers)
        self._verified: dict[str, tuple[Key, SignedToken]] = {}

    async def principal(self, sent: Sent, now: float) -> Principal:
        """Return who sent a request.

        Raises:
            BadTokenError: No token (``token_missing``), or none that proves anything at ``now``
                (``invalid_token``), or no proof of the key it is bound to
                (``invalid_dpop_proof``).
        """
        binding, token = _offered(sent)
        known = self._verified.get(token)
        signed = parse(token, TYPES) if known is None else known[1]
        issuer = signed.unbelieved.get("iss")
        trusted = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if trusted is None or not isinstance(issuer, str):
            _refuse("it was issued by somebody else")
        if signed.algorithm not in trusted.algorithms:
            _refuse("its issuer does not sign so")
        claims = self._believed(token, signed, await trusted.key(signed.kid, now))
        if claims.get("aud") != trusted.audience:
            _refuse("it was issued for somebody else")
        expires = _alive(claims, now)
        client, number = word(claims, "client_id"), word(claims, "jti")
        if claims.get("sub") != client:
            _refuse("its subject is not its client")
        use = _bound(claims, binding, sent, token, now)
        return Principal(client, number, expires, issuer, trusted.name(client), use)

    def _believed(self, token: str, signed: SignedToken, key: Key | None) -> Claims:
        """Return the claims of a token whose signature holds.

        The same bytes under the same key hold again: only what they say and their signature is
        remembered, every other check is made each time, and a key that stands no more is another.
        """
        known = self._verified.get(token)
        if known is not None and known[0] is key:
            return known[1].unbelieved
        claims = signed.believed(key)
        if key is not None:
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified.pop(next(iter(self._verified)))
            self._verified[token] = (key, signed)
        return claims


def revocation(issuer: str, jti: str, expires: float) -> Use:
    """Return what is noted where a token was revoked."""
    return Use.of("revoked", issuer, jti, expires + SKEW)


def _offered(sent: Sent) -> tuple[str, str]:
    """Return how the token that was sent must be bound, and the token."""
    if len(sent.authorization) == 1:
        scheme, _, token = sent.authorization[0].partition(" ")
        binding = _SCHEMES.get(scheme.lower())
        if binding is not None:
            return binding, token
    raise BadTokenError(
        "send an access token: `Authorization: DPoP ..` and a proof of possession in `DPoP` "
        "(POST /oauth2/token gives one)",
        code="token_missing",
    )


def _alive(claims: Claims, now: float) -> int:
    issued, expires = second(claims, "iat"), second(claims, "exp")
    if "nbf" in claims and second(claims, "nbf") > now + SKEW:
        _refuse("it is not valid yet")
    if issued > now + SKEW:
        _refuse("it was issued in the future")
    if not 0 < expires - issued <= LIFE:
        _refuse("it lives longer than five minutes")
    if now >= expires:
        _refuse("it has expired")
    return expires


def _bound(claims: Claims, binding: str, sent: Sent, token: str, now: float) -> Use | None:
    """See that the sender holds what the token is bound to: one check for both ways."""
    cnf = claims.get("cnf")
    if not isinstance(cnf, dict) or cnf.keys() != {binding}:
        _refuse("it is not bound to its sender in the way it was sent")
    if binding == THUMBPRINT:
        proof = sent.proof(now, token)
        held, use = proof.thumbprint, proof.use
    else:
        held, use = sent.certificate or "", None
    bound = cnf[binding]
    if (
        not isinstance(bound, str)
        or not held
        or not compare_digest(bound.encode(errors="replace"), held.encode())
    ):
        _refuse("it is bound to another sender")
    return use


def _refuse(what: str) -> NoReturn:
    raise BadTokenError(f"the token is refused: {what}")
