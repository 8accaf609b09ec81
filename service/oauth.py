"""The authorisation server's addresses: token, keys, metadata. The thinking is in `issuers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.bodies import FORM, JSON, body_of, media_type
from service.identity import LIFE
from service.issuers import TokenRequestError, parse_request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from service.desk import Desk
    from service.issuers import Issuer
    from store.ports import Clock

_NO_STORE = {"cache-control": "no-store"}


class OAuth:
    """Serves one issuer."""

    def __init__(self, issuer: Issuer, desk: Desk, clock: Clock) -> None:
        self._issuer, self._desk, self._clock = issuer, desk, clock

    async def token(self, request: Request) -> Response:
        """Give an access token to a client that proves itself (RFC 6749, 4.4; RFC 7523, 2.2)."""
        try:
            return await self._token(request)
        except TokenRequestError as error:
            told = {"error": error.error, "error_description": str(error)}
            return Response(orjson.dumps(told), error.status, _NO_STORE, JSON)

    async def _token(self, request: Request) -> Response:
        if "authorization" in request.headers:
            raise TokenRequestError("invalid_client", "authenticate by private_key_jwt alone")
        if media_type(request) != FORM:
            raise TokenRequestError("invalid_request", f"send {FORM}")
        asked = parse_request(await body_of(request))
        client, now = await self._desk.client(asked.client_id), self._clock.now()
        assertion = self._issuer.assertion(asked, () if client is None else client.keys, now)
        if not await self._desk.once(assertion.client_id, assertion.jti, assertion.expires):
            raise TokenRequestError("invalid_client", "this assertion was used before")
        told = {
            "access_token": self._issuer.issue(assertion.client_id, now),
            "token_type": "Bearer",
            "expires_in": LIFE,
        }
        return Response(orjson.dumps(told), 200, _NO_STORE, JSON)

    async def jwks(self, _request: Request) -> Response:
        """Publish the keys that verify the tokens (RFC 7517)."""
        return _public(self._issuer.jwks())

    async def metadata(self, _request: Request) -> Response:
        """Publish what this server does (RFC 8414)."""
        return _public(self._issuer.metadata())


def _public(document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document), 200, {"cache-control": "max-age=300"}, JSON)
