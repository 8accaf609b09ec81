"""The auditors' address: `GET /v1/log/entries`. Who asked for reads, why, and what left.

Whoever may read the log is said by `policies/auditor.cedar`; who may not is refused, and that is an
entry too. So is each search: its leaf is durable before anything is told, and an outcome with the
digest of the answer follows it. An auditor sees no read, and no meter point but those it names
itself, by its own `mp_..`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import Response

from service.bodies import words_in_query
from service.desk import NotedRefusalError
from service.negotiation import chosen
from service.searching import Searched, is_code, parse
from service.shapes import entries as shaped
from store.audit.search import LogSearch, Page
from store.audit.told import told
from store.audit.wanted import OPERATOR
from store.errors import RefusedError
from store.log.writer import Entry, EntryId, Kind
from store.policy.offices import may
from store.reading.outcomes import RELEASED

if TYPE_CHECKING:
    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard, Principal
    from store.grounds import Party
    from store.parts import Store

ACTION: Final = "log search"
READ: Final = "log read"  # what the policies call it
_NO_STORE: Final = {"cache-control": "no-store"}


class LogEntries:
    """Answers searches in the log."""

    def __init__(self, store: Store, desk: Desk, guard: Guard, arriving: Arriving) -> None:
        self._store, self._desk, self._guard, self._arriving = store, desk, guard, arriving
        self._search = LogSearch(store.database)

    async def entries(self, request: Request) -> Response:
        """Find entries of the access log; for auditors, and itself an entry."""
        sent, now = self._arriving.sent(request), self._store.clock.now()
        principal = await self._guard.principal(sent, now)
        party = await self._desk.party(principal)
        reasons = await self._permitted(party, principal)
        media = chosen(request.headers.get("accept"), shaped.MEDIA)
        asked = await self._store.database.threaded(
            lambda: self._resolved(parse(words_in_query(request.scope["query_string"])), party)
        )
        intent = await self._noted(asked, party, principal, reasons)
        page, names, sizes = await self._store.database.threaded(lambda: self._found(asked))
        entries, after = [told(one, names) for one in page.found], asked.cursor(page.after)
        shape = shaped.TABLES.get(media)
        body = shaped.to_json(entries, after, sizes) if shape is None else shape(entries)
        await self._followed(intent, party, len(entries), body)
        headers = self._desk.noted(intent) | _NO_STORE
        if after is not None:
            headers["meterkeep-next"] = after
        return Response(body, 200, headers, media)

    async def _permitted(self, party: Party, principal: Principal) -> tuple[str, ...]:
        """Return why ``party`` may read the log; a refusal has its leaf before it is heard of."""
        try:
            return may(self._store.policy, party.roles, READ)
        except RefusedError as refused:
            entry = self._entry(Kind.DENIED, party, refused.code, principal.acted)
            written = await self._store.log.write_async(entry, principal.use)
            raise NotedRefusalError(refused, written, self._desk.noted(written)) from None

    def _resolved(self, asked: Searched, party: Party) -> Searched:
        """Return the search with its meter point as customers, and its party by code."""
        wanted, facts = asked.wanted, self._store.facts
        if asked.meter_point is not None:
            mpxn = self._store.keys.handles.open(asked.meter_point, party.code)
            wanted = replace(wanted, subjects=facts.customers(mpxn, every=asked.every))
        if asked.party not in {None, OPERATOR} and not is_code(asked.party or ""):
            wanted = replace(wanted, party=facts.party_named(asked.party or ""))
        return replace(asked, wanted=wanted)

    async def _noted(
        self, asked: Searched, party: Party, principal: Principal, reasons: tuple[str, ...]
    ) -> EntryId:
        detail: dict[str, Any] = {"reasons": list(reasons), "search": _kept(asked)}
        detail |= principal.acted
        if asked.wanted.subjects:
            detail["subjects"] = [subject.hex() for subject in asked.wanted.subjects]
        entry = self._entry(Kind.INTENT, party, "allow", detail)
        return await self._store.log.write_async(entry, principal.use)

    async def _followed(self, intent: bytes, party: Party, entries: int, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        detail = {"intent": intent.hex(), "entries": entries, "sha256": digest}
        await self._store.log.write_async(self._entry(Kind.OUTCOME, party, RELEASED, detail))

    def _found(self, asked: Searched) -> tuple[Page, dict[str, str], dict[int, int]]:
        page = self._search.page(asked.wanted, asked.after, asked.limit, newest=asked.newest)
        return page, self._store.facts.parties.names(), self._search.sizes()

    def _entry(self, kind: Kind, party: Party, decision: str, detail: dict[str, Any]) -> Entry:
        return Entry(kind, ACTION, party.code, decision, self._store.policy.digest, detail)


def _kept(asked: Searched) -> dict[str, str]:
    """Return what was searched, as the log keeps it: a meter point stands there as subjects."""
    return {name: value for name, value in asked.said.items() if name != "meter_point"}
