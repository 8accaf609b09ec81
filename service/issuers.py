"""The embedded authorisation server, without its routes: client assertions in, access tokens out.

    POST /oauth2/token    grant_type=client_credentials, authenticated by private_key_jwt (RFC 7523)
    POST /oauth2/revoke   the client's own access token, authenticated alike (RFC 7009)

It does this and nothing else, and its metadata (RFC 8414) advertises nothing else. A client proves
itself by an assertion that it signed: iss = sub = its client_id, aud = our issuer string and not
the token endpoint, at most five minutes long, used once. What it gets is bound to its sender.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from joserfc.jwk import OKPKey

from service.dpop import SKEW
from service.identity import LIFE, TYPES
from service.jose import (
    ALGORITHMS,
    EDDSA,
    BadTokenError,
    Key,
    SignedToken,
    parse,
    public_key,
    second,
    sign,
    word,
)
from store.once import Use

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = 300  # seconds ahead that an assertion's exp may lie
_ASSERTION_TYPES = (None, "JWT", "client-authentication+jwt")
_PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410, section 7
_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_MOST_FIELDS = 16
_STARTS = ("iat", "nbf")

Jwks = Sequence[Mapping[str, Any]]


class TokenRequestError(Exception):
    """The token endpoint refuses (RFC 6749, section 5.2).

    Attributes:
        error: ``invalid_request``, ``invalid_client``, ``invalid_dpop_proof``,
            ``unsupported_grant_type`` or ``invalid_scope``.
        status: 401 for ``invalid_client``, else 400.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.status = 401 if error == "invalid_client" else 400


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A well-formed request that nobody has checked yet.

    Attributes:
        client_id: Who it claims to come from, to know whose keys to try.
        proof: The client's assertion.
        token: The token to be revoked; empty where one is asked for.
    """

    client_id: str
    proof: SignedToken
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A client's proof of itself, checked but for its being new.

    Attributes:
        client_id: Who it proves to be.
        jti: The proof's own name; it counts once for this client.
        expires: After this second the proof is worthless anyway.
    """

    client_id: str
    jti: str
    expires: int

    @property
    def use(self) -> Use:
        """What makes it count once."""
        return Use.of("assertion", self.client_id, self.jti, self.expires)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs access tokens for clients that prove themselves.

    Attributes:
        url: The issuer string, the service's public address.
        audience: The ``aud`` of what it issues.
        key: The signing key, Ed25519.
        older: Keys that sign no more, each with the second until which what they signed counts.
    """

    url: str
    audience: str
    key: OKPKey = field(repr=False)
    older: tuple[tuple[OKPKey, float], ...] = field(default=(), repr=False)

    @classmethod
    def from_seed(cls, url: str, seed: bytes, older: Sequence[tuple[bytes, float]] = ()) -> Issuer:
        """Return the issuer at ``url`` whose signing key grows from ``seed``, 32 random bytes.

        Args:
            url: The issuer string.
            seed: Of the key that signs.
            older: Seeds of the keys before it, each with the second until which it counts.
        """
        key, *before = (grown(one) for one in (seed, *(one for one, _ in older)))
        ends = [until for _, until in older]
        return cls(url, f"{url}/v1", key, tuple(zip(before, ends, strict=True)))

    @property
    def kid(self) -> str:
        """The signing key's RFC 7638 thumbprint."""
        return self.key.thumbprint()

    def public_keys(self) -> dict[str, tuple[OKPKey, float]]:
        """Return what verifies its tokens, by ``kid``, each with the second until which it does."""
        standing = [(self.key, float("inf")), *self.older]
        return {
            key.thumbprint(): (OKPKey.import_key(key.as_dict(private=False)), until)
            for key, until in standing
        }

    def jwks(self, now: float) -> dict[str, Any]:
        """Return the JWK Set document: public keys only, those that count at ``now``."""
        return {
            "keys": [
                {**key.as_dict(private=False), "kid": kid, "alg": EDDSA, "use": "sig"}
                for kid, (key, until) in self.public_keys().items()
                if now < until
            ]
        }

    def metadata(self, *, certificates: bool = False) -> dict[str, Any]:
        """Return the RFC 8414 document: what this server does, nothing that it does not.

        Args:
            certificates: Whether any proxy is trusted to tell of a caller's certificate.
        """
        document: dict[str, Any] = {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/oauth2/token",
            "revocation_endpoint": f"{self.url}/oauth2/revoke",
            "jwks_uri": f"{self.url}/oauth2/jwks",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "dpop_signing_alg_values_supported": list(ALGORITHMS),
        }
        for endpoint in ("token", "revocation"):
            document[f"{endpoint}_endpoint_auth_methods_supported"] = ["private_key_jwt"]
            name = f"{endpoint}_endpoint_auth_signing_alg_values_supported"
            document[name] = list(ALGORITHMS)
        if certificates:
            document["tls_client_certificate_bound_access_tokens"] = True
        return document

    def assertion(self, request: TokenRequest, jwks: Jwks, now: float) -> Assertion:
        """Return what ``request`` proves.

        Args:
            request: See `parse_request`.
            jwks: The public keys of ``request.client_id``; empty for nobody that we know.
            now: Seconds since 1970.

        Raises:
            TokenRequestError: It proves nothing.
        """
        try:
            claims = request.proof.believed(_key(jwks, request.proof.kid))
            client, expires = word(claims, "iss"), second(claims, "exp")
            early = any(name in claims and second(claims, name) > now + SKEW for name in _STARTS)
            assertion = Assertion(client, word(claims, "jti"), expires)
        except BadTokenError as error:
            raise TokenRequestError("invalid_client", str(error)) from None
        if not client == claims.get("sub") == request.client_id:
            _nobody("iss, sub and client_id must be the same")
        if claims.get("aud") != self.url:
            _nobody("aud must be the issuer string, alone")
        if early or not now < expires <= now + ASSERTION_LIFE + SKEW:
            _nobody("exp must lie within the next five minutes, iat and nbf not in the future")
        return assertion

    def issue(self, client_id: str, now: float, cnf: Mapping[str, str]) -> str:
        """Return a new access token for ``client_id``, valid for five minutes from ``now``.

        Args:
            client_id: Whom it stands for.
            now: Seconds since 1970.
            cnf: What it is bound to: the thumbprint of a key or of a certificate (RFC 7800).
        """
        begins = int(now)
        header = {"alg": EDDSA, "typ": TYPES[0], "kid": self.kid}
        claims = {
            "iss": self.url,
            "aud": self.audience,
            "sub": client_id,
            "client_id": client_id,
            "iat": begins,
            "exp": begins + LIFE,
            "jti": os.urandom(16).hex(),
            "cnf": dict(cnf),
        }
        return sign(header, claims, self.key)

    def revoked(self, token: str, client_id: str) -> tuple[str, int] | None:
        """Return ``jti`` and end of ``token``, to be revoked by ``client_id``.

        Returns:
            None where there is nothing to revoke: it is no token of ours (RFC 7009, 2.2).

        Raises:
            TokenRequestError: It is another client's.
        """
        try:
            signed = parse(token, TYPES)
            claims = signed.believed(self.public_keys().get(signed.kid, (None, 0))[0])
            named = word(claims, "jti"), second(claims, "exp")
        except BadTokenError:
            return None
        if claims.get("client_id") != client_id:
            raise TokenRequestError("invalid_request", "the token is another client's")
        return named


def parse_revocation(body: bytes) -> TokenRequest:
    """Return the revocation request of a form ``body``, as it came. Raises TokenRequestError."""
    form = _form(body)
    if not form.get("token"):
        raise TokenRequestError("invalid_request", "`token` is needed")
    return _claimed(form, form["token"])


def parse_request(body: bytes) -> TokenRequest:
    """Return the token request of a form ``body``, as it came.

    Raises:
        TokenRequestError: Malformed, or it asks for what is not offered.
    """
    form = _form(body)
    if form.get("grant_type") != "client_credentials":
        raise TokenRequestError("unsupported_grant_type", "only client_credentials is offered")
    if "scope" in form:
        raise TokenRequestError("invalid_scope", "there are no scopes: leave it out")
    return _claimed(form)


def _claimed(form: Mapping[str, str], token: str = "") -> TokenRequest:
    """Return who a request claims to be from, and the assertion that is to show it."""
    if form.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in form:
        _nobody("authenticate by private_key_jwt (RFC 7523)")
    try:
        proof = parse(form["client_assertion"], _ASSERTION_TYPES)
    except BadTokenError as error:
        raise TokenRequestError("invalid_client", str(error)) from None
    client = form.get("client_id", proof.unbelieved.get("iss"))
    if not isinstance(client, str) or not _CLIENT_ID.match(client):
        _nobody("iss, sub and client_id must be the same")
    return TokenRequest(client, proof, token)


def grown(seed: bytes) -> OKPKey:
    """Return the Ed25519 key of 32 random bytes."""
    return OKPKey.import_key(_PKCS8_ED25519 + seed)


def _key(known: Jwks, kid: str) -> Key | None:
    chosen = [jwk for jwk in known if jwk.get("kid") == kid or (not kid and len(known) == 1)]
    return public_key(chosen[0]) if chosen else None


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(body.decode("ascii"), True, True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise TokenRequestError("invalid_request", "the body is not a form") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise TokenRequestError("invalid_request", "a parameter stands twice")
    if "client_secret" in form:
        _nobody("clients have no secret: authenticate by private_key_jwt")
    return form


def _nobody(description: str) -> NoReturn:
    raise TokenRequestError("invalid_client", description)
