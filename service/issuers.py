"""The embedded authorisation server, without its routes: client assertions in, access tokens out.

    POST /oauth2/token   grant_type=client_credentials, authenticated by private_key_jwt (RFC 7523)

It does this and nothing else, and its metadata (RFC 8414) advertises nothing else. A client proves
itself by an assertion that it signed: iss = sub = its client_id, aud = our issuer string and not
the token endpoint, at most five minutes long, used once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from service.identity import LIFE, SKEW, TYPES
from service.jose import ALGORITHMS, BadTokenError, SignedToken, parse, second, sign, word

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
        error: ``invalid_request``, ``invalid_client``, ``unsupported_grant_type`` or
            ``invalid_scope``.
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
    """

    client_id: str
    proof: SignedToken


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


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs access tokens for clients that prove themselves.

    Attributes:
        url: The issuer string, the service's public address.
        audience: The ``aud`` of what it issues.
        key: The signing key, Ed25519.
    """

    url: str
    audience: str
    key: OKPKey = field(repr=False)

    @classmethod
    def from_seed(cls, url: str, seed: bytes) -> Issuer:
        """Return the issuer at ``url`` whose signing key grows from ``seed``, 32 random bytes."""
        return cls(url, f"{url}/v1", OKPKey.import_key(_PKCS8_ED25519 + seed))

    @property
    def kid(self) -> str:
        """The signing key's RFC 7638 thumbprint."""
        return self.key.thumbprint()

    def public_keys(self) -> dict[str, OKPKey]:
        """Return what verifies its tokens, by ``kid``."""
        return {self.kid: OKPKey.import_key(self.key.as_dict(private=False))}

    def jwks(self) -> dict[str, Any]:
        """Return the JWK Set document: public keys only."""
        public = self.key.as_dict(private=False)
        return {"keys": [{**public, "kid": self.kid, "alg": ALGORITHMS[0], "use": "sig"}]}

    def metadata(self) -> dict[str, Any]:
        """Return the RFC 8414 document: what this server does, nothing that it does not."""
        return {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/oauth2/token",
            "jwks_uri": f"{self.url}/oauth2/jwks",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        }

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

    def issue(self, client_id: str, now: float) -> str:
        """Return a new access token for ``client_id``, valid for five minutes from ``now``."""
        begins = int(now)
        header = {"alg": ALGORITHMS[0], "typ": TYPES[0], "kid": self.kid}
        claims = {
            "iss": self.url,
            "aud": self.audience,
            "sub": client_id,
            "client_id": client_id,
            "iat": begins,
            "exp": begins + LIFE,
            "jti": os.urandom(16).hex(),
        }
        return sign(header, claims, self.key)


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
    if form.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in form:
        _nobody("authenticate by private_key_jwt (RFC 7523)")
    try:
        proof = parse(form["client_assertion"], _ASSERTION_TYPES)
    except BadTokenError as error:
        raise TokenRequestError("invalid_client", str(error)) from None
    client = form.get("client_id", proof.unbelieved.get("iss"))
    if not isinstance(client, str) or not _CLIENT_ID.match(client):
        _nobody("iss, sub and client_id must be the same")
    return TokenRequest(client, proof)


def _key(known: Jwks, kid: str) -> OKPKey | None:
    chosen = [jwk for jwk in known if jwk.get("kid") == kid or (not kid and len(known) == 1)]
    try:
        return OKPKey.import_key(dict(chosen[0])) if chosen else None
    except (JoseError, ValueError, KeyError, TypeError):
        return None


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
