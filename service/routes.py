"""The addresses that answer about meter points.

    POST /v1/meter-points/lookup              an MPXN becomes the caller's own `mp_..`
    GET  /v1/meter-points/{..}/reads          what was measured
    GET  /v1/meter-points/{..}/coverage       what there is and what is missing, no value
    POST /v1/decisions                        the same question, answered without data

The order never changes: who (401), what (422), facts and decision (403, 410), leaf durable (503),
rows, answer. Parameters are read by hand: a model per request would cost more than opening a month.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service import decisions
from service.asking import COVERAGE, READS, Asked, parse
from service.bodies import json_of, words_in_query, words_of
from service.desk import NotedRefusalError
from service.leaving import Leaving, watched
from service.limits import half_hours_asked
from service.negotiation import SHAPES, chosen
from service.parts import allowed_windows, cut, told
from service.shapes import json
from service.shapes.reply import Reply
from service.telemetry import ASKED
from store.errors import InputError, RefusedError
from store.policy.offices import may
from store.reads import Mpxn

if TYPE_CHECKING:
    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard, Principal
    from service.limits import Limits
    from service.telemetry import Telemetry
    from store.grants import Grant
    from store.grounds import Party
    from store.parts import Store
    from store.reading.readstore import Answer
    from store.reads import Series

_NO_STORE = {"cache-control": "no-store"}
_DECISION = ("meter_point", *READS)
_MOST_QUESTIONS = 256  # remembered as asked, 4 KiB each at most; they name no meter point


class Reads:
    """Answers about meter points."""

    def __init__(
        self,
        store: Store,
        desk: Desk,
        guard: Guard,
        arriving: Arriving,
        telemetry: Telemetry,
        limits: Limits,
    ) -> None:
        self._store, self._desk, self._guard = store, desk, guard
        self._arriving, self._telemetry, self._limits = arriving, telemetry, limits

    async def lookup(self, request: Request) -> Response:
        """Give the caller its own name for a meter point; nothing is told of whether it exists."""
        principal = await self._principal(request)
        party = await self._desk.party(principal)
        value = await json_of(request, ("mpxn",))
        if not isinstance(value.get("mpxn"), str):
            raise InputError("`mpxn` is needed, as text", code="missing_parameter")
        mpxn = Mpxn.parse(value["mpxn"])
        if not self._may_look_up(party):
            raise await self._desk.refusal("lookup", party, principal)
        await self._desk.spend(principal)
        return _answer({"meter_point": self._store.keys.handles.of(mpxn, party.code)})

    async def reads(self, request: Request) -> Response:
        """Answer reads in the shape that the caller accepts."""
        principal = await self._principal(request)
        shape = SHAPES[chosen(request.headers.get("accept"))]
        handle, asked = request.path_params["meter_point"], _asked(request, READS)
        request.scope[ASKED] = asked.srv, asked.role, asked.half_hours
        counted = half_hours_asked(asked.half_hours, len(asked.registers))
        await self._limits.charge(principal, counted)
        grant = await self._desk.grant(principal, handle, asked, "read")
        request.scope[ASKED] = asked.srv, grant.role, asked.half_hours
        answer = await self._store.reads.read(grant, principal.use, principal.acted)
        log, headers = self._store.log, self._desk.beside(answer, grant)
        with watched(log, answer, f"read {grant.srv}"):
            reply = _reply(handle, asked, grant, answer)
            body = shape.encode(reply)
        half_hours = sum(len(series.window) for series in reply.series)
        self._telemetry.released(half_hours)
        return Leaving(
            log, answer, f"read {grant.srv}", half_hours, body, headers, shape.MEDIA_TYPE
        )

    async def coverage(self, request: Request) -> Response:
        """Answer which half-hours there are, from the states alone: no energy is opened."""
        principal = await self._principal(request)
        handle, asked = request.path_params["meter_point"], _asked(request, COVERAGE)
        grant = await self._desk.grant(principal, handle, asked, "coverage")
        answer = await self._store.reads.coverage(grant, principal.use, principal.acted)
        log, headers = self._store.log, self._desk.beside(answer, grant)
        with watched(log, answer, f"coverage {grant.srv}"):
            body = json.encode_coverage(_reply(handle, asked, grant, answer))
        return Leaving(log, answer, f"coverage {grant.srv}", 0, body, headers, json.MEDIA_TYPE)

    async def decisions(self, request: Request) -> Response:
        """Say whether a question would be answered, and on what; release nothing."""
        principal = await self._principal(request)
        value = await json_of(request, _DECISION)
        handle = value.pop("meter_point", None)
        if not isinstance(handle, str):
            raise InputError("`meter_point` is needed, as text", code="missing_parameter")
        asked = parse(words_of(value))
        try:
            grant = await self._desk.grant(principal, handle, asked, "decide")
        except NotedRefusalError as refusal:
            return _answer(decisions.refused(refusal), refusal.headers)
        entry = await self._desk.note_allowed(grant, principal)
        return _answer(decisions.allowed(grant), self._desk.noted(entry))

    def _may_look_up(self, party: Party) -> bool:
        """Whether ``party`` may ask of a meter point at all: for reads, or in the log."""
        if any(role in party.roles for role, _ in self._store.policy.matrix):
            return True
        with suppress(RefusedError):
            return bool(may(self._store.policy, party.roles, "log read"))
        return False

    async def _principal(self, request: Request) -> Principal:
        return await self._guard.principal(self._arriving.sent(request), self._store.clock.now())


def _asked(request: Request, known: tuple[str, ...]) -> Asked:
    return _parsed(request.scope["query_string"], known)


@lru_cache(_MOST_QUESTIONS)
def _parsed(query: bytes, known: tuple[str, ...]) -> Asked:
    """Return what a query asks: the same months are asked of one meter point after another."""
    return parse(words_in_query(query), known)


def _reply(handle: str, asked: Asked, grant: Grant, answer: Answer[Series]) -> Reply:
    series = tuple(cut(told(answer.series, asked.registers), allowed_windows(grant)))
    return Reply(
        handle, asked.srv, answer.commit, series, grant.withheld, asked.calendar, asked.sample
    )


def _answer(value: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), 200, {**_NO_STORE, **(headers or {})}, json.MEDIA_TYPE)
