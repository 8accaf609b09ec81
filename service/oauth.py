"""The authorisation server's addresses: token, revoke, keys, metadata. See `issuers`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.bodies import FORM, JSON, body_of, media_type
from service.dpop import BadProofError
from service.identity import CERTIFICATE, LIFE, THUMBPRINT, revocation
from service.issuers import TokenRequestError, parse_request, parse_revocation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Sent
    from service.issuers import Assertion, TokenRequest
    from service.signing import Signing
    from store.once import Use
    from store.ports import Clock

_NO_STORE = {"cache-control": "no-store"}


class OAuth:
    """Serves one issuer."""

    def __init__(self, signing: Signing, desk: Desk, arriving: Arriving, clock: Clock) -> None:
        self._signing, self._desk, self._arriving, self._clock = signing, desk, arriving, clock

    async def token(self, request: Request) -> Response:
        """Give a client that proves itself an access token bound to it (RFC 6749, RFC 9449)."""
        return await _told(self._token, request)

    async def revoke(self, request: Request) -> Response:
        """Make a client's own access token worthless from the next request on (RFC 7009)."""
        return await _told(self._revoke, request)

    async def jwks(self, _request: Request) -> Response:
        """Publish the keys that verify the tokens (RFC 7517)."""
        return _public((await self._signing.current()).jwks(self._clock.now()))

    async def metadata(self, _request: Request) -> Response:
        """Publish what this server does (RFC 8414)."""
        issuer = await self._signing.current()
        return _public(issuer.metadata(certificates=self._arriving.hears_certificates))

    async def _token(self, request: Request) -> Response:
        sent, now = self._arriving.sent(request), self._clock.now()
        asked = parse_request(await _form(request, sent))
        cnf, uses = _binding(sent, now)
        assertion = await self._proven(asked, now, *uses)
        issuer = await self._signing.current()
        told = {
            "access_token": issuer.issue(assertion.client_id, now, cnf),
            "token_type": "DPoP" if THUMBPRINT in cnf else "Bearer",  # RFC 8705 has no own word
            "expires_in": LIFE,
        }
        return Response(orjson.dumps(told), 200, _NO_STORE, JSON)

    async def _revoke(self, request: Request) -> Response:
        now = self._clock.now()
        asked = parse_revocation(await _form(request, self._arriving.sent(request)))
        assertion = await self._proven(asked, now)
        issuer = await self._signing.current()
        found = issuer.revoked(asked.token, assertion.client_id)
        if found is not None:
            await self._desk.revoke(assertion.client_id, revocation(issuer.url, *found))
        return Response(b"", 200, _NO_STORE)

    async def _proven(self, asked: TokenRequest, now: float, *uses: Use) -> Assertion:
        """Return what the client proves, now that it counts no more a second time."""
        client, issuer = await self._desk.client(asked.client_id), await self._signing.current()
        assertion = issuer.assertion(asked, () if client is None else client.keys, now)
        if not await self._desk.once(assertion.use, *uses):
            raise TokenRequestError("invalid_client", "this assertion or proof was used before")
        return assertion


async def _told(work: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        return await work(request)
    except TokenRequestError as error:
        told = {"error": error.error, "error_description": str(error)}
        return Response(orjson.dumps(told), error.status, _NO_STORE, JSON)


async def _form(request: Request, sent: Sent) -> bytes:
    if sent.authorization:
        raise TokenRequestError("invalid_client", "authenticate by private_key_jwt alone")
    if media_type(request) != FORM:
        raise TokenRequestError("invalid_request", f"send {FORM}")
    return await body_of(request)


def _binding(sent: Sent, now: float) -> tuple[dict[str, str], tuple[Use, ...]]:
    """Return what a new token is bound to, and what must be used for the first time."""
    if not sent.proofs and sent.certificate is not None:
        return {CERTIFICATE: sent.certificate}, ()
    try:
        proof = sent.proof(now)
    except BadProofError as error:
        raise TokenRequestError(error.code, str(error)) from None
    return {THUMBPRINT: proof.thumbprint}, (proof.use,)


def _public(document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document), 200, {"cache-control": "max-age=300"}, JSON)
