"""The authorisation server's addresses: token, revoke, keys, metadata. See `issuers`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil
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
    from service.strikes import Strikes
    from store.once import Use
    from store.ports import Clock

_NO_STORE = {"cache-control": "no-store"}
_PROVES_NOTHING = {"invalid_client", "invalid_dpop_proof"}
_CLIENT = "meterkeep.client"  # of a request's scope: whom it says it comes from
_OF_ADDRESS = 10  # times as many from one address as from it and one client together


class _StruckOutError(Exception):
    def __init__(self, wait: int) -> None:
        super().__init__("too many requests that prove nothing; wait as `Retry-After` says")
        self.wait = wait


class OAuth:
    """Serves one issuer."""

    def __init__(
        self, signing: Signing, desk: Desk, arriving: Arriving, clock: Clock, strikes: Strikes
    ) -> None:
        self._signing, self._desk, self._arriving, self._clock = signing, desk, arriving, clock
        self._strikes = strikes

    async def token(self, request: Request) -> Response:
        """Give a client that proves itself an access token bound to it (RFC 6749, RFC 9449)."""
        return await self._told(self._token, request)

    async def revoke(self, request: Request) -> Response:
        """Make a client's own access token worthless from the next request on (RFC 7009)."""
        return await self._told(self._revoke, request)

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
        self._bear(request, asked.client_id)
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
        self._bear(request, asked.client_id)
        assertion = await self._proven(asked, now)
        issuer = await self._signing.current()
        found = issuer.revoked(asked.token, assertion.client_id)
        if found is not None:
            await self._desk.revoke(assertion.client_id, revocation(issuer.url, *found))
        return Response(b"", 200, _NO_STORE)

    async def _told(
        self, work: Callable[[Request], Awaitable[Response]], request: Request
    ) -> Response:
        """Answer, or tell the error; one whose request proves nothing is counted."""
        try:
            self._bear(request)
            return await work(request)
        except _StruckOutError as error:
            told = {"error": "temporarily_unavailable", "error_description": str(error)}
            headers = _NO_STORE | {"retry-after": str(error.wait)}
            return Response(orjson.dumps(told), 429, headers, JSON)
        except TokenRequestError as error:
            if error.error in _PROVES_NOTHING:
                now = self._clock.now()
                for key, times in self._keys(request, request.scope.get(_CLIENT)):
                    self._strikes.count(key, now, times)
            told = {"error": error.error, "error_description": str(error)}
            return Response(orjson.dumps(told), error.status, _NO_STORE, JSON)

    def _bear(self, request: Request, client: str | None = None) -> None:
        """See that too much did not prove nothing already, before any signature is looked at."""
        request.scope[_CLIENT] = client
        now = self._clock.now()
        wait = max(
            (self._strikes.wait(k, now, n) for k, n in self._keys(request, client)), default=0
        )
        if wait > 0:
            raise _StruckOutError(ceil(wait))

    def _keys(self, request: Request, client: str | None) -> list[tuple[tuple[str, ...], int]]:
        """Return under what a request is counted, and how many times the usual is borne there."""
        address = self._arriving.address(request)
        keys: list[tuple[tuple[str, ...], int]] = [((address,), _OF_ADDRESS)] if address else []
        return keys if client is None else [*keys, ((address, client), 1)]

    async def _proven(self, asked: TokenRequest, now: float, *uses: Use) -> Assertion:
        """Return what the client proves, now that it counts no more a second time."""
        client, issuer = await self._desk.client(asked.client_id), await self._signing.current()
        assertion = issuer.assertion(asked, () if client is None else client.keys, now)
        if not await self._desk.once(assertion.use, *uses):
            raise TokenRequestError("invalid_client", "this assertion or proof was used before")
        return assertion


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
