"""The addresses of consents. A party asks here; who may say yes stands in `store.stating`.

    POST /v1/consents                      a request to the customer who lives there now
    GET  /v1/consents/{id}                 how it stands; to its party and to an office, else 404
    POST /v1/consents/{id}/grant           the customer said yes
    POST /v1/consents/{id}/reject          the customer said no
    POST /v1/consents/{id}/withdraw        the customer withdrew, or the party gave it up
    POST /v1/consents/{id}/remind          the customer was reminded

Nothing here tells whether a meter point is known: a request is taken in all the same.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.asking import moment
from service.bodies import JSON, json_of
from service.desk import NotedRefusalError
from service.shapes.reply import stamp
from store.errors import InputError, RefusedError
from store.facts.door import ConsentRow, Evidence, Terms
from store.facts.stating import Speaker
from store.grounds import FOREVER
from store.log.writer import Entry, Kind
from store.reads import HALF_HOUR, Mpxn, Register, Window

if TYPE_CHECKING:
    from service.arriving import Arriving
    from service.desk import Desk
    from service.identity import Guard, Principal
    from store.parts import Store

Step = Callable[[dict[str, Any], str, Speaker], None]

_ID = re.compile(r"c_[0-9a-f]{16}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_TEXTS = ("purpose", "granularity", "from", "to", "expires", "text_version", "channel", "party",
          "meter_point", "mpxn")  # fmt: skip
_REQUEST = (*_TEXTS, "registers")
_LONGEST = 200  # characters of a text
_HEADERS = {"cache-control": "no-store"}


class Consents:
    """Takes in what is said of consents."""

    def __init__(self, store: Store, desk: Desk, guard: Guard, arriving: Arriving) -> None:
        self._store, self._desk, self._guard, self._arriving = store, desk, guard, arriving

    def steps(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        """Return what each verb of a consent's address does."""
        return {
            "grant": self.grant_consent,
            "reject": self.reject_consent,
            "withdraw": self.withdraw_consent,
            "remind": self.remind_consent,
        }

    async def request_consent(self, request: Request) -> Response:
        """Ask the customer who lives there now for a consent; it is `requested` and no more."""
        speaker, principal = await self._speaker(request)
        said = await json_of(request, _REQUEST)
        terms = _terms(said)
        mpxn = self._mpxn(said, speaker)
        grantee = said.get("party") or speaker.party
        await self._desk.spend(principal)

        lives = self._store.facts.lives

        def state() -> ConsentRow:
            return lives.seen(lives.request(mpxn, grantee, terms, speaker))

        return await self._stated("request", speaker, state, 201)

    async def consent(self, request: Request) -> Response:
        """Show how a consent stands, to its party and to an office."""
        speaker, principal = await self._speaker(request)
        identity = _identity(request)
        await self._desk.spend(principal)
        lives = self._store.facts.lives
        return _answer(await self._store.database.threaded(lives.seen, identity, speaker))

    async def grant_consent(self, request: Request) -> Response:
        """State that the customer said yes to a request."""
        lives = self._store.facts.lives

        def step(said: dict[str, Any], identity: str, by: Speaker) -> None:
            lives.grant(identity, _evidence(said), by)

        return await self._moved(request, "grant", ("evidence_sha256", "reference"), step)

    async def reject_consent(self, request: Request) -> Response:
        """State that the customer said no to a request."""
        lives = self._store.facts.lives
        return await self._moved(request, "reject", (), lambda _, i, by: lives.reject(i, by))

    async def withdraw_consent(self, request: Request) -> Response:
        """State that the customer withdrew; holds on the next request of every worker."""
        lives = self._store.facts.lives

        def step(said: dict[str, Any], identity: str, by: Speaker) -> None:
            given_up = said.get("given_up", False)
            if not isinstance(given_up, bool):
                raise InputError("`given_up` is true or false", code="bad_json")
            lives.withdraw(identity, by, given_up=given_up)

        return await self._moved(request, "withdraw", ("given_up",), step)

    async def remind_consent(self, request: Request) -> Response:
        """State that the customer was reminded just now."""
        lives = self._store.facts.lives
        return await self._moved(request, "remind", (), lambda _, i, by: lives.remind(i, by))

    # ---- within ------------------------------------------------------------------------------

    async def _moved(
        self, request: Request, action: str, known: tuple[str, ...], step: Step
    ) -> Response:
        speaker, principal = await self._speaker(request)
        said, identity = await json_of(request, known), _identity(request)
        await self._desk.spend(principal)

        def state() -> ConsentRow:
            step(said, identity, speaker)
            return self._store.facts.lives.seen(identity, speaker)

        return await self._stated(action, speaker, state)

    async def _stated(
        self, action: str, speaker: Speaker, state: Callable[[], ConsentRow], status: int = 200
    ) -> Response:
        """Answer what was stated; a refusal has its leaf before anybody hears of it."""

        def promised() -> Response:
            row = state()
            return _answer(row, status, self._desk.noted(self._store.tree.written(row.entry)))

        try:
            # On a thread even for SQLite: a writer may have to wait for an ingest's turn to end.
            return await self._store.database.threaded(promised)
        except RefusedError as refused:
            entry = Entry(Kind.DENIED, f"consent {action}", speaker.party, refused.code)
            written = await self._store.log.write_async(entry)
            raise NotedRefusalError(refused, written, self._desk.noted(written)) from None

    async def _speaker(self, request: Request) -> tuple[Speaker, Principal]:
        sent, now = self._arriving.sent(request), self._store.clock.now()
        principal = await self._guard.principal(sent, now)
        party = await self._desk.party(principal)
        return Speaker(party.code, party.roles), principal

    def _mpxn(self, said: dict[str, Any], speaker: Speaker) -> Mpxn:
        handle, mpxn = said.get("meter_point"), said.get("mpxn")
        if (handle is None) == (mpxn is None):
            raise InputError("`meter_point` or `mpxn` is needed", code="missing_parameter")
        if mpxn is not None:
            return Mpxn.parse(str(mpxn))
        return self._store.keys.handles.open(str(handle), speaker.party)


def _terms(said: dict[str, Any]) -> Terms:
    for name in _TEXTS:
        if not _is_text(said.get(name, "")):
            raise InputError(f"`{name}` is a text", code="bad_json")
    for name in ("purpose", "from"):
        if not said.get(name):
            raise InputError(f"`{name}` is needed", code="missing_parameter")
    registers = said.get("registers", [])
    if not isinstance(registers, list) or not all(isinstance(one, str) for one in registers):
        raise InputError("`registers` is a list of texts", code="bad_json")
    end, expires = said.get("to"), said.get("expires")
    return Terms(
        Window(moment(said["from"]), FOREVER if end is None else moment(end)),
        said.get("granularity", "PT30M"),
        said["purpose"],
        tuple(dict.fromkeys(Register.parse(one) for one in registers)),
        None if expires is None else float(moment(expires) * HALF_HOUR),
        said.get("text_version", ""),
        said.get("channel", ""),
    )


def _is_text(value: Any) -> bool:
    """Whether ``value`` is a short text that every keeper can keep: no NUL, no half a character."""
    return isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()


def _evidence(said: dict[str, Any]) -> Evidence:
    digest, reference = said.get("evidence_sha256"), said.get("reference", "")
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise InputError("`evidence_sha256` is 64 hex digits", code="bad_evidence")
    if not _is_text(reference):
        raise InputError("`reference` is a text", code="bad_json")
    return Evidence(bytes.fromhex(digest), reference)


def _identity(request: Request) -> str:
    identity: str = request.path_params["consent"]
    if not _ID.match(identity):
        raise InputError("no consent of yours has this id", code="unknown_consent")
    return identity


def _answer(row: ConsentRow, status: int = 200, noted: Mapping[str, str] | None = None) -> Response:
    told = {
        "id": row.id,
        "state": row.state,
        "party": row.party,
        "purpose": row.purpose,
        "granularity": row.granularity,
        "registers": row.registers,
        "from": stamp(row.window.start),
        "to": None if row.window.end == FOREVER else stamp(row.window.end),
        "requested": _time(row.requested),
        "answer_by": _time(row.answer_by),
        "granted": _time(row.granted),
        "expires": _time(row.expires),
        "reminder_due": _time(row.reminder_due),
        "basis": row.basis or None,
        "text_version": row.text_version or None,
        "channel": row.channel or None,
        "evidence_sha256": row.evidence.hex() or None,
        "version": row.version,
    }
    headers = _HEADERS | {"meterkeep-log-entry": row.entry.hex()} | dict(noted or {})
    return Response(orjson.dumps(told), status, headers, JSON)


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(int(at), UTC).isoformat()[:19] + "Z"
