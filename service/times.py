"""The addresses of response times: what is promised, and what one request would take.

    GET /v1/response-times             every catalogue, and which of them counts today
    GET /v1/response-times/estimate    how long this request would take
    GET /v1/response-times/report      how requests stood against their targets

The first two are for any party that is known here, the report for auditors and operators. They
tell of no party and no meter point, so no entry of the log is made but of a refusal; a proof counts
once, as everywhere. What was measured is looked up once in a while, not for each question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.asking import moment, parse
from service.bodies import JSON, words_in_query
from service.desk import NotedRefusalError
from store.errors import InputError, RefusedError
from store.log.writer import Entry, Kind
from store.policy import offices, response_rules
from store.targets import catalogues, report
from store.targets.estimating import estimate
from store.targets.timing_book import HOUR, TimingBook

if TYPE_CHECKING:
    from collections.abc import Collection

    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard, Principal
    from store.grounds import Party
    from store.parts import Store
    from store.targets.timing_book import Spreads

ACTION: Final = "targets report"
FRESH: Final = 60.0  # seconds for which what was measured is not looked up again
LONGEST: Final = 3_660 * 24  # hours of one report: ten years
_ESTIMATE: Final = ("srv", "from", "to")


class Times:
    """Answers about response times."""

    def __init__(self, store: Store, desk: Desk, guard: Guard, arriving: Arriving) -> None:
        self._store, self._desk, self._guard, self._arriving = store, desk, guard, arriving
        self._rules = response_rules.load(store.settings.policies)
        self._book = TimingBook(store.database)
        self._seen: tuple[float, Spreads] = (float("-inf"), {})

    async def response_times(self, request: Request) -> Response:
        """Show the target response times: every catalogue, and which counts today."""
        await self._known(request)
        _words(request, ())
        day = catalogues.day_of(self._store.clock.now())
        return _answer(catalogues.told(self._rules, self._store.policy, day))

    async def response_time_estimate(self, request: Request) -> Response:
        """Say how long this request would take here, and by re-reading the meter."""
        await self._known(request)
        asked = parse(words_in_query(request.scope["query_string"]), _ESTIMATE)
        catalogues.kept(self._store.policy, asked.srv)
        now, spreads = self._store.clock.now(), await self._measured()
        counts = self._rules.in_force(catalogues.day_of(now))
        return _answer(estimate(self._rules, counts, spreads, asked.srv, asked.window, now))

    async def response_time_report(self, request: Request) -> Response:
        """Show an auditor or an operator how requests stood against their targets."""
        principal = await self._principal(request)
        party = await self._desk.party(principal)
        words = _words(request, ("from", "to"))
        if words.keys() != {"from", "to"}:
            raise InputError("`from` and `to` are needed", code="missing_parameter")
        first, end = report.hours_of(moment(words["from"]), moment(words["to"]))
        if end - first > LONGEST:
            raise InputError("one report covers ten years at most", code="window_too_long")
        await self._may(party, principal)
        await self._desk.spend(principal)
        rules, book = self._rules, self._book
        found = await self._store.database.threaded(report.parts, rules, book, first, end)
        return _answer(report.told(rules, found))

    # ---- within ------------------------------------------------------------------------------

    async def _measured(self) -> Spreads:
        """Return what was measured in the days that the rules look back."""
        database, now = self._store.database, self._store.clock.now()
        if now - self._seen[0] >= FRESH:
            end = int(now // HOUR) + 1
            first = end - 24 * self._rules.measure.looked_back
            self._seen = (now, await database.threaded(self._book.read, first, end))
        return self._seen[1]

    async def _may(self, party: Party, principal: Principal) -> None:
        """Return where the party's roles may see a report; a refusal has its leaf first."""
        policy = self._store.policy
        try:
            offices.may(policy, party.roles, ACTION)
        except RefusedError as refused:
            entry = Entry(Kind.DENIED, ACTION, party.code, refused.code, policy.digest)
            written = await self._store.log.write_async(entry, principal.use)
            raise NotedRefusalError(refused, written, self._desk.noted(written)) from None

    async def _known(self, request: Request) -> None:
        """Return where whoever asks is known here; their proof is used up."""
        principal = await self._principal(request)
        await self._desk.party(principal)
        await self._desk.spend(principal)

    async def _principal(self, request: Request) -> Principal:
        return await self._guard.principal(self._arriving.sent(request), self._store.clock.now())


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
