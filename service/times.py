"""The addresses of response times: what is promised, and what one request would take.

    GET /v1/response-times             every catalogue, and which of them counts today

For any party that is known here. They tell of no meter point, so nothing is decided, and no entry
of the log is made; a proof counts once, as everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.bodies import JSON, words_in_query
from store import response_rules, targets
from store.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard
    from store.parts import Store


class Times:
    """Answers about response times."""

    def __init__(self, store: Store, desk: Desk, guard: Guard, arriving: Arriving) -> None:
        self._store, self._desk, self._guard, self._arriving = store, desk, guard, arriving
        self._rules = response_rules.load(store.settings.policies)

    async def response_times(self, request: Request) -> Response:
        """Show the target response times: every catalogue, and which counts today."""
        await self._known(request)
        _words(request, ())
        day = targets.day_of(self._store.clock.now())
        return _answer(targets.told(self._rules, self._store.policy, day))

    async def _known(self, request: Request) -> None:
        """Return where whoever asks is known here; their proof is used up."""
        sent, now = self._arriving.sent(request), self._store.clock.now()
        principal = await self._guard.principal(sent, now)
        await self._desk.party(principal)
        await self._desk.spend(principal)


def _words(request: Request, known: Collection[str]) -> dict[str, str]:
    """Return the parameters of a query. Raises InputError where one is unknown or stands twice."""
    words = words_in_query(request.scope["query_string"])
    if not words.keys() <= set(known):
        listed = ", ".join(known) or "none"
        raise InputError(f"an unknown parameter; known: {listed}", code="unknown_parameter")
    if any(len(values) > 1 for values in words.values()):
        raise InputError("a parameter stands twice", code="repeated_parameter")
    return {name: values[0] for name, values in words.items()}


def _answer(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), 200, {"cache-control": "no-store"}, JSON)
