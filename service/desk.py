"""The desk: who asks, may they, and what do they get. Between the routes and the store.

    1  party      a principal's roles, as they are at this moment      401 where it is known no more
                  or its token was revoked
    2  facts      one snapshot: registrations, tenancies, consents
    3  decision   a Grant, or a refusal whose leaf is durable before anybody hears of it
    4  answer     the store's: its leaf durable, then rows

The database is asked in line or on a thread as it is: see `Database.aside`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from service.jose import BadTokenError
from service.shapes.reply import in_words
from store.access.deciding import decide
from store.errors import InputError, RefusedError
from store.grants import Grant, Question, Refused
from store.log.writer import Entry, EntryId, Kind
from store.once import Use, first
from store.reads import moment_of

if TYPE_CHECKING:
    from service.asking import Asked
    from service.identity import Principal
    from store.facts.door import Client
    from store.grounds import Grounds, Party
    from store.parts import Store
    from store.reading.readstore import Answer
    from store.sampling import Sample

_GONE = "this client is not registered here any more"


class NotedRefusalError(RefusedError):
    """A refusal that may be told, since the log has it.

    Attributes:
        entry: Id of its log entry, hex.
        headers: What tells the caller of that entry; see `Desk.noted`.
        refused: The decision, where one was made.
    """

    def __init__(self, refused: RefusedError, entry: bytes, headers: dict[str, str]) -> None:
        super().__init__(str(refused), code=refused.code)
        self.entry, self.headers = entry.hex(), headers
        self.refused = refused if isinstance(refused, Refused) else None


class Desk:
    """Decides, by the store's own facts and the clock's time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.tree.promising()  # the KEK is asked now, not by the first answer

    async def client(self, client_id: str) -> Client | None:
        """Return the registered client with this id and its public keys, or None."""
        return await self._store.database.aside(self._store.facts.client, client_id)

    async def party(self, principal: Principal) -> Party:
        """Return whom ``principal`` speaks for. Raises BadTokenError where it is known no more."""
        return await self._store.database.aside(self._party, principal)

    async def grant(self, principal: Principal, handle: str, asked: Asked, verb: str) -> Grant:
        """Return the permission to answer ``asked`` of the meter point behind ``handle``.

        Args:
            principal: Who asks.
            handle: The party's own ``mp_..``.
            asked: What is asked.
            verb: ``read``, ``coverage``, ``changes``, ``decide``: what a refusal's leaf calls it.

        Raises:
            BadTokenError: The party is known no more.
            InputError: The handle is not this party's (``unknown_meter_point``), or the question
                cannot be meant.
            NotedRefusalError: It may not, and the leaf that says so is durable.
            CatalogueError: The leaf could not be made durable.
        """
        question, grounds = await self._store.database.aside(
            self._grounds, principal, handle, asked
        )
        try:
            return decide(question, grounds, self._store.policy, self._store.clock.now())
        except Refused as refused:
            entry = await self._store.log.write_async(
                Entry(
                    Kind.DENIED,
                    f"{verb} {question.srv}",
                    question.party.code,
                    refused.code,
                    self._store.policy.digest,
                    _telling(question, grounds, refused) | principal.acted,
                ),
                principal.use,
            )
            raise NotedRefusalError(refused, entry, self.noted(entry)) from None

    async def refusal(self, action: str, party: Party, principal: Principal) -> NotedRefusalError:
        """Return the refusal of a party none of whose roles may read, its leaf durable."""
        refused, policy = Refused("srv_not_permitted_for_role"), self._store.policy.digest
        entry = Entry(Kind.DENIED, action, party.code, refused.code, policy, detail=principal.acted)
        written = await self._store.log.write_async(entry, principal.use)
        return NotedRefusalError(refused, written, self.noted(written))

    def noted(self, entry: EntryId) -> dict[str, str]:
        """Return the headers that name a log entry just written, and promise that it stays."""
        promise = self._store.tree.promise(entry)
        return {"meterkeep-log-entry": entry.hex(), "meterkeep-log-promise": promise}

    def beside(self, answer: Answer[Any], grant: Grant) -> dict[str, str]:
        """Return the headers of an answer about a meter point's reads."""
        headers = {
            "cache-control": "no-store",
            "meterkeep-commit": str(answer.commit),
            **self.noted(answer.entry),
        }
        if grant.withheld:
            headers["meterkeep-withheld"] = in_words(grant.withheld)
        if grant.sample is not None:
            headers["meterkeep-sample"] = grant.sample.name
        return headers

    async def note_allowed(self, grant: Grant, principal: Principal) -> EntryId:
        """Make the leaf of a decision that was asked for without data; returns its entry id."""
        detail = {
            "role": grant.role,
            "reasons": list(grant.reasons),
            "rests_on": [part.entry.hex() for part in grant.parts],
            "subjects": sorted({part.subject.hex() for part in grant.parts if part.subject}),
            **_sampled(grant.sample),
            **principal.acted,
        }
        entry = Entry(
            Kind.OUTCOME, f"decide {grant.srv}", grant.party, "allow", grant.policy, detail
        )
        return await self._store.log.write_async(entry, principal.use)

    async def once(self, *uses: Use) -> bool:
        """Return whether each of ``uses`` is the first, on any worker.

        Durable before it says True: an assertion does not count again after a restart.
        """
        # On a thread even for SQLite: a writer may have to wait for an ingest's turn to end.
        return await self._store.database.threaded(self._once, *uses)

    async def spend(self, principal: Principal) -> None:
        """Use up the proof of a request that has no leaf of its own.

        Raises:
            InputError: It was used before (``used_before``).
        """
        if principal.use is not None and not await self.once(principal.use):
            raise InputError("this was used before: make a new one", code="used_before")

    async def revoke(self, party: str, revoked: Use) -> None:
        """State that a token counts no more; holds on the next request of every worker."""
        with suppress(InputError):  # revoked before: it stays so
            await self._store.log.write_async(Entry(Kind.FACT, "token revoke", party), revoked)

    async def ready(self) -> None:
        """Return where answers can be given. Raises CatalogueError or LogError where not."""
        self._store.pace.check()
        await self._store.database.aside(self._ready)

    def _party(self, principal: Principal) -> Party:
        code = self._code(principal)
        with self._store.database.hot_read() as connection:
            revoked = principal.revoked.noted(connection)
            return _standing(revoked, self._store.facts.party(connection, code))

    def _grounds(self, principal: Principal, handle: str, asked: Asked) -> tuple[Question, Grounds]:
        code = self._code(principal)
        mpxn = self._store.keys.handles.open(handle, code)
        with self._store.database.hot_read() as connection:
            revoked = principal.revoked.noted(connection)
            party = _standing(revoked, self._store.facts.party(connection, code))
            return asked.by(party, mpxn), self._store.facts.grounds(connection, mpxn, code)

    def _code(self, principal: Principal) -> str:
        """Return the code of the party that a principal stands for; a name never changes hands."""
        if principal.name is None:
            return principal.client_id
        try:
            return self._store.facts.party_named(principal.name)
        except InputError:
            raise BadTokenError(_GONE) from None

    def _once(self, *uses: Use) -> bool:
        with self._store.database.hot_write() as connection:
            return first(connection, *uses)

    def _ready(self) -> None:
        with self._store.database.hot_read() as connection:
            self._store.catalogue.newest(connection)


def _standing(revoked: bool, party: Party | None) -> Party:
    """Return the party, in the snapshot of what it asks, unless its token was revoked."""
    if revoked:
        raise BadTokenError("the token is refused: it was revoked")
    if party is None:
        raise BadTokenError(_GONE)
    return party


def _telling(question: Question, grounds: Grounds, refused: Refused) -> dict[str, Any]:
    """Return what a refusal's detail keeps: whose reads were asked for, and what exactly."""
    touched = [t.subject for t in grounds.tenancies if t.window.meet(question.window)]
    return {
        "from": moment_of(question.window.start).isoformat(),
        "to": moment_of(question.window.end).isoformat(),
        "granularity": question.granularity,
        "registers": [register.word for register in question.registers],
        "role": question.role,
        "reasons": list(refused.reasons),
        "subjects": [subject.hex() for subject in touched if subject is not None],
        **_sampled(question.sample),
    }


def _sampled(sample: Sample | None) -> dict[str, str]:
    """Return what a detail says of a sample; nothing where none was asked for."""
    return {} if sample is None else {"sample": sample.name}
